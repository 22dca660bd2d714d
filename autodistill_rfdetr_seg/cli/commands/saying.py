"""How commands say what they found: text for people, JSON for machines; and their exit codes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...dataset.dataset_index import read_index
from ...evaluation.score_tables import metrics_table
from ...labels.missing_images import Gaps
from ...system.run_folder import RunFolder

OK = 0
FAILED = 1
SOME_FAILED = 4
INTERRUPTED = 130
# Of dataset.json, what `label` and `build` print.
_SHOWN = ("counts", "kept", "rejected", "too_rare", "per_class", "kept_together")


def say(text: str) -> None:
    """Prints a result."""
    sys.stdout.write(f"{text}\n")


def say_json(data: Any) -> None:
    """Prints a result as JSON, in ASCII where stdout cannot take all of it as it is."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data, indent=2, default=str)
    say(text)


def say_dataset(args: argparse.Namespace, run: RunFolder, gaps: Gaps) -> None:
    """Prints what a run's dataset holds, and what it lacks."""
    index = read_index(run.dataset)
    data = {"dataset": str(run.dataset), **{key: index[key] for key in _SHOWN}}
    if args.json:
        say_json({**data, **gaps.as_json()})
        return
    for name, count in index["counts"].items():
        sizes = f"{count['images']:>6} images  {count['instances']:>7} instances  {count['negatives']:>5} negatives"
        say(f"{name:<6} {sizes}")
    reasons = ", ".join(f"{reason} {count}" for reason, count in index["rejected"].items())
    say(f"kept {index['kept']} labels, rejected {sum(index['rejected'].values())}{f' ({reasons})' if reasons else ''}")
    for name, lacking in index["too_rare"].items():
        say(f"class {name!r} has no label in {', '.join(lacking)}")
    for line in gaps.as_lines():
        say(line)
    say(f"dataset  {run.dataset}")


def say_metrics(args: argparse.Namespace, metrics: Mapping[str, Any], places: Mapping[str, Path]) -> None:
    """Prints an evaluation's metrics, and where things were written."""
    if args.json:
        say_json({**metrics, "files": {name: str(path) for name, path in places.items()}})
        return
    say(metrics_table(metrics))
    for name, path in places.items():
        say(f"{name:<11}{path}")
