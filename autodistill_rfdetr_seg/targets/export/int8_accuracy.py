"""What int8 needs of a run: training images to learn ranges of values from, and a valid split to be judged on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...core import plug_points
from ...core.artifact_config import ExportConfig
from ...core.errors import GateError, MissingInputError, UsageError
from ...runtime.model_input import make_input
from ...system.run_folder import RunFolder
from ..inference.model_artifacts import ExportedModel, TorchModel
from .export_format import FloatArray
from .export_parity import find_samples

_CONFIG = ExportConfig()


def valid_split(checkpoint: Path | None) -> Path:
    """The folder of the valid split of a checkpoint's run.

    Raises:
        UsageError: the checkpoint is in no run, or the run has no such split.
    """
    run = _run_of(checkpoint)
    if run is None or not (run.dataset / "valid").is_dir():
        raise UsageError(
            "int8 is kept only if it reaches the mask AP of fp32 on the valid split, and this model has none.",
            "Export the model of a run that has its dataset, or use --precision fp16.",
        )
    return run.dataset / "valid"


def _run_of(checkpoint: Path | None) -> RunFolder | None:
    return None if checkpoint is None else RunFolder.of_checkpoint(checkpoint)


def calibration_inputs(
    source: Path | None, checkpoint: Path | None, spec: Mapping[str, Any]
) -> Callable[[], Iterator[FloatArray]]:
    """A function that gives the model's inputs of images of `source`, by default of the run's train split.

    Raises:
        MissingInputError: there is no such source, or it has no image.
        DataError: an image cannot be read.
    """
    run = _run_of(checkpoint)
    folder = source or (None if run is None else run.dataset / "train")
    if folder is None or not folder.exists():
        raise MissingInputError(
            f"There are no calibration images for int8 in {folder or 'a run'}.", "Give --calibration FOLDER."
        )
    images = find_samples(folder, checkpoint, _CONFIG.calibration_images).images

    def inputs() -> Iterator[FloatArray]:
        for _, pixels in images:
            yield make_input([pixels], spec)

    return inputs


def compare_accuracy(reference: TorchModel, artifact: ExportedModel, valid: Path) -> dict[str, Any]:
    """The mask AP of both on the valid split, and whether the artifact loses at most what is allowed; JSON-ready."""
    evaluate = plug_points.load("evaluate_model")
    reports = [evaluate(model, valid, progress=False) for model in (reference, artifact)]
    before, after = (report.mask["ap"] for report in reports)
    lost = None if before is None or after is None else before - after
    return {
        "split": "valid",
        "images": reports[0].images,
        "instances": reports[0].instances,
        "fp32": before,
        "int8": after,
        "largest_loss": _CONFIG.largest_ap_loss,
        "passed": lost is not None and lost <= _CONFIG.largest_ap_loss,
    }


def accuracy_sentence(accuracy: Mapping[str, Any]) -> str:
    """The result of `compare_accuracy` in words."""
    before, after = ("undefined" if accuracy[name] is None else f"{accuracy[name]:.3f}" for name in ("fp32", "int8"))
    where = f"{accuracy['images']} images and {accuracy['instances']} instances of the valid split"
    return f"mask AP {after} in int8, {before} in fp32, on {where}"


def accuracy_failure(accuracy: Mapping[str, Any], failed: Path) -> GateError:
    """The error of an export that loses too much."""
    return GateError(
        f"int8 loses too much: {accuracy_sentence(accuracy)}.",
        f"It may lose {accuracy['largest_loss']:g}. The export is kept in {failed}; use --precision fp16 or fp32.",
    )
