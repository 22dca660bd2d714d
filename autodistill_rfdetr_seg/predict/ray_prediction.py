"""Prediction of images by the actors of a Ray cluster. Images and model have the same paths on all nodes; this process
alone writes the results, and does not load the model to predict."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.config import EngineConfig
from ..core.errors import AutodistillSegError, DataError, MissingInputError, UsageError, sendable
from ..engine.image_actors import ask_about_images, check_cluster
from ..targets.inference.export_record import export_folder, model_sha256, read_export
from ..targets.inference.model_artifacts import load_artifact, read_classes
from ..targets.training.training_folder import checkpoint_of
from .prediction_threads import Answer, FoundInstances, ImagePrediction

# An actor decodes and draws some images while its model works on another.
_BATCH = 4
# Where there are fewer images for each place in a batch, batches are smaller, so that all actors have some.
_IMAGES_PER_PLACE = 50


@dataclass(frozen=True)
class ModelFile:
    """A model that others load: `path` is its checkpoint, or the file of an export."""

    path: Path
    class_names: tuple[str, ...]


def model_for_actors(model: Any, engine: EngineConfig, device: str) -> ModelFile:
    """The model that actors are to load, after a check that they can be asked.

    Raises:
        UsageError: `model` is not a path, `device` is one of several GPUs, or as `check_cluster`.
        MissingInputError, DataError: there is no model, or it is damaged.
        AutodistillSegError: as `check_cluster`.
    """
    if not isinstance(model, str | Path):
        raise UsageError(
            f"The engine ray needs the path of a model, which each actor loads, not {type(model).__name__}.",
            "Give the path of a run, a checkpoint or an export, or leave out the engine.",
        )
    if device.startswith("cuda:"):
        raise UsageError(
            f"The device {device} cannot be chosen with the engine ray, which gives each actor its GPU.",
            "Give the device auto, cuda or cpu.",
        )
    check_cluster(engine, gpus=device != "cpu")
    path = Path(model)
    names = read_classes(path)
    folder = export_folder(path)
    return ModelFile(checkpoint_of(path) if folder is None else folder / read_export(folder)["artifact"], names)


def predict_in_actors(
    model: ModelFile,
    prediction: ImagePrediction,
    images: Sequence[tuple[Path, str]],
    engine: EngineConfig,
    device: str,
    record: Callable[[FoundInstances], None] | None = None,
) -> Generator[Answer, None, None]:
    """The answer for each image (path, name), in the order in which they are done; `record` is called with each result.

    Raises as `ask_about_images`.
    """
    path = model.path.absolute()
    batch = max(1, min(_BATCH, len(images) // _IMAGES_PER_PLACE))
    work = PredictionWork(path, model_sha256(path), device, prediction, batch)
    with closing(ask_about_images(work, images, engine, gpus=device != "cpu")) as answers:
        for (_, name), found in answers:
            try:
                if record is not None and isinstance(found, FoundInstances):
                    record(found)
            except AutodistillSegError as error:
                yield name, error
            else:
                yield name, found


@dataclass(frozen=True)
class PredictionWork:
    """What an actor gets: the model's file, and how to predict."""

    model: Path
    sha256: str
    device: str
    prediction: ImagePrediction
    batch: int

    def start(self) -> _StartedPrediction:
        """Loads the model; refuses another one than that of the process which asks."""
        if not self.model.exists():
            raise MissingInputError(
                f"There is no model {self.model}.",
                "All nodes must see the model under the same path, as on a shared file system.",
            )
        if model_sha256(self.model) != self.sha256:
            raise DataError(
                f"The model {self.model} is not the one of the machine with the command.",
                "Copy the model to all nodes again.",
            )
        return _StartedPrediction(self.prediction, load_artifact(self.model, self.device), self.batch)


@dataclass(frozen=True)
class _StartedPrediction:
    prediction: ImagePrediction
    model: Any
    batch: int

    def answer(self, items: Sequence[tuple[Path, str]]) -> list[FoundInstances | AutodistillSegError]:
        """What is found in each image, in order; errors are such that they can be pickled."""
        answers = [found for _, found in self.prediction.predict_each(self.model, items)]
        return [sendable(one) if isinstance(one, AutodistillSegError) else one for one in answers]
