"""Whole runs over the stages, and the functions a script calls: `label`, `run`."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

from .. import evaluation
from ..bases.contract import ImageInput
from ..bases.registry import BASES, own_ontology
from ..core.config import BaseConfig, PipelineConfig, parse
from ..core.errors import MissingInputError, OutputExistsError, UsageError
from ..core.types import Classes, SegDataset
from ..evaluation.gold_sets import check_gate_names
from ..images.frame_files import VIDEO_SUFFIXES
from ..images.image_discovery import discover
from ..labels.base_source import BaseSource, describe_model, source_of
from ..labels.current_labels import refuse_lost_classes
from ..labels.labeler import LabelSummary
from ..readers.image_sources import find_images
from ..system.config_files import changed_options, load, save_run_config
from ..system.files import check_output, read_json
from ..system.folders import Links
from ..system.locks import LOCK, in_turn, locked
from ..system.run_folder import REVIEWS, RunFolder
from .stages import build_stage, label_stage, train_stage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """One stage of a run: whether it had something to do, and its outcome in a few words."""

    stage: str
    worked: bool
    summary: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.summary}{'' if self.worked else ' (nothing to do)'}"


def label(
    base: Any,
    images: str | Path,
    output: str | Path,
    ontology: Mapping[str, str] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    image_input: ImageInput = "bgr",
    tiles: int | None = None,
    overlap: float | None = None,
    stability: bool | None = None,
    progress: bool = True,
    **options: Any,
) -> SegDataset:
    """Labels a folder with a base and builds `output/dataset`, as autodistill's `label` does in one go.

    Args:
        base: any autodistill `DetectionBaseModel`, a name such as "grounded-sam" or "package.module:Class", or the
            path of a run or checkpoint (with a slash), whose model then labels.
        images: the folder of images, searched recursively; never written to.
        output: the run's folder.
        ontology: prompt → class name; left out where `base` is a model, which has its own, or a path.
        resume: continue where an earlier call stopped.
        overwrite: start over in an output folder that is not empty.
        image_input: how a `base` model wants images: "bgr" (HWC uint8 array), "path" or "pil".
        tiles: side in pixels of the tiles that larger images are cut into; None leaves what `base` says.
        overlap: share by which tiles overlap; None likewise.
        stability: ask the base again, and store how much each mask agrees with itself; None likewise.
        options: groups of `PipelineConfig`: `refine={...}`, `split={...}`, `dataset={...}`, …

    Returns:
        The dataset: `dataset.root` holds train/, valid/ and test/ with `_annotations.coco.json` each. Images that could
        not be labelled are in `output/labels/failures.jsonl`.

    Raises:
        AutodistillSegError: see `errors`; one sentence, with a hint.
    """
    is_model = not isinstance(base, str | BaseConfig)
    if is_model:
        ontology = Classes.from_ontology(dict(base.ontology.promptMap)).ontology
        base_config = describe_model(base)
    else:
        base_config = base if isinstance(base, BaseConfig) else BaseConfig(name=base)
    how_asked = {"tiles": tiles, "overlap": overlap, "stability": stability}
    config = with_ontology(
        parse(
            {
                "images": str(Path(images).resolve()),
                "ontology": dict(ontology or {}),
                "base": base_config.model_dump()
                | {key: value for key, value in how_asked.items() if value is not None},
                **options,
            }
        )
    )
    source = BaseSource.from_model(base, image_input, config.base) if is_model else source_of(config)
    run = RunFolder(Path(output))
    with prepare(config, run, source, resume=resume, overwrite=overwrite) as source:
        label_stage(config, run, source, progress=progress)
        return build_stage(config, run, progress=progress)[0]


def with_ontology(config: PipelineConfig) -> PipelineConfig:
    """The configuration, an ontology that it leaves out filled in by its base.

    Raises:
        UsageError: the base has no classes of its own.
    """
    if config.ontology:
        return config
    own = own_ontology(config.base)
    if own is None:
        raise UsageError(
            f"The option 'ontology' is missing: the base {config.base.name!r} has no classes of its own.",
            "Give prompts and their classes, such as {a dog: dog}.",
        )
    return config.model_copy(update={"ontology": own})


@contextlib.contextmanager
def prepare(
    config: PipelineConfig, run: RunFolder, source: BaseSource, *, resume: bool, overwrite: bool
) -> Iterator[BaseSource]:
    """Looks at all inputs, claims the run's folder and saves the configuration in it; its labels are this process's to
    write for as long as the block lasts.

    What is wrong is refused before anything is written. Gives the source, its base built unless this is a resumption,
    which may not need it, or workers build their own. A share resumes what another has begun with the same options.

    Raises:
        MissingInputError: there are no images, or no gold set where one is named.
        OutputExistsError: the folder is not empty, and neither `resume` nor `overwrite` is set; or this is a share of
            a run with other options.
        UsageError: the output lies in the images' folder, would replace them, or holds the base's model; or the base
            does not take its arguments or prompts; or a share is to overwrite; or a gate names no metric.
        DataError: a person's work in the run has a class that the ontology lacks; or another process writes to the run.
    """
    _refuse_inputs(config, run)
    check_gate_names(config, Classes.from_ontology(config.ontology))
    _check_claim(config, run, resume=resume, overwrite=overwrite)
    refuse_lost_classes(run.human, Classes.from_ontology(config.ontology))
    if overwrite and run.labels.is_dir():
        # Already here: a base may take long to build, and have no room beside another process's.
        with locked(run.labels):
            pass
    asked_here = not (config.labeling.workers or config.labeling.timeout_per_image)
    anew = overwrite or not (resume or run.config_file.is_file())
    source = source.with_model() if asked_here and anew else source
    with _claimed(config, run, resume=resume, overwrite=overwrite):
        yield source


def _refuse_inputs(config: PipelineConfig, run: RunFolder) -> None:
    images, root, links = Path(config.images).resolve(), run.root.resolve(), Links()
    if not (images.is_file() or has_magic(config.images)):
        discover(images, links)
    elif images.suffix.lower() not in VIDEO_SUFFIXES:
        # A list, pattern or COCO file that is wrong or names nothing leaves no run behind; a video's frames are files.
        limit = config.inputs.max_megapixels
        find_images(config.images, run.frames, limit=1, max_megapixels=limit, progress=False)
    for theirs in (images, *(link.resolve() for link in links.followed)):
        if theirs.is_dir() and root.is_relative_to(theirs):
            raise UsageError(
                f"The output {root} lies in the images' folder {theirs}.",
                "Your folder is never written to: choose another.",
            )
        for ours in run.written:
            if theirs.is_relative_to(ours.resolve()):
                raise UsageError(
                    f"The images {theirs} lie in {ours}, which the run would replace.",
                    "Your folder is never written to: choose another --output.",
                )
    _refuse_own_base(config, root)
    for gold in config.evaluation.gold:
        if not Path(gold).exists():
            raise MissingInputError(f"There is no gold set {gold}.", "It is a COCO file or a folder that holds one.")


def _check_claim(config: PipelineConfig, run: RunFolder, *, resume: bool, overwrite: bool) -> None:
    if config.labeling.share is None:
        check_output(run.root, resume=resume, overwrite=overwrite)
    elif overwrite:
        raise UsageError(
            "A share cannot overwrite the run (--overwrite with --shard): it would remove the other shares' labels.",
            "Give all shares a new --output.",
        )
    elif not (resume or _is_shared(run)):
        try:
            check_output(run.root, resume=False, overwrite=False)
        except OutputExistsError as error:
            raise OutputExistsError(error.message, "Give all shares the same --output, new or a run's.") from error


def _is_shared(run: RunFolder) -> bool:
    """Whether this is a run, or another share is just making it one: then there are locks, and files half-written."""
    if run.config_file.is_file() or not run.root.exists():
        return True
    if not run.root.is_dir():
        return False
    inside = [*run.root.iterdir(), *(run.labels.iterdir() if run.labels.is_dir() else ())]
    return all(path == run.labels or path.name.startswith(".") for path in inside)


@contextlib.contextmanager
def _claimed(config: PipelineConfig, run: RunFolder, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Holds the run's labels, and has cleared it and saved the configuration as soon as it does."""
    share = config.labeling.share
    config = config.model_copy(update={"base": config.base.beside(Path.cwd())})
    _check_claim(config, run, resume=resume, overwrite=overwrite)
    with contextlib.ExitStack() as stack:
        # Shares that begin together: the first one's options are there before the next one looks.
        with contextlib.nullcontext() if share is None else in_turn(run.labels):
            alone = stack.enter_context(locked(run.labels, share, lend=True))
            if overwrite:
                clear_run(run)
            other = changed_options(run, config) if share is not None and run.config_file.is_file() else []
            if other and not (resume and alone):
                raise OutputExistsError(
                    f"The run {run.root} has other options than this share: {', '.join(other)}.",
                    "Give all shares the same. --resume takes the new ones, while no other share is at work.",
                )
            if share is None or other or not run.config_file.is_file():
                save_run_config(run, config)
        yield


