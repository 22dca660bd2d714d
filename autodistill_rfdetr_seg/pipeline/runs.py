"""Whole runs: what the Python API (`label`, `run`), a pipeline file and the command line call."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bases.contract import ImageInput
from ..bases.registry import own_ontology
from ..core.bucket_urls import is_bucket_url, parse_bucket_url
from ..core.config import BaseConfig, PipelineConfig, parse
from ..core.errors import UsageError
from ..core.types import Classes, Run, SegDataset
from ..dataset.builder import BuildResult
from ..evaluation import check_gates
from ..evaluation.gold_sets import read_gold
from ..labels.base_source import BaseSource, describe_model
from ..labels.label_account import read_failures
from ..labels.labeler import LabelSummary
from ..review.label_preview import Preview, preview
from ..system.config_files import load, save_run_config
from ..system.run_folder import RunFolder
from .bucket_labeling import label_in_parts
from .labeling_plan import Forecast, plan
from .run_preparation import PreparedRun, prepare_run
from .stages import build_stage, evaluate_stage, label_stage, report_stage, train_stage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelingResult:
    """What a labeling did, and the dataset with what it lacks; None if it was not built."""

    summary: LabelSummary
    built: BuildResult | None


@dataclass(frozen=True)
class RunResult:
    """A finished run: its configuration, its folder, its dataset, and the content of `evaluation/metrics.json`."""

    config: PipelineConfig
    folder: RunFolder
    built: BuildResult
    metrics: dict[str, Any]

    @property
    def some_failed(self) -> bool:
        """Whether images failed or are missing from the dataset."""
        return bool(read_failures(self.folder.labels) or self.built.missing)


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
    """Labels a folder with a base and builds `output/dataset`, as autodistill's `label` does in one call.

    Args:
        base: any autodistill `DetectionBaseModel`, a name such as "grounded-sam" or "package.module:Class", or the
            path of a run or checkpoint (with a slash), whose model then labels.
        images: the folder of images, searched recursively, never written to; or the URL of a bucket's prefix.
        output: the run's folder.
        ontology: prompt → class name; leave it out if `base` is a model, which has its own, or a path.
        resume: continue where an earlier call stopped.
        overwrite: start over in an output folder that is not empty.
        image_input: how a `base` model takes images: "bgr" (HWC uint8 array), "path" or "pil".
        tiles: side in pixels of the tiles that larger images are cut into; None leaves what `base` says.
        overlap: fraction by which tiles overlap; None likewise.
        stability: run the base again, and store how well each mask agrees; None likewise.
        options: groups of `PipelineConfig`: `refine={...}`, `split={...}`, `dataset={...}`, …

    Returns:
        The dataset: `dataset.root` contains train/, valid/ and test/ with `_annotations.coco.json` each. Images that
        could not be labeled are in `output/labels/failures.jsonl`.

    Raises:
        AutodistillSegError: see `errors`; one sentence, with a hint.
    """
    is_model = not isinstance(base, str | BaseConfig)
    if is_model:
        ontology = Classes.from_ontology(dict(base.ontology.promptMap)).ontology
        base_config = describe_model(base)
    else:
        base_config = base if isinstance(base, BaseConfig) else BaseConfig(name=base)
    changes = {"tiles": tiles, "overlap": overlap, "stability": stability}
    config = parse(
        {
            "images": str(parse_bucket_url(images)) if is_bucket_url(images) else str(Path(images).resolve()),
            "ontology": dict(ontology or {}),
            "base": base_config.model_dump() | {key: value for key, value in changes.items() if value is not None},
            **options,
        }
    )
    source = BaseSource.from_model(base, image_input, config.base) if is_model else None
    run = RunFolder(Path(output))
    result = label_and_build(with_ontology(config), run, source, resume=resume, overwrite=overwrite, progress=progress)
    assert result.built is not None
    return result.built.dataset


def run(
    config: PipelineConfig | Mapping[str, Any] | str | Path,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Runs a whole pipeline, given as a configuration or its YAML file; returns `evaluation/metrics.json`.

    Raises:
        GateError: a metric did not reach its gate; the run is complete and its report is written.
        AutodistillSegError: see `errors`.
    """
    if isinstance(config, str | Path):
        config = load(Path(config))
    config = with_ontology(config if isinstance(config, PipelineConfig) else parse(config))
    if output is None and config.output is None:
        raise UsageError("There is no output folder.", "Give output=…, or `output:` in the pipeline.")
    folder = RunFolder(Path(output if output is not None else str(config.output)))
    result = run_pipeline(config, folder, resume=resume, overwrite=overwrite, progress=progress)
    check_gates(config.evaluation.all_gates, result.metrics)
    return result.metrics


