"""A trained target as a base, for the next round of labeling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from autodistill.detection import CaptionOntology, DetectionBaseModel

from ..bases import hub
from ..bases.base_images import bgr_of
from ..bases.base_ontology import ontology_of
from ..bases.contract import BgrImage
from ..core.errors import MissingInputError, UnknownNameError, UsageError
from ..system.devices import resolve_device
from .inference.export_record import export_folder, model_sha256
from .inference.model_artifacts import load_artifact, read_classes
from .training.training_folder import checkpoint_of

if TYPE_CHECKING:
    import supervision as sv

# Low, because thresholds are applied at build; at 0 every query of every image would be stored.
_CONFIDENCE = 0.05
_GPU_IMAGES = 8


class StudentBase(DetectionBaseModel):  # type: ignore[misc]
    """The model of a run as a base. Its prompts are its class names; the ontology may rename or leave out some.

    Args:
        ontology: class name → class, a `CaptionOntology` or a plain mapping.
        checkpoint: a run's folder, its `training` folder, a checkpoint file, or the folder of an export.
        confidence: an instance must score above it, 0..1.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.

    Raises:
        MissingInputError: there is no checkpoint.
        TrainingError: it cannot be read.
        UnknownNameError: a prompt is not a class of the model; the nearest is suggested.
        UsageError: `confidence` is out of range.
    """

    ontology: CaptionOntology

    def __init__(
        self,
        ontology: CaptionOntology | Mapping[str, str],
        checkpoint: str | Path,
        confidence: float = _CONFIDENCE,
        device: str = "auto",
    ) -> None:
        if not 0 <= confidence < 1:
            raise UsageError(f"The confidence {confidence!r} of the base is not within 0..1.")
        self.ontology = ontology_of(ontology)
        self.settings = self.identity({"checkpoint": checkpoint, "confidence": confidence})
        self._confidence = confidence
        # Batches do not speed up a CPU.
        self.preferred_batch = 1 if resolve_device(device) == "cpu" else _GPU_IMAGES
        self._batches = hub.Batches()
        self._student = load_artifact(_model_path(checkpoint), device)
        names = self._student.class_names
        prompts = list(self.ontology.prompts())
        for prompt in prompts:
            if prompt not in names:
                raise UnknownNameError("class of the student", prompt, names)
        # -1 for a class that is left out.
        self._prompt_of = np.array([prompts.index(name) if name in prompts else -1 for name in names], dtype=int)

    @staticmethod
    def identity(args: Mapping[str, Any]) -> Mapping[str, Any]:
        """The weights' hash and the confidence; the file's path and the device do not change labels."""
        confidence = args.get("confidence", _CONFIDENCE)
        return {"checkpoint_sha256": model_sha256(_model_path(args["checkpoint"])), "confidence": confidence}

    @staticmethod
    def classes(args: Mapping[str, Any]) -> tuple[str, ...]:
        """The model's class names, from its run's record; the model is loaded only where there is no record."""
        return read_classes(_model_path(args["checkpoint"]))

    def predict(self, input: Any) -> sv.Detections:
        """The instances of one image: an HWC uint8 BGR array, a path, or a PIL image; `class_id` is the prompt's index.

        Raises:
            UsageError: an array of another shape or dtype.
            DataError: a file that is not an image.
        """
        return self.predict_batch([input])[0]

    def predict_batch(self, images: Sequence[Any]) -> list[sv.Detections]:
        """The same for several images of any sizes, in one pass of the model where memory allows.

        Raises:
            BaseModelError: one image alone is too large for the device.
        """
        return self._batches.run(self._predict_rgb, [bgr_of(image) for image in images], max(len(images), 1))

    def _predict_rgb(self, images: Sequence[BgrImage]) -> list[sv.Detections]:
        rgb = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        return [self._with_prompt_ids(found) for found in self._student.predict_batch(rgb, self._confidence)]

    def _with_prompt_ids(self, found: Any) -> Any:
        found.class_id = self._prompt_of[found.class_id]
        return found[found.class_id >= 0]


def _model_path(checkpoint: str | Path) -> Path:
    path = Path(checkpoint)
    if not path.exists():
        raise MissingInputError(
            f"There is no run or checkpoint {path}.", "Give a base's name or class, or the path of a run or checkpoint."
        )
    if export_folder(path) is None:
        checkpoint_of(path)
    return path
