"""Training as a configuration describes it: of a run, or of any dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.config import MAX_MEGAPIXELS, TargetConfig
from ..core.types import Run, SegDataset

if TYPE_CHECKING:
    from ..targets import Preflight, RFDETRSeg


def train_target(
    target: TargetConfig,
    dataset: SegDataset | Path,
    output: Path | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_start: Callable[[Path], object] = lambda _: None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> Run:
    """Trains the target that the options describe; the other arguments are those of `RFDETRSeg.train_job`."""
    model = _model(target)
    options = _training_options(target)
    job = model.training_job(dataset, output=output, max_megapixels=max_megapixels, progress=progress, **options)
    return model.train_job(job, resume=resume, overwrite=overwrite, on_start=on_start, progress=progress)


def check_training(
    target: TargetConfig,
    dataset: SegDataset | Path,
    output: Path | None,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> Preflight:
    """The preflight of `train_target` with the same arguments; nothing is written."""
    options = _training_options(target)
    return _model(target).preflight(dataset, output=output, max_megapixels=max_megapixels, progress=progress, **options)


def _model(target: TargetConfig) -> RFDETRSeg:
    from ..targets import RFDETRSeg

    return RFDETRSeg(target.size, device=target.device, **target.model)


def _training_options(target: TargetConfig) -> dict[str, Any]:
    set_by_preset = {"batch_size", "grad_accum_steps"} if target.preset is not None else set()
    named = target.model_dump(exclude={"size", "model", "train", "device", *set_by_preset})
    return {**named, **target.train}
