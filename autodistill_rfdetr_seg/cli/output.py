"""What commands print to stdout: text for people, JSON for programs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.plain_text import byte_size, counted, short_list
from ..system.run_folder import RunFolder
from .exit_codes import OK, SOME_FAILED

if TYPE_CHECKING:
    from ..labels.missing_images import MissingImages
    from ..pipeline.run_copy import RunCopy
    from ..pipeline.runs import LabelingResult, RunResult

# The keys of dataset.json that `label` and `build` print.
_DATASET_KEYS = ("counts", "kept", "rejected", "too_rare", "per_class", "kept_together")


def print_text(text: str) -> None:
    """Prints a result."""
    sys.stdout.write(f"{text}\n")


def print_json(data: Any) -> None:
    """Prints a result as JSON; in ASCII where the encoding of stdout lacks one of its characters."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data, indent=2, default=str)
    print_text(text)


def print_dataset(args: argparse.Namespace, run: RunFolder, missing: MissingImages) -> None:
    """Prints the contents of a run's dataset, and the images that are missing from it."""
    from ..dataset.dataset_index import read_head

    index = read_head(run.dataset)
    if args.json:
        data = {"dataset": str(run.dataset), **{key: index[key] for key in _DATASET_KEYS}}
        print_json({**data, **missing.as_json()})
        return
    for name, count in index["counts"].items():
        sizes = f"{count['images']:>6} images  {count['instances']:>7} instances  {count['negatives']:>5} negatives"
        print_text(f"{name:<6} {sizes}")
    reasons = ", ".join(f"{reason} {count}" for reason, count in index["rejected"].items())
    rejected = f"rejected {sum(index['rejected'].values())}{f' ({reasons})' if reasons else ''}"
    print_text(f"kept {index['kept']} labels, {rejected}")
    for name, splits in index["too_rare"].items():
        print_text(f"class {name!r} has no label in {', '.join(splits)}")
    for line in missing.as_lines():
        print_text(line)
    print_text(f"dataset  {run.dataset}")


def print_metrics(args: argparse.Namespace, metrics: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Prints the metrics of an evaluation, and the files that were written."""
    from ..evaluation.score_tables import metrics_table

    if args.json:
        print_json({**metrics, "files": {name: str(path) for name, path in files.items()}})
        return
    print_text(metrics_table(metrics))
    for name, path in files.items():
        print_text(f"{name:<11}{path}")


def print_labeling(
    args: argparse.Namespace, folder: RunFolder, result: LabelingResult, one_slice: tuple[int, int] | None
) -> int:
    """Prints the dataset that was built, or what was labeled and what comes next. Returns the exit code."""
    summary = result.summary
    if result.built is None:
        if args.json:
            print_json(summary.as_json())
        elif one_slice is None:
            print_text(f"the images are labeled; next: autodistill-seg build {folder.root}")
        else:
            name = "slice {} of {}".format(*one_slice)
            print_text(f"{name} is labeled; when all slices are: autodistill-seg build {folder.root}")
        return SOME_FAILED if summary.failures else OK
    missing = dataclasses.replace(result.built.missing, failures=summary.failures)
    print_dataset(args, folder, missing)
    return SOME_FAILED if missing else OK


def print_run_copy(args: argparse.Namespace, copy: RunCopy, where: str) -> None:
    """Prints what `push-run` or `pull-run` did."""
    if args.json:
        print_json({"where": where, **dataclasses.asdict(copy)})
        return
    size = f"{counted(copy.files, 'file')}, {byte_size(copy.bytes)}"
    print_text(f"{size}: {copy.copied} copied, {copy.files - copy.copied} unchanged, {copy.removed} removed")
    if copy.skipped:
        print_text(f"skipped, as a link or for its name: {short_list(copy.skipped)}")
    print_text(where)


def print_run(args: argparse.Namespace, result: RunResult) -> int:
    """Prints the metrics of a whole run and checks its gates. Returns the exit code.

    Raises:
        GateError: a metric did not reach its gate.
    """
    from ..evaluation import check_gates

    folder = result.folder
    files = {"report": folder.report, "metrics": folder.evaluation / "metrics.json", "picture": folder.picture}
    print_metrics(args, result.metrics, {**files, "checkpoint": folder.training / "checkpoint_best_total.pth"})
    check_gates(result.config.evaluation.all_gates, result.metrics)
    return SOME_FAILED if result.some_failed else OK
