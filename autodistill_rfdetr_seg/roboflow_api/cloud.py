"""Training at Roboflow: generates a version of the project's dataset, trains on it, and follows the training."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import RemoteError, UnknownNameError, UsageError
from . import calls, keys, sdk
from .push_record import PushRecord

POLL = 15.0  # seconds between two requests
TIMEOUT = 12 * 3600.0  # seconds to follow a training; it continues when we stop
_PREPARE = 3600.0  # seconds for a version to be generated and exported
_ENDED = ("finished", "failed", "stopped", "canceled", "cancelled", "error")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A training and its state: `status` as the server states it; `models` are those it made, with their metrics."""

    workspace: str
    project: str
    version: int
    training_id: str | None
    status: str
    models: list[dict[str, Any]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether it ended well."""
        return self.status == "finished"

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Place:
    """A project, and the run folder that records what was sent there."""

    root: Path
    workspace: str
    project: str

    def record(self) -> PushRecord:
        """The record in the run folder."""
        return PushRecord(self.root, self.workspace, self.project)


def train(
    place: Place,
    size: str,
    *,
    epochs: int | None = None,
    version: int | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    augmentation: Mapping[str, Any] | None = None,
) -> Trained:
    """Starts a training of RF-DETR Seg `size` and returns at once; `follow` waits for its end.

    Without `version` a new one is generated, with only the preprocessing and augmentation given (in the form of
    Roboflow's API). Nothing that costs is requested twice: if the connection breaks, look at the project's page.

    Raises:
        UnknownNameError: Roboflow trains no such size.
        RemoteError: the server refuses or fails, or the version is not ready in an hour.
    """
    with sdk.contained():
        types = sdk.model_types()
        if size not in types:
            raise UnknownNameError("size", size, types)
        found = sdk.read_project(place.workspace, place.project)
        from roboflow.adapters import rfapi
        from roboflow.core.project import Project

        if version is None:
            version = calls.call_server(
                "The version could not be generated",
                Project(keys.key(), found).generate_version,
                {"preprocessing": dict(preprocessing or {}), "augmentation": dict(augmentation or {})},
                repeatable=False,
            )
            _log.info("version %d is being generated", version)
        where = (keys.key(), place.workspace, place.project, str(version))
        _wait(f"Version {version} was not generated", lambda: _generated(where))
        # The trainer reads the export of this format, and does not make it.
        _wait(f"Version {version} was not exported", lambda: _exported(where))
        started: Any = calls.call_server(
            "The training could not be started",
            rfapi.create_training_v2,
            *where,
            model_type=types[size],
            epochs=epochs,
            repeatable=False,
        )
    training_id = started.get("trainingId")
    place.record().set_training(version, training_id)
    return Trained(place.workspace, place.project, version, training_id, str(started.get("status") or "started"))


def follow(place: Place, training: Trained | None = None, *, timeout: float | None = None) -> Trained:
    """Asks how a training goes (by default the last that this run began) until it ends, or `timeout` seconds are over.

    Raises:
        UsageError: this run has begun no training in this project.
        RemoteError: the server does not know it, or keeps failing.
    """
    if training is None:
        last = place.record().training
        if not last:
            raise UsageError(f"{place.root} has started no training in {place.workspace}/{place.project}.")
        training = Trained(place.workspace, place.project, last["version"], last["training_id"], "started")
    end = time.monotonic() + (TIMEOUT if timeout is None else timeout)
    with sdk.contained():
        while True:
            now = _look(training)
            if now.status != training.status:
                _log.info("training of version %d: %s", now.version, now.status)
            training = now
            if training.status in _ENDED or time.monotonic() + POLL > end:
                return training
            time.sleep(POLL)


def _look(training: Trained) -> Trained:
    from roboflow.adapters import rfapi

    answer: Any = calls.call_server(
        "The state of the training could not be read",
        rfapi.get_training,
        keys.key(),
        training.workspace,
        training.project,
        str(training.version),
        training_id=training.training_id,
    )
    models = [
        {"model_id": one.get("modelId"), "model_type": one.get("modelType"), "metrics": one.get("metrics")}
        for one in answer.get("models") or []
    ]
    status = str(answer.get("status") or training.status)
    return dataclasses.replace(training, status=status, models=models)


def _generated(where: tuple[str, str, str, str]) -> bool:
    from roboflow.adapters import rfapi

    answer: Any = calls.call_server("The version could not be read", rfapi.get_version, *where, nocache=True)
    version = answer.get("version", {})
    return not version.get("generating") and bool(version.get("images"))


def _exported(where: tuple[str, str, str, str]) -> bool:
    from roboflow.adapters import rfapi

    answer: Any = calls.call_server("The version could not be exported", rfapi.get_version_export, *where, "coco")
    return answer.get("ready") is not False


def _wait(failed: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + _PREPARE
    while not ready():
        if time.monotonic() + POLL > end:
            raise RemoteError(f"{failed} within {_PREPARE / 60:.0f} minutes.", "Check the project's page.")
        time.sleep(POLL)
