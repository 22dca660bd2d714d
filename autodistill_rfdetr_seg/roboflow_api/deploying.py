"""Deploys a trained checkpoint as a version of a Roboflow project, and waits until its endpoint answers.

That the upload came back says nothing: https://github.com/roboflow/rf-detr/issues/1116
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.config import DISPLAY_CONFIDENCE
from ..core.errors import DataError, RemoteError, UsageError
from ..targets import RFDETRSeg
from . import calls, keys, sdk
from .endpoint import EndpointModel

POLL = 10.0  # seconds between two requests
TIMEOUT = 1800.0  # seconds until the endpoint must answer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deployed:
    """A deployed model that has answered: its endpoint, classes, and the number of bytes uploaded."""

    endpoint: str
    model_type: str
    classes: tuple[str, ...]
    bytes: int
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self)


def deploy(
    checkpoint: Path, workspace: str, project: str, version: int, *, timeout: float | None = None, device: str = "auto"
) -> Deployed:
    """Uploads a checkpoint as the model of `version`, and returns once its endpoint has answered a request.

    Raises:
        DataError: its classes are not the project's.
        UsageError: the project is of another type, or its model type is none that Roboflow takes.
        RemoteError: the server refuses or fails, the conversion failed, or nothing served within `timeout` seconds.
    """
    with sdk.contained() as printed:
        found = sdk.read_project(workspace, project)
        target = RFDETRSeg.from_checkpoint(checkpoint, device=device)
        check_classes(target.class_names, tuple(found.get("classes") or {}), f"{workspace}/{project}")
        from roboflow.core.project import Project

        asked = f"Version {version} of {workspace}/{project} could not be read"
        place: Any = calls.call_server(asked, Project(keys.key(), found).version, version)
        with tempfile.TemporaryDirectory(prefix="autodistill-seg-") as folder:
            bundle = _bundle(target, Path(folder))
            _log.info("uploading %s, %.0f MB", bundle.model_type, bundle.size_bytes / 1e6)
            _upload(place, bundle, printed)
            sent = bundle.size_bytes
        endpoint = _await(workspace, project, version, TIMEOUT if timeout is None else timeout)
    return Deployed(endpoint, bundle.model_type, target.class_names, sent, bundle.warnings)


def check_classes(ours: Sequence[str], theirs: Sequence[str], project: str) -> None:
    """Does nothing if a checkpoint and a project have the same classes, in any order.

    Raises:
        DataError: they have not; the message names those that only one has.
    """
    unknown = sorted(set(ours) - set(theirs))
    lacking = sorted(set(theirs) - set(ours))
    if unknown or lacking:
        said = [
            f"{where} {', '.join(map(repr, names))}"
            for where, names in (("only the checkpoint has", unknown), ("only the project has", lacking))
            if names
        ]
        raise DataError(
            f"The checkpoint's classes differ from those of {project}: {'; '.join(said)}.",
            "Deploy to the project that the model was trained for, or rename the classes there.",
        )


def _bundle(target: RFDETRSeg, folder: Path) -> Any:
    """rfdetr's own export, packed by the SDK, both in `folder`."""
    from roboflow.util.model_processor import ModelPackagingError, package_custom_weights

    source, build = folder / "export", folder / "bundle"
    model_type = target.export_for_roboflow(source)
    try:
        bundle = package_custom_weights(model_type, str(source), "weights.pt", build_dir=build)
    except ModelPackagingError as error:
        raise UsageError(f"Roboflow's SDK cannot pack this model: {' '.join(str(error).split())}") from None
    for warning in bundle.warnings:
        _log.warning("%s", warning)
    return bundle


def _upload(place: Any, bundle: Any, printed: Any) -> None:
    """Uploads with the SDK, which prints errors and returns normally."""
    before = len(printed.getvalue())
    asked = "The model could not be uploaded"
    with warnings.catch_warnings():
        # It leaves its file open for the garbage collector to close.
        warnings.simplefilter("ignore", ResourceWarning)
        calls.call_server(
            asked,
            place._upload_zip,
            bundle.model_type,
            str(bundle.build_dir),
            bundle.archive_path.name,
            repeatable=False,
        )
    said = keys.scrub(printed.getvalue()[before:].strip())
    status = calls.last_status()
    if status is None or status >= 400 or "error occured" in said:
        raise RemoteError(f"{asked}: {calls.message_of(said) or f'the server says {status}'}.", status=status)


def _await(workspace: str, project: str, version: int, timeout: float) -> str:
    """The URL of the endpoint, after the project lists the model and the endpoint has answered."""
    from roboflow import config
    from roboflow.adapters import rfapi

    endpoint = f"{config.INSTANCE_SEGMENTATION_URL.rstrip('/')}/{project}/{version}"
    model = EndpointModel(endpoint, class_names=("any",))
    end = time.monotonic() + timeout
    state = "the project does not list the model"
    while True:
        answer: Any = calls.call_server(
            "The version could not be read",
            rfapi.get_version,
            keys.key(),
            workspace,
            project,
            str(version),
            nocache=True,
        )
        found = answer.get("version", {})
        if (found.get("train") or {}).get("status") == "failed":
            raise RemoteError(
                f"Roboflow could not convert the model of {project}/{version}.", "Check the page of the version."
            )
        if found.get("model"):
            try:
                model.ask(np.zeros((64, 64, 3), np.uint8), DISPLAY_CONFIDENCE)
                return endpoint
            except RemoteError as error:
                state = f"its endpoint does not serve: {error.message}"
        if time.monotonic() + POLL > end:
            raise RemoteError(
                f"The model was uploaded but is not deployed after {timeout:.0f} seconds: {state.rstrip('.')}.",
                f"Check the page of the version, or try later: autodistill-seg predict --endpoint {endpoint} IMAGE",
            )
        time.sleep(POLL)