def clear_run(run: RunFolder) -> None:
    """Removes what stages wrote, and nothing else: neither what a person imported nor the user's own files.

    The caller holds the lock of the labels, which stays.

    Raises:
        DataError: another process builds the dataset, or labels gold images.
    """
    with contextlib.ExitStack() as stack:
        for folder in (run.root, run.evaluation / "labels"):
            if folder.is_dir():
                stack.enter_context(locked(folder))
        for path in run.labels.iterdir() if run.labels.is_dir() else ():
            if not path.name.startswith(LOCK):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        for folder in run.written:
            if folder != run.labels:
                shutil.rmtree(folder, ignore_errors=True)
        reviews = [run.review(kind) for kind in REVIEWS]
        for file in (run.config_file, run.report, run.picture, *reviews):
            file.unlink(missing_ok=True)


def _refuse_own_base(config: PipelineConfig, root: Path) -> None:
    """A run that labels with the model in its own folder would delete it: before labelling, or when it is trained."""
    if config.base.name in BASES or config.base.path is None:
        return
    model = config.base.path.resolve()
    if model.is_relative_to(root):
        raise UsageError(
            f"The base {config.base.name} lies in the output folder {root}, where its labels' own model will be.",
            "Give the next round another --output.",
        )


def run_stages(
    config: PipelineConfig, run: RunFolder, source: BaseSource, *, progress: bool = True
) -> Iterator[StageResult]:
    """Runs label, build, train, evaluate and report in turn, each only where its inputs have changed."""
    from ..evaluation.model_scores import evaluate_stage
    from ..report.run_report import report_stage

    yield describe_labels(label_stage(config, run, source, progress=progress))
    dataset, worked = build_stage(config, run, progress=progress)
    yield describe_dataset(dataset, worked)
    trained, worked = train_stage(config, run, progress=progress)
    yield StageResult("train", worked, f"checkpoint {trained.checkpoint}")
    metrics, worked = evaluate_stage(config, run, progress=progress)
    yield StageResult("evaluate", worked, f"{metrics['images']} images against {metrics['reference']}")
    yield StageResult("report", report_stage(config, run, progress=progress), str(run.report))


