"""Training as a configuration describes it: of a run, or of any dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.config import MAX_MEGAPIXELS, TargetConfig
from ..core.types import Run, SegDataset
from ..system.files import fingerprint, read_json, write_json

if TYPE_CHECKING:
    from ..targets import Preflight, RFDETRSeg

# In a training's folder: the fingerprint of its dataset and options.
_INPUTS_FILE = "inputs.json"


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


def train_if_changed(
    target: TargetConfig,
    dataset: SegDataset,
    output: Path,
    *,
    overwrite: bool = False,
    on_start: Callable[[], object] = lambda: None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> tuple[Run, bool]:
    """Trains if `output` has no checkpoint from the same dataset and options, or with `overwrite`.

    The old checkpoint stays until the new one is complete. An unfinished training with the same dataset and options is
    resumed. `on_start` is called when all checks have passed, before the first step.

    Returns:
        The training's record, and False if it was up to date.
    """
    from ..targets import read_run
    from ..targets.training.training_folder import RUN_FILE, UNFINISHED, finish_publishing

    # The device and the loggers do not change the model.
    options = target.model_dump(mode="json", exclude={"loggers", "device"})
    if target.nodes == 1:  # as in the trainings of releases that knew no nodes
        del options["nodes"]
    inputs = {"inputs": fingerprint(dataset.fingerprint, options)}
    if is_first_node(target):
        finish_publishing(output)
    if not overwrite and (output / RUN_FILE).is_file() and _has_inputs(output, inputs):
        return read_run(output), False

    def start(folder: Path) -> None:
        write_json(folder / _INPUTS_FILE, inputs)
        on_start()

    trained = train_target(
        target,
        dataset,
        output,
        resume=not overwrite and _has_inputs(output / UNFINISHED, inputs),
        overwrite=True,
        on_start=start,
        max_megapixels=max_megapixels,
        progress=progress,
    )
    return trained, True


def is_first_node(target: TargetConfig) -> bool:
    """Whether this machine is the one that checks and writes, of those that train together.

    Raises:
        UsageError: several are requested, and the environment does not say which this is.
    """
    from ..targets.training.training_nodes import TrainingNode

    return TrainingNode.from_environment(target.nodes).rank == 0


def _has_inputs(folder: Path, inputs: dict[str, str]) -> bool:
    return (folder / _INPUTS_FILE).is_file() and read_json(folder / _INPUTS_FILE) == inputs


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
