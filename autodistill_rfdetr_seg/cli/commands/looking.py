"""Looking at what a run holds: what to look at first, where a label came from, what two runs differ in."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...readers.dataset_repair import CHANGES
from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from .saying import OK, SOME_FAILED, say, say_json

_log = logging.getLogger(__name__)


def review(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Orders labels by what to look at first."""
    from ...review.review_order import review as review_of
    from ...review.review_order import review_text

    found = review_of(RunFolder(Path(args.run)), args.count)
    if args.json:
        say_json(found.as_json())
    else:
        say(review_text(found))
    return OK


def explain(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells where a label came from."""
    from ...review.explain_label import explain as explanation_of
    from ...review.explain_label import explain_text

    found = explanation_of(RunFolder(Path(args.run)), args.label)
    if args.json:
        say_json(found.as_json())
    else:
        say(explain_text(found))
    return OK


def diff(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells what two datasets differ in."""
    from ...review.compare_runs import compare, comparison_text

    found = compare(RunFolder(Path(args.run)), RunFolder(Path(args.other)))
    if args.json:
        say_json(found.as_json())
    else:
        say(comparison_text(found))
    return OK


def report(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Writes a run's report page."""
    from ...report.run_report import report_stage

    folder = RunFolder(Path(args.run))
    page = Path(args.output) if args.output else folder.report
    if not report_stage(read_run_config(folder), folder, page, progress=not args.quiet):
        _log.info("report: it is up to date (nothing to do)")
    if args.json:
        say_json({"report": str(page), "picture": str(folder.picture)})
    else:
        say(f"report   {page}\npicture  {folder.picture}")
    return OK


def validate(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Sums up every problem of annotated images."""
    from ...readers import problem_row, read_source, summary_text

    found = read_source(Path(args.dataset), images="checked", progress=not args.quiet)
    if args.json:
        say_json([problem_row(problem) for problem in found.problems])
    else:
        if found.problems:
            said = map(str, found.problems) if args.all else [summary_text(found.problems)]
            say("\n".join(said))
        for split, truth in found.splits.items():
            instances = sum(len(image.instances) for image in truth.images)
            say(f"{split or 'all':<7}  {len(truth.images)} images, {instances} instances")
        say(f"{found.errors} errors, {len(found.problems) - found.errors} warnings")
    return 1 if found.errors else OK


def repair(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Writes what was understood of annotated images as a clean dataset."""
    from ...readers import repair as repair_source
    from ...readers import summary_text

    done = repair_source(
        Path(args.dataset),
        Path(args.output),
        trust_images=args.trust_images,
        crowds=args.crowds,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    if args.json:
        say_json(done.as_json())
    else:
        if done.problems:
            say(summary_text(done.problems))
        for split, count in done.counts.items():
            say(f"{split or 'all':<7}  {count['images']} images, {count['instances']} instances")
        say(f"left out {done.left_out}; every change is in {done.root / CHANGES}")
        say(f"dataset  {done.root}")
    return SOME_FAILED if done.left_out else OK
