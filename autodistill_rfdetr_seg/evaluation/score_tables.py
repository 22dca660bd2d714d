"""Scores as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.plain_text import between, number, table


def _row(name: str, scores: Mapping[str, Any]) -> list[str]:
    mask, box = scores["mask"], scores["box"]
    return [
        name,
        number(mask["ap"]),
        between((scores.get("intervals") or {}).get("mask", {}).get("ap")),
        number(mask["ap50"]),
        number(mask["ap75"]),
        number(box["ap"]),
        number(scores["best_f1"]),
        number(scores["best_confidence"], ".2f"),
        number(scores["milliseconds"], ".1f"),
    ]


_HEAD = ["", "mask AP", "95% interval", "AP50", "AP75", "box AP", "best F1", "at conf", "ms/image"]


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Base and target side by side, the recovery and where the images are from, and the notes."""
    parts = {"": metrics}
    if metrics["reference"] == "gold" and metrics["all"]["images"] != metrics["images"]:
        parts[", all images"] = metrics["all"]
    parts |= {f" {name}": found for name, found in metrics.get("sets", {}).items()}
    rows = [
        _row(f"{who}{name}", found[who]) for name, found in parts.items() for who in ("base", "target") if found[who]
    ]
    lines = [table(_HEAD, rows)]
    if metrics["reference"] == "gold":
        held_out = metrics["held_out"]
        kind = "held-out images" if held_out["images"] else "images that are not held out"
        if held_out["problem"]:
            kind = "gold images"
        lines.append(
            f"recovery {number(metrics['recovery'], '.0%')} (target / base mask AP{_of_recovery(metrics)}) on "
            f"{metrics['images']} {kind}, {metrics['instances']} instances, against the gold masks"
        )
        lines += [metrics["comparison"]] if metrics.get("comparison") else []
        lines += [f"target: {line}" for line in _errors(metrics["target"] or {})]
    else:
        lines.append(
            f"measured against the base's own labels of {metrics['images']} test images: agreement, not truth "
            "(give --gold COCO.json to measure accuracy)"
        )
    return "\n".join([*lines, *notes(metrics)])


def _of_recovery(metrics: Mapping[str, Any]) -> str:
    bounds = (metrics.get("intervals") or {}).get("recovery")
    return "" if bounds is None else f"; 95% interval {between(bounds, '.0%')}"


def notes(scores: Mapping[str, Any]) -> list[str]:
    """The notes of a report, a line each."""
    return [f"note: {sentence}" for sentence in scores.get("notes", ())]


def one_table(scores: Mapping[str, Any]) -> str:
    """One model or file of predictions: all classes, each gold set if there are several, then each class."""
    rows = [
        [
            *(name, number(c["ap"]), number(c["ap50"]), number(c["ap75"]), str(c["instances"]), number(c["best_f1"])),
            *(number(c["best_confidence"], ".2f"), number(c["precision"]), number(c["recall"])),
        ]
        for name, c in scores["per_class"].items()
    ]
    head = table(_HEAD, [_row("all", scores), *(_row(name, one) for name, one in scores.get("sets", {}).items())])
    head_of_classes = ["class", "mask AP", "AP50", "AP75", "instances", "best F1", "at conf", "precision", "recall"]
    classes = table(head_of_classes, rows)
    return "\n\n".join(["\n".join([head, *_errors(scores), *notes(scores)]), classes])


def _errors(scores: Mapping[str, Any]) -> list[str]:
    """The AP50 lost by each kind of error, the largest first, with their number at the best confidence."""
    budget = scores.get("errors") or {}
    lost = {kind: value for kind, value in (budget.get("ap50_lost") or {}).items() if value}
    if not lost:
        return []
    parts = [f"{kind} {lost[kind]:.3f} ({budget['counts'][kind]})" for kind in sorted(lost, key=lambda one: -lost[one])]
    return [f"mask AP50 lost by kind of error (their number at the best confidence): {', '.join(parts)}"]