def describe_labels(summary: LabelSummary) -> StageResult:
    """What a labelling did, in a line."""
    words = f"{summary.labelled} images labelled, {summary.stored} were already"
    if summary.failures:
        words += f", {len(summary.failures)} failed"
    return StageResult("label", summary.labelled > 0, words)


def describe_dataset(dataset: SegDataset, worked: bool) -> StageResult:
    """A dataset's sizes, in a line."""
    sizes = ", ".join(f"{name} {c['images']} images {c['instances']} instances" for name, c in dataset.counts.items())
    return StageResult("build", worked, sizes)


def run(
    config: PipelineConfig | Mapping[str, Any] | str | Path,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Runs a whole pipeline, given as it is or as its YAML file, and returns what `evaluation/metrics.json` holds.

    Raises:
        GateError: a metric did not reach its gate; the run is complete and its report written.
        AutodistillSegError: see `errors`.
    """
    if isinstance(config, str | Path):
        config = load(Path(config))
    config = with_ontology(config if isinstance(config, PipelineConfig) else parse(config))
    if output is None and config.output is None:
        raise UsageError("There is no output folder.", "Give output=…, or `output:` in the pipeline.")
    folder = RunFolder(Path(output if output is not None else str(config.output)))
    with prepare(config, folder, source_of(config), resume=resume, overwrite=overwrite) as source:
        for result in run_stages(config, folder, source, progress=progress):
            _log.info("%s", result)
    metrics: dict[str, Any] = read_json(folder.evaluation / "metrics.json")
    check_gates(config, metrics)
    return metrics


def check_gates(config: PipelineConfig, metrics: Mapping[str, Any]) -> None:
    """Raises GateError for the configuration's gates that are not met; an undefined metric meets none."""
    evaluation.check_gates(config.evaluation.gates, metrics)
