"""What a checkpoint's own file tells of its making: plain data, read without running code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import TrainingError
from ...system.files import replacing
from ..vendor import VENDOR_ERRORS, first_line

OWN_KEY = "autodistill_rfdetr_seg"


def read_provenance(checkpoint: str | Path) -> dict[str, Any] | None:
    """What a checkpoint's own file says made it: config, dataset_fingerprint, class_names, versions.

    None where it is not from this package.

    Raises:
        TrainingError: the file cannot be read without running code that it holds.
    """
    found: dict[str, Any] | None = read_checkpoint(Path(checkpoint)).get(OWN_KEY)
    return found


def add_to_checkpoint(path: Path, value: Mapping[str, Any]) -> None:
    """Puts plain data into a checkpoint of ours, under `OWN_KEY`; plain rfdetr reads the file as before."""
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    with replacing(path) as temporary:
        torch.save({**content, OWN_KEY: json.loads(json.dumps(value))}, temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """All that a checkpoint holds, its weights not read into memory; none of its code is run.

    Raises:
        TrainingError: it cannot be read so.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except VENDOR_ERRORS as error:
        raise TrainingError(f"{path} cannot be read without running its code: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is no checkpoint of RF-DETR.")
    return content


def checkpoint_classes(path: Path) -> tuple[str, ...] | None:
    """The class names that a checkpoint's own file holds; None where it holds none, or cannot be read."""
    try:
        args = read_checkpoint(path).get("args")
    except TrainingError:
        return None
    names = args.get("class_names") if isinstance(args, dict) else None
    return tuple(map(str, names)) if names else None
