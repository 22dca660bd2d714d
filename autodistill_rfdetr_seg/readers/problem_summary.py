"""Summarizes the problems of a dataset by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import coco

_EXAMPLES = 3


def group_rows(problems: Sequence[coco.Problem]) -> list[dict[str, Any]]:
    """A JSON-ready row for each kind of problem, errors first: number, treatment, and three examples."""
    return [
        {
            "severity": group[0].severity,
            "kind": group[0].kind.name,
            "count": len(group),
            "done": group[0].kind.treatment,
            "hint": group[0].kind.hint,
            "examples": [f"{one.place}: {one.message}" for one in group[:_EXAMPLES]],
        }
        for group in coco.by_kind(problems)
    ]


def summary_text(problems: Sequence[coco.Problem]) -> str:
    """The problems as text: a line for each kind, then three examples and the hint."""
    lines = []
    for row in group_rows(problems):
        done = f": {row['done']}" if row["done"] else ""
        lines.append(f"{row['severity']:<7}  {row['count']} x {row['kind']}{done}")
        lines += [f"         {example}" for example in row["examples"]]
        if row["count"] > len(row["examples"]):
            lines.append(f"         … and {row['count'] - len(row['examples'])} more")
        if row["hint"]:
            lines.append(f"         Hint: {row['hint']}")
    return "\n".join(lines)


def problem_row(problem: coco.Problem) -> dict[str, Any]:
    """One problem, JSON-ready."""
    return {
        "severity": problem.severity,
        "kind": problem.kind.name,
        "message": problem.message,
        "file": str(problem.file),
        "line": problem.line,
        "split": problem.split,
        "image_id": problem.image_id,
        "annotation_id": problem.annotation_id,
    }
