"""Looking at what a run holds: what to look at first, where a label came from, what two runs differ in."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MissingInputError
from ..stages import (
    RunFolder,
)
from .saying import OK, say, say_json

_log = logging.getLogger(__name__)


def review(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Orders labels by what to look at first."""
    from ..reviewing import review as review_of
    from ..reviewing import review_text

    found = review_of(RunFolder(Path(args.run)), args.count)
    if args.json:
        say_json(found.as_json())
    else:
        say(review_text(found))
    return OK


def explain(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells where a label came from."""
    from ..explaining import explain as explanation_of
    from ..explaining import explain_text

    found = explanation_of(RunFolder(Path(args.run)), args.label)
    if args.json:
        say_json(found.as_json())
    else:
        say(explain_text(found))
    return OK


def diff(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells what two datasets differ in."""
    from ..comparing import compare, comparison_text

    found = compare(RunFolder(Path(args.run)), RunFolder(Path(args.other)))
    if args.json:
        say_json(found.as_json())
    else:
        say(comparison_text(found))
    return OK


def report(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Writes a run's report page."""
    from ..reporting import report_stage

    folder = RunFolder(Path(args.run))
    page = Path(args.output) if args.output else folder.report
    if not report_stage(folder.config(), folder, page, progress=not args.quiet):
        _log.info("report: it is up to date (nothing to do)")
    if args.json:
        say_json({"report": str(page), "picture": str(folder.picture)})
    else:
        say(f"report   {page}\npicture  {folder.picture}")
    return OK


def validate(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Lists every problem of a COCO file."""
    from ..coco import validate as problems_of

    source = Path(args.dataset)
    if not source.exists():
        raise MissingInputError(f"There is no {source}.", "Give a COCO JSON file or a folder that holds one.")
    problems = problems_of(source)
    errors = sum(problem.severity == "error" for problem in problems)
    if args.json:
        say_json([dataclasses.asdict(problem) for problem in problems])
    else:
        for problem in problems:
            say(str(problem))
        say(f"{errors} errors, {len(problems) - errors} warnings")
    return 1 if errors else OK
