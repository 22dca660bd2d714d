"""The five stages of a run: label, build, train, evaluate, report.

Each reads files, writes files, and does nothing if its output is up to date. `system/run_folder.py` lists the files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..core.bucket_urls import is_bucket_url, parse_bucket_url
from ..core.config import PipelineConfig
from ..core.errors import DataError, UsageError
from ..core.types import Run
from ..dataset.builder import BuildOptions, BuildResult, build
from ..dataset.dataset_index import read_dataset, read_head
from ..dataset.split_groups import leakage
from ..evaluation.gold_predictions import base_predictions, predict_gold, target_predictor
from ..evaluation.gold_sets import Gold, check_gate_names, read_gold
from ..evaluation.run_scores import score_models, write_predictions
from ..labels.base_source import BaseSource, source_of
from ..labels.label_account import read_account
from ..labels.labeler import LabelSummary, label_images
from ..readers.bucket_source import BucketImages, list_bucket_images, mirror_images, mirror_missing
from ..readers.image_sources import Inputs, find_images
from ..report.run_report import write_report
from ..system.config_files import dump
from ..system.files import fingerprint, read_json, write_json
from ..system.locks import locked
from ..system.run_folder import RunFolder
from ..system.versions import versions
from .target_training import is_first_node, train_if_changed

_log = logging.getLogger(__name__)

# Options of `inputs` that say something of one kind of source only.
_OF_BUCKETS = {"mirror_limit"}
_OF_VIDEOS = {"every", "fps", "scene_changes"}


def find_run_images(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> Inputs:
    """The images that the configuration names; the frames of a video are extracted into the run's folder, and the
    images of a bucket are read into it."""
    if is_bucket_url(config.images):
        return mirror_images(list_run_bucket(config, progress=progress), run.mirror, progress=progress)
    if config.inputs.mirror_limit is not None:
        raise UsageError("--mirror-limit is for the images of a bucket, and these are files.", "Leave it out.")
    return find_images(config.images, run.frames, **config.inputs.model_dump(exclude=_OF_BUCKETS), progress=progress)


def list_run_bucket(config: PipelineConfig, in_parts: bool = False, *, progress: bool = True) -> BucketImages:
    """The images of the bucket that the configuration names; none is read. `in_parts` if they are only labeled."""
    inputs = config.inputs.model_dump(exclude=_OF_VIDEOS)
    refused = [name for name in _OF_VIDEOS if getattr(config.inputs, name) not in (None, False)]
    if refused:
        raise UsageError(f"The option {refused[0]!r} is for a video, which is not read from a bucket.", "Leave it out.")
    _log.info("Listing %s", parse_bucket_url(config.images))
    return list_bucket_images(config.images, **inputs, in_parts=in_parts, progress=progress)


def label_stage(
    config: PipelineConfig,
    run: RunFolder,
    source: BaseSource,
    images: Inputs | None = None,
    *,
    progress: bool = True,
) -> LabelSummary:
    """Labels the images that have no labels yet; without `images`, they are searched now.

    Raises:
        DataError: every image failed.
    """
    if images is None:
        images = find_run_images(config, run, progress=progress)
    source = source.with_items(images.items)
    for note in source.notes():
        _log.warning("%s", note)
    summary = label_images(
        source,
        images.items,
        run.labels,
        config.labeling,
        root=images.root,
        groups=images.groups,
        max_megapixels=config.inputs.max_megapixels,
        progress=progress,
    )
    report_labeling(summary, run)
    return summary


def report_labeling(summary: LabelSummary, run: RunFolder) -> None:
    """Logs what is to be known of a labeling.

    Raises:
        DataError: every image failed.
    """
    if summary.several:
        count = len(summary.several)
        _log.warning("%d files have several pages or frames, such as %s: the first is used.", count, summary.several[0])
    if summary.failures and not (summary.labeled or summary.stored):
        first = summary.failures[0]
        raise DataError(
            f"All {len(summary.failures)} images failed; the first, {first['path']}: {first['reason']}",
            f"All reasons are in {run.labels / 'failures.jsonl'}.",
        )


def build_stage(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> BuildResult:
    """Builds the dataset and logs what may leak between splits."""
    options = BuildOptions(config.refine, config.split, config.dataset)
    if is_bucket_url(config.images):
        # Of a run that was copied without its mirror, or whose mirror was removed to save space.
        for note in mirror_missing(config.images, run.mirror, read_account(run.labels).images, progress=progress):
            _log.warning("%s", note)
    built = build(
        run.labels,
        _images_root(config, run),
        run.dataset,
        options,
        human=run.human,
        max_megapixels=config.inputs.max_megapixels,
        progress=progress,
    )
    groups = read_head(run.dataset)["kept_together"]
    _log.log(logging.WARNING if groups["across"] or groups["cut"]["images"] else logging.INFO, leakage(groups))
    return built


def _images_root(config: PipelineConfig, run: RunFolder) -> Path:
    return run.mirror if is_bucket_url(config.images) else read_account(run.labels).root or Path(config.images)


def train_stage(
    config: PipelineConfig,
    run: RunFolder,
    *,
    overwrite: bool = False,
    on_start: Callable[[], object] = lambda: None,
    progress: bool = True,
) -> tuple[Run, bool]:
    """Trains the target if there is no checkpoint from the same dataset and options, or with `overwrite`.

    The old checkpoint stays until the new one is complete. An unfinished training with the same dataset and options is
    resumed. `on_start` is called when all checks have passed, before the first step.

    Returns:
        The training's record, and False if it was up to date.

    Raises:
        DataError: another process builds the dataset or trains on it.
    """
    # Where several machines train, the first one holds the lock.
    with locked(run.root) if is_first_node(config.target) else nullcontext():
        dataset = read_dataset(run.dataset)
        _refuse_empty_dataset(run.dataset)
        return train_if_changed(
            config.target,
            dataset,
            run.training,
            overwrite=overwrite,
            on_start=on_start,
            max_megapixels=config.inputs.max_megapixels,
            progress=progress,
        )


def _refuse_empty_dataset(folder: Path) -> None:
    """Refuses a dataset without an instance; the message names the rule that rejected the most."""
    index = read_head(folder)
    if index["kept"]:
        return
    rejected = sorted(index["rejected"].items(), key=lambda item: -item[1])
    if not rejected:
        raise DataError("The base found no instance of any class in any image.", "Try other prompts or another base.")
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejected)
    raise DataError(
        f"The dataset has no instances: the refine rules rejected all of them ({reasons}).",
        f"Loosen {rejected[0][0]!r} first: `autodistill-seg build {folder.parent} …`.",
    )


def evaluate_stage(
    config: PipelineConfig, run: RunFolder, gold: Gold | None = None, *, progress: bool = True
) -> tuple[dict[str, Any], bool]:
    """Scores base and target on the same images, which the target has not seen. Without `gold`, it is read now.

    Without a gold set, the target is compared with the base's labels of the test split; the metrics then say `base
    labels`, as that is agreement, not truth. Writes `evaluation/metrics.json`, `details.json` (curves, per image) and
    the predictions as COCO results with the ids of the gold file: one file for each model and gold set.

    Returns:
        The content of `metrics.json`, and False if it was up to date.
    """
    from ..targets import RFDETRSeg, read_run

    gold = gold or read_gold(config, run)
    classes = gold.truth.classes
    check_gate_names(config, classes)
    trained = read_run(run.training)
    not_compared = {"gold", "samples", "gates", "min_recovery"}
    if config.evaluation.tiles is None:
        # So that the evaluations of earlier releases, which had no tiles, still count.
        not_compared |= {"tiles", "overlap"}
    options = config.evaluation.model_dump(mode="json", exclude=not_compared)
    prints = {
        "gold": gold.truth.fingerprint,
        "dataset": trained.dataset_fingerprint,
        "base": source_of(config).provenance.fingerprint,
        "checkpoint_sha256": trained.checkpoint_sha256,
    }
    gold_prints = [gold.human, gold.whole.truth.fingerprint, gold.ids_fingerprint]
    held_out = None if gold.held_out is None else gold.held_out.to_dict()
    inputs = fingerprint(prints, options, config.refine.model_dump(mode="json"), gold_prints, held_out)
    metrics_file = run.evaluation / "metrics.json"
    if metrics_file.is_file() and read_json(metrics_file).get("inputs") == inputs:
        return read_json(metrics_file), False
    run.evaluation.mkdir(parents=True, exist_ok=True)
    base = base_predictions(config, run, gold, progress) if gold.human else None
    model = RFDETRSeg.from_checkpoint(trained.checkpoint, device=config.target.device)
    tiling = (config.evaluation.tiles, config.evaluation.overlap)
    predict = target_predictor(model, config.evaluation.score_floor, len(classes.names), *tiling)
    target = predict_gold(predict, gold.whole.truth, max_megapixels=config.inputs.max_megapixels, progress=progress)
    predictions = {"base": base, "target": target}
    metrics, details = score_models(config, gold, predictions, progress)
    metrics |= {"fingerprints": prints, "versions": versions(), "inputs": inputs}
    write_predictions(run, gold, predictions)
    write_json(run.evaluation / "details.json", details)
    write_json(metrics_file, metrics)
    return metrics, True


def report_stage(config: PipelineConfig, run: RunFolder, output: Path | None = None, gold: Gold | None = None) -> bool:
    """Writes the report page (to `output`, or the run's folder) and the picture; False if both were up to date.

    Raises:
        DataError: the run has not been evaluated.
    """
    metrics_file = run.evaluation / "metrics.json"
    if not metrics_file.is_file():
        raise DataError(f"{run.root} has not been evaluated.", f"Run `autodistill-seg evaluate {run.root}` first.")
    page = output or run.report
    metrics = read_json(metrics_file)
    if "held_out" not in metrics:
        raise DataError(
            f"{run.root} was evaluated by an earlier version; its predictions do not have the ids of the gold set.",
            f"Run `autodistill-seg evaluate {run.root}` again: it does not label or train.",
        )
    stamp = f"<!-- inputs {fingerprint(metrics, dump(config))} -->"
    if page.is_file() and run.picture.is_file() and page.read_text(encoding="utf-8").rstrip().endswith(stamp):
        return False
    write_report(config, run, gold or read_gold(config, run), metrics, page)
    # The stamp is written last: a page without it is incomplete, or was made from other files.
    with page.open("a", encoding="utf-8") as file:
        file.write(f"\n{stamp}\n")
    return True
