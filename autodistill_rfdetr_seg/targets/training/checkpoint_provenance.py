"""Reads and writes what made a checkpoint, in its own file: plain data, read without running code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import TrainingError
from ..rfdetr_import import VENDOR_ERRORS, first_line
from .safe_writes import replacing_checkpoint

OWN_KEY = "autodistill_rfdetr_seg"


def read_provenance(checkpoint: str | Path) -> dict[str, Any] | None:
    """What made a checkpoint, from its own file: config, dataset_fingerprint, class_names, versions.

    None where this package did not make it.

    Raises:
        TrainingError: the file cannot be read without running code in it.
    """
    found: dict[str, Any] | None = read_checkpoint(Path(checkpoint)).get(OWN_KEY)
    return found


def add_to_checkpoint(path: Path, value: Mapping[str, Any]) -> None:
    """Adds plain data to a checkpoint, under `OWN_KEY`; rfdetr reads the file as before.

    Raises:
        OSError: it cannot be written, as on a full disk; it is as before then.
    """
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    with replacing_checkpoint(path) as temporary:
        torch.save({**content, OWN_KEY: json.loads(json.dumps(value))}, temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, without reading its weights into memory and without running its code.

    Raises:
        TrainingError: it cannot be read this way.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except VENDOR_ERRORS as error:
        raise TrainingError(f"{path} cannot be read without running its code: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is not a checkpoint of RF-DETR.")
    return content


def checkpoint_classes(path: Path) -> tuple[str, ...] | None:
    """The class names in a checkpoint's own file; None where it has none, or cannot be read."""
    try:
        args = read_checkpoint(path).get("args")
    except TrainingError:
        return None
    names = args.get("class_names") if isinstance(args, dict) else None
    return tuple(map(str, names)) if names else None
