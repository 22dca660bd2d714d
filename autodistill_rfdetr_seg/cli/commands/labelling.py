"""From images to labels and a dataset."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...bases.registry import own_ontology
from ...core.config import PipelineConfig
from ...labels.base_source import BaseSource, source_of
from ...labels.labeler import LabelSummary
from ...pipeline.runs import describe_dataset, describe_labels, prepare
from ...pipeline.stages import build_stage, find_inputs, gaps_of, label_stage
from ...system.config_files import read_run_config, save_run_config
from ...system.run_folder import RunFolder
from .saying import OK, SOME_FAILED, say, say_dataset, say_json
from .settings import changed, of_run

_log = logging.getLogger(__name__)


def label(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Labels a folder and builds the dataset."""
    with _prepared(args, changes) as (config, run, source):
        if args.preview is not None:
            return _preview(args, config, run, source)
        summary = label_stage(config, run, source, progress=not args.quiet)
        _log.info("%s", describe_labels(summary))
        if config.labeling.share is not None:
            index, count = config.labeling.share
            _say_share(args, run, summary, f"share {index} of {count}")
            return SOME_FAILED if summary.failures else OK
        dataset, worked = build_stage(config, run, progress=not args.quiet)
        _log.info("%s", describe_dataset(dataset, worked))
        gaps = dataclasses.replace(gaps_of(config, run), failures=summary.failures)
    say_dataset(args, run, gaps)
    return SOME_FAILED if gaps else OK


@contextlib.contextmanager
def _prepared(
    args: argparse.Namespace, changes: Mapping[str, Any]
) -> Iterator[tuple[PipelineConfig, RunFolder, BaseSource]]:
    from ..option_flags import ontology

    # Not resolved: the name of a link, and a pattern, are as they were given.
    data: dict[str, Any] = {"images": str(Path.cwd() / args.images)}
    own = None
    if not (args.ontology or args.classes):
        own = own_ontology(changed({**data, "ontology": {}}, changes).base)
    config = changed({**data, "ontology": own or ontology(args)}, changes)
    if args.command == "plan" or args.preview is not None:
        # A sample is of all images, and no share's.
        config = config.model_copy(update={"labeling": config.labeling.model_copy(update={"share": None})})
    run = RunFolder(Path(args.output))
    with prepare(config, run, source_of(config), resume=args.resume, overwrite=args.overwrite) as source:
        yield config, run, source


def _preview(args: argparse.Namespace, config: PipelineConfig, run: RunFolder, source: BaseSource) -> int:
    from ...review.label_preview import preview

    found = find_inputs(config, run, progress=not args.quiet)
    shown = preview(config, found.items, source, run.root, args.preview, progress=not args.quiet)
    if args.json:
        say_json(shown.as_json())
    else:
        classes = ", ".join(f"{count} {name}" for name, count in shown.per_class.items())
        say(f"{shown.images} images: {classes or 'nothing'}; dropped {sum(shown.rejected.values())}")
        say(f"picture  {shown.picture}\npage     {shown.page}")
        say(f"go on with the same command, --resume in place of --preview {args.preview}")
    return SOME_FAILED if shown.failures else OK


def plan(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Labels a sample and forecasts the whole."""
    from ...pipeline.labeling_plan import forecast_text
    from ...pipeline.labeling_plan import plan as forecast

    with _prepared(args, changes) as (config, run, source):
        # Before the images are looked for: a video's frames are extracted now, and not again by the run.
        begun = time.process_time()
        found = find_inputs(config, run, progress=not args.quiet)
        result = forecast(config, found.items, source, run.root, args.count, begun=begun, progress=not args.quiet)
    if args.json:
        say_json(result.as_json())
    else:
        say(forecast_text(result))
    return OK


def build(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Builds a run's dataset again."""
    run = RunFolder(Path(args.run))
    config = of_run(run, changes)
    dataset, worked = build_stage(config, run, progress=not args.quiet)
    save_run_config(run, config)
    _log.info("%s", describe_dataset(dataset, worked))
    gaps = gaps_of(config, run)
    say_dataset(args, run, gaps)
    return SOME_FAILED if gaps else OK


def import_labels(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Takes a person's work into a run and builds its dataset again."""
    from ...review.import_corrections import import_labels as import_from

    run = RunFolder(Path(args.run))
    config = read_run_config(run)
    summary = import_from(run, Path(args.coco), everything=args.all)
    build_stage(config, run, progress=not args.quiet)
    if args.json:
        say_json(summary.as_json())
    else:
        say(f"{summary.imported} images are now as people left them, {summary.unchanged} are as they were")
        if summary.renamed:
            name, path = next(iter(summary.renamed.items()))
            say(f"{len(summary.renamed)} are called otherwise in the file, such as {name}, which is {path}")
        for one in summary.unplaced:
            say(f"not of this run  {one.name}: {one.reason}")
        for hint in dict.fromkeys(one.hint for one in summary.unplaced):
            say(f"what to do       {hint}")
    return SOME_FAILED if summary.unplaced else OK


def _say_share(args: argparse.Namespace, run: RunFolder, summary: LabelSummary, share: str) -> None:
    if args.json:
        say_json(dataclasses.asdict(summary))
    else:
        say(f"{share} is labelled; when all are: autodistill-seg build {run.root}")