def with_ontology(config: PipelineConfig) -> PipelineConfig:
    """The configuration; if it has no ontology, with that of its base.

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


def label_and_build(
    config: PipelineConfig,
    run: RunFolder,
    source: BaseSource | None = None,
    *,
    build: bool = True,
    resume: bool,
    overwrite: bool,
    progress: bool = True,
) -> LabelingResult:
    """The label stage and, with `build`, the build stage. Raises as `prepare_run`."""
    only = not build
    with prepare_run(
        config, run, source, resume=resume, overwrite=overwrite, labels_only=only, progress=progress
    ) as prepared:
        summary = _label(prepared, progress, in_parts=only)
        return LabelingResult(summary, _build(config, run, progress) if build else None)


def run_pipeline(
    config: PipelineConfig, run: RunFolder, *, resume: bool, overwrite: bool, progress: bool = True
) -> RunResult:
    """Runs all five stages, each only if its inputs have changed; gates are not checked. Raises as `prepare_run`."""
    if config.target.nodes > 1:
        raise UsageError(
            "A whole run works on one machine, and target.nodes is more than 1.",
            "Leave target.nodes out here. Then start `autodistill-seg train RUN --nodes N` on each machine.",
        )
    with prepare_run(config, run, resume=resume, overwrite=overwrite, progress=progress) as prepared:
        _label(prepared, progress)
        built = _build(config, run, progress)
        trained, worked = train_stage(config, run, progress=progress)
        _log_stage("train", f"checkpoint {trained.checkpoint}", worked)
        gold = read_gold(config, run)
        metrics, worked = evaluate_stage(config, run, gold, progress=progress)
        _log_stage("evaluate", f"{metrics['images']} images against {metrics['reference']}", worked)
        _log_stage("report", str(run.report), report_stage(config, run, gold=gold))
    return RunResult(config, run, built, metrics)


def preview_labels(
    config: PipelineConfig, run: RunFolder, count: int, *, resume: bool, overwrite: bool, progress: bool = True
) -> Preview:
    """Labels a sample of `count` images and draws it on a contact sheet. Raises as `prepare_run`."""
    config = _without_slice(config)
    with prepare_run(config, run, resume=resume, overwrite=overwrite, progress=progress) as prepared:
        images = prepared.images(sample=count, progress=progress)
        return preview(config, images.items, prepared.source, run.root, count, progress=progress)


def plan_labeling(
    config: PipelineConfig, run: RunFolder, count: int, *, resume: bool, overwrite: bool, progress: bool = True
) -> Forecast:
    """Labels a sample of `count` images and forecasts the rest. Raises as `prepare_run`."""
    config = _without_slice(config)
    with prepare_run(config, run, resume=resume, overwrite=overwrite, progress=progress) as prepared:
        # Measured before the frames of a video are extracted: the run will not extract them again.
        started = time.process_time()
        images = prepared.images(progress=progress)
        return plan(config, images.items, prepared.source, run.root, count, begun=started, progress=progress)


def rebuild_dataset(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> BuildResult:
    """The build stage with a changed configuration, which is saved."""
    built = _build(config, run, progress)
    save_run_config(run, config)
    return built


def train_again(config: PipelineConfig, run: RunFolder, *, overwrite: bool = False, progress: bool = True) -> Run:
    """The train stage with a changed configuration, which is saved when the training starts."""
    trained, worked = train_stage(
        config, run, overwrite=overwrite, on_start=lambda: save_run_config(run, config), progress=progress
    )
    if not worked:
        save_run_config(run, config)
        _log.info("train: the checkpoint is from the same dataset and options (nothing to do)")
    return trained


def evaluate_again(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> dict[str, Any]:
    """The evaluate stage with a changed configuration, which is saved. Returns the content of metrics.json."""
    metrics, worked = evaluate_stage(config, run, progress=progress)
    save_run_config(run, config)
    if not worked:
        _log.info("evaluate: the same checkpoint was scored on the same images before (nothing to do)")
    return metrics


def _label(prepared: PreparedRun, progress: bool, in_parts: bool = False) -> LabelSummary:
    config, run, source = prepared.config, prepared.folder, prepared.source
    if in_parts and prepared.bucket is not None and config.inputs.mirror_limit is not None:
        summary = label_in_parts(config, run, source, prepared.bucket, progress=progress)
    else:
        summary = label_stage(config, run, source, prepared.images(progress=progress), progress=progress)
    text = f"{summary.labeled} images labeled, {summary.stored} already had labels"
    if summary.failures:
        text += f", {len(summary.failures)} failed"
    _log_stage("label", text, summary.labeled > 0)
    return summary


def _build(config: PipelineConfig, run: RunFolder, progress: bool) -> BuildResult:
    built = build_stage(config, run, progress=progress)
    counts = built.dataset.counts
    sizes = ", ".join(f"{name} {c['images']} images {c['instances']} instances" for name, c in counts.items())
    _log_stage("build", sizes, built.worked)
    return built


def _log_stage(stage: str, result: str, worked: bool) -> None:
    _log.info("%s: %s%s", stage, result, "" if worked else " (nothing to do)")


def _without_slice(config: PipelineConfig) -> PipelineConfig:
    """A sample is drawn from all images, not from a slice."""
    return config.model_copy(update={"labeling": config.labeling.model_copy(update={"slice": None})})
