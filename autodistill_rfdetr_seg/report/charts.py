"""Geometry of the charts: numbers in, SVG coordinates out. The template draws them, because it escapes every text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .report_text import count, known, score

WIDTH, HEIGHT = 360, 264
LEFT, RIGHT, TOP, BOTTOM = 46.0, 350.0, 14.0, 222.0
# At the lowest confidences there can be a hundred times more predictions; only bars from this confidence on set the
# scale.
SCALE_FROM = 0.1


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its SVG coordinate and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line: its model (`base` or `target`), its name in the legend, and its SVG path."""

    model: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: its kind (`matched` or `unmatched`), its SVG rectangle, and its count if it is cut off at the top."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart with its axes.

    `description` describes it in a sentence; `legend` has pairs of CSS class and name; `marker` is a vertical line.
    """

    key: str
    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    legend: tuple[tuple[str, str], ...]
    model: str = ""
    curves: tuple[Curve, ...] = ()
    bars: tuple[Bar, ...] = ()
    marker: Tick | None = None
    note: str = ""


def charts(metrics: Mapping[str, Any], details: Mapping[str, Any]) -> tuple[Chart, ...]:
    """The charts with data: precision-recall at IoU 0.5 and 0.75, and the confidences of target and base."""
    found = [
        pr_chart("iou50", "0.5", details),
        histogram("target", details, (metrics.get("target") or {}).get("best_confidence")),
        pr_chart("iou75", "0.75", details) if details.get("base") and details.get("target") else None,
        histogram("base", details, (metrics.get("base") or {}).get("best_confidence")),
        reliability(metrics),
    ]
    return tuple(chart for chart in found if chart is not None)


def pr_chart(iou: str, iou_text: str, details: Mapping[str, Any]) -> Chart | None:
    """Precision over recall of base and target, all classes together; None if there is no curve."""
    curves, means = [], []
    for model in ("base", "target"):
        detail = details.get(model) or {}
        precisions = ((detail.get("pr") or {}).get("all") or {}).get(iou)
        if not precisions:
            continue
        path = _curve(detail.get("recall") or [at / 100 for at in range(101)], precisions)
        if path:
            curves.append(Curve(model, model.capitalize(), path))
            values = [value for value in precisions if known(value)]
            means.append(f"{score(sum(values) / len(values))} for the {model}")
    if not curves:
        return None
    return Chart(
        key=f"pr-{iou}",
        title=f"Precision and recall at IoU {iou_text}",
        description=f"All classes together, mask IoU {iou_text}. Mean precision: {', '.join(means)}.",
        x_label="Recall: fraction of the objects that are found",
        y_label="Precision",
        x_ticks=_quarters(_x),
        y_ticks=_quarters(_y),
        legend=tuple((f"{curve.model} line", curve.name) for curve in curves),
        curves=tuple(curves),
    )


def reliability(metrics: Mapping[str, Any]) -> Chart | None:
    """How often predictions of a confidence are right, of base and target; None without a curve."""
    curves, errors = [], []
    for model in ("base", "target"):
        found = ((metrics.get(model) or {}).get("errors") or {}).get("calibration") or {}
        if not known(found.get("ece")):
            continue
        points = [f"{_x(one['score']):g} {_y(one['right']):g}" for one in found["bins"]]
        curves.append(Curve(model, model.capitalize(), f"M{'L'.join(points)}" + ("h0" if len(points) == 1 else "")))
        errors.append(f"{score(found['ece'])} for the {model}")
    if not curves:
        return None
    return Chart(
        key="reliability",
        title="Confidence and correctness",
        description=(
            "On the gray diagonal a confidence of 0.8 is right in 80% of the cases; a line below it promises too much. "
            f"Expected calibration error: {', '.join(errors)}."
        ),
        x_label="Confidence",
        y_label="Fraction that matches an object",
        x_ticks=_quarters(_x),
        y_ticks=_quarters(_y),
        legend=tuple((f"{curve.model} line", curve.name) for curve in curves),
        curves=(Curve("ideal", "", f"M{_x(0):g} {_y(0):g}L{_x(1):g} {_y(1):g}"), *curves),
    )


def histogram(model: str, details: Mapping[str, Any], best_confidence: float | None) -> Chart | None:
    """The numbers of predictions that match an object and that do not, by confidence; None without predictions."""
    data = (details.get(model) or {}).get("score_histogram") or {}
    edges, matched, unmatched = (data.get(key) or [] for key in ("edges", "matched", "unmatched"))
    if not sum(matched) + sum(unmatched):
        return None
    top = _top(edges, matched, unmatched)
    bars = _bars(edges, matched, unmatched, top)
    cut = ", ".join(bar.cut for bar in bars if bar.cut)
    return Chart(
        key=f"scores-{model}",
        title=f"Confidence of the {model}'s predictions",
        description=(
            f"Predictions of the {model} by confidence: {count(sum(matched))} match an object, "
            f"{count(sum(unmatched))} do not."
        ),
        x_label="Confidence",
        y_label="Predictions",
        x_ticks=_quarters(_x),
        y_ticks=tuple(Tick(_y(value / top), count(value)) for value in _steps(top)),
        legend=((model, "matches an object"), ("other", "matches no object")),
        model=model,
        bars=bars,
        marker=Tick(_x(best_confidence), f"{best_confidence:.2f}") if known(best_confidence) else None,
        note=f"Cut off at the top: {cut}." if cut else "",
    )


def _quarters(place: Callable[[float], float]) -> tuple[Tick, ...]:
    """The ticks 0, 0.25 … 1 of an axis; `place` is `_x` or `_y`."""
    return tuple(Tick(place(value / 4), f"{value / 4:g}") for value in range(5))


def _x(fraction: float) -> float:
    return round(LEFT + fraction * (RIGHT - LEFT), 1)


def _y(fraction: float) -> float:
    return round(BOTTOM - fraction * (BOTTOM - TOP), 1)


def _curve(recalls: Sequence[float], precisions: Sequence[float | None]) -> str:
    """The SVG path up to the last recall that is reached; with a gap at each undefined precision."""
    reached = [at for at, value in enumerate(precisions) if value is not None and known(value) and value > 0]
    parts: list[str] = []
    command = "M"
    for recall, precision in zip(recalls[: max(reached, default=-1) + 1], precisions, strict=False):
        if precision is None or not known(precision):
            command = "M"
            continue
        parts.append(f"{command}{_x(recall):g} {_y(precision):g}")
        command = "L"
    # A single point has no length; a line to itself with round ends makes it visible.
    return "".join(parts) + ("h0" if len(parts) == 1 else "")


def _bars(edges: Sequence[float], matched: Sequence[int], unmatched: Sequence[int], top: int) -> tuple[Bar, ...]:
    """Two bars side by side for each range of confidence; no bar for a count of 0."""
    bars = []
    for kind, counts, side in (("matched", matched, 0), ("unmatched", unmatched, 1)):
        for low, high, number in zip(edges[:-1], edges[1:], counts, strict=True):
            if number:
                wide = (_x(high) - _x(low) - 2) / 2
                y = _y(min(number / top, 1.0))
                cut = f"{count(number)} at {low:.2f} to {high:.2f}" if number > top else ""
                x = round(_x(low) + 1 + side * wide, 1)
                bars.append(Bar(kind, x, y, round(wide, 1), round(BOTTOM - y, 1), cut))
    return tuple(bars)


def _top(edges: Sequence[float], matched: Sequence[int], unmatched: Sequence[int]) -> int:
    """The count at the top of the axis: the highest bar from `SCALE_FROM` on, or of all bars if that is similar."""
    highest = max([*matched, *unmatched])
    pairs = zip(edges[:-1], matched, unmatched, strict=True)
    scale = max((max(hit, miss) for low, hit, miss in pairs if low >= SCALE_FROM - 1e-9), default=0)
    return max(1, highest if highest <= 1.5 * scale or not scale else math.ceil(1.1 * scale))


def _steps(top: int) -> tuple[int, ...]:
    """Round integers from 0 to at most `top`, in about four steps of 1, 2 or 5 times a power of ten."""
    power = 10 ** max(0, math.floor(math.log10(max(1, top / 4))))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= top / 4)
    return tuple(range(0, top + 1, step))
