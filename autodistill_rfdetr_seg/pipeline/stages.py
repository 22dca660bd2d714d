"""The stages of a run over its folder: label, build, train. Each reads files, writes files, and skips finished work.

RUN/pipeline.yaml   the resolved configuration; every stage alone reads its options here
RUN/labels/         raw base output
RUN/dataset/        train/ valid/ test/
RUN/training/       checkpoint and run.json
RUN/evaluation/     metrics.json, predictions
RUN/report.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.config import MAX_MEGAPIXELS, PipelineConfig, TargetConfig
from ..core.errors import DataError
from ..core.types import Run, SegDataset
from ..dataset.builder import BuildOptions, build, read_gaps
from ..dataset.dataset_index import read_dataset, read_index
from ..dataset.split_groups import leakage
from ..labels.base_source import BaseSource
from ..labels.labeler import LabelSummary, label_images, read_account
from ..labels.missing_images import Gaps
from ..readers.image_sources import Inputs, find_images
from ..system.files import fingerprint, read_json, write_json
from ..system.locks import locked
from ..system.run_folder import RunFolder

if TYPE_CHECKING:
    from ..targets import Preflight, RFDETRSeg

# Names, in a training's folder, the dataset and options that it is of.
_STAMP = "inputs.json"

_log = logging.getLogger(__name__)


def find_inputs(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> Inputs:
    """The images that the configuration names; what there is to say about them goes to the log."""
    found = find_images(config.images, run.frames, **config.inputs.model_dump(), progress=progress)
    for note in found.notes:
        _log.warning("%s", note)
    return found


def label_stage(config: PipelineConfig, run: RunFolder, source: BaseSource, *, progress: bool = True) -> LabelSummary:
    """Labels the images that are not labelled yet."""
    found = find_inputs(config, run, progress=progress)
    source = source.with_items(found.items)
    for note in source.notes():
        _log.warning("%s", note)
    summary = label_images(
        source,
        found.items,
        run.labels,
        config.labeling,
        root=found.root,
        groups=found.groups,
        max_megapixels=config.inputs.max_megapixels,
        progress=progress,
    )
    if summary.several:
        count = len(summary.several)
        _log.warning("%d files hold several pages or frames, such as %s: the first counts.", count, summary.several[0])
    if summary.failures and not (summary.labelled or summary.stored):
        first = summary.failures[0]
        raise DataError(
            f"None of {len(summary.failures)} images could be labelled; the first, {first['path']}: {first['reason']}",
            f"All reasons are in {run.labels / 'failures.jsonl'}.",
        )
    return summary


def build_stage(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> tuple[SegDataset, bool]:
    """Builds the dataset; the log says what may leak. The second value tells whether there was something to do."""
    options = BuildOptions(config.refine, config.split, config.dataset)
    built = build(
        run.labels,
        _images_root(config, run),
        run.dataset,
        options,
        human=run.human,
        max_megapixels=config.inputs.max_megapixels,
        progress=progress,
    )
    together = read_index(run.dataset)["kept_together"]
    _log.log(logging.WARNING if together["across"] or together["cut"]["images"] else logging.INFO, leakage(together))
    return built


def gaps_of(config: PipelineConfig, run: RunFolder) -> Gaps:
    """What the run's dataset lacks of the images that were asked for."""
    return read_gaps(run.labels, _images_root(config, run), run.dataset, human=run.human)


def _images_root(config: PipelineConfig, run: RunFolder) -> Path:
    return read_account(run.labels).root or Path(config.images)


def train_stage(
    config: PipelineConfig,
    run: RunFolder,
    *,
    overwrite: bool = False,
    begun: Callable[[], object] = lambda: None,
    progress: bool = True,
) -> tuple[Run, bool]:
    """Trains the target, where its dataset and options are others than the checkpoint's, or it is to `overwrite` it.

    The checkpoint that is there stays until the new one is whole. What a training of the same dataset and options has
    left unfinished is gone on with. `begun` is called once all that can be checked before the first step is.

    Returns:
        The run, and whether there was something to do.

    Raises:
        DataError: another process builds the dataset or trains on it.
    """
    from ..targets import read_run
    from ..targets.training.training_folder import UNFINISHED, finish_publishing

    with locked(run.root):
        dataset = read_dataset(run.dataset)
        # Where it is trained, and what is written beside it, is no matter of what is trained.
        options = config.target.model_dump(mode="json", exclude={"loggers", "device"})
        inputs = {"inputs": fingerprint(dataset.fingerprint, options)}
        finish_publishing(run.training)
        if not overwrite and run.training_record.is_file() and _stamped(run.training, inputs):
            return read_run(run.training), False
        _refuse_untrainable(run.dataset)

        def begin(folder: Path) -> None:
            write_json(folder / _STAMP, inputs)
            begun()

        resume = not overwrite and _stamped(run.training / UNFINISHED, inputs)
        how: dict[str, Any] = {"resume": resume, "overwrite": True, "begun": begin, "progress": progress}
        how["max_megapixels"] = config.inputs.max_megapixels
        return train_target(config.target, dataset, run.training, **how), True


def _stamped(folder: Path, inputs: dict[str, str]) -> bool:
    return (folder / _STAMP).is_file() and read_json(folder / _STAMP) == inputs


def train_target(
    target: TargetConfig,
    dataset: SegDataset | Path,
    output: Path | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    begun: Callable[[Path], object] = lambda _: None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> Run:
    """Trains the target that the options describe; the others as in `RFDETRSeg.train_job`."""
    model = _target(target)
    options = _train_options(target)
    job = model.training_job(dataset, output=output, max_megapixels=max_megapixels, progress=progress, **options)
    return model.train_job(job, resume=resume, overwrite=overwrite, on_start=begun, progress=progress)


def check_training(
    target: TargetConfig,
    dataset: SegDataset | Path,
    output: Path | None,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> Preflight:
    """What is to be known before `train_target` with the same arguments; nothing is written."""
    options = _train_options(target)
    return _target(target).preflight(
        dataset, output=output, max_megapixels=max_megapixels, progress=progress, **options
    )


def _target(target: TargetConfig) -> RFDETRSeg:
    from ..targets import RFDETRSeg

    return RFDETRSeg(target.size, device=target.device, **target.model)


def _train_options(target: TargetConfig) -> dict[str, Any]:
    chosen = {"batch_size", "grad_accum_steps"} if target.preset is not None else set()
    named = target.model_dump(exclude={"size", "model", "train", "device", *chosen})
    return {**named, **target.train}


def _refuse_untrainable(folder: Path) -> None:
    """Refuses a dataset without an instance, naming the rule that took the most."""
    index = read_index(folder)
    if index["kept"]:
        return
    rejected = sorted(index["rejected"].items(), key=lambda item: -item[1])
    if not rejected:
        raise DataError("The base found no instance of any class in any image.", "Try other prompts or another base.")
    took = ", ".join(f"{reason} {count}" for reason, count in rejected)
    raise DataError(
        f"The dataset holds no instance of any class: the filters took all of them ({took}).",
        f"Loosen {rejected[0][0]!r} first: `autodistill-seg build {folder.parent} …`.",
    )
