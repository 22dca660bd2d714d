"""The rows of the tables and bar lists of the page: metrics in, formatted text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.plain_text import between, counted
from ..dataset.refine import reason_text
from ..evaluation.metric import all_metrics
from .report_text import count, difference, has_gold, known, milliseconds, percent, score, speed_factor

MODELS = ("base", "target")
CLASS_BARS = 24


@dataclass(frozen=True, slots=True)
class Card:
    """One number of the summary, its name, and a line below it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its name, a hint next to it, and its cells."""

    name: str
    hint: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of a table under one heading."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class ModelBar:
    """A bar in the color of `base`, `target` or `other`: its `width` in percent of the full width, and its text."""

    model: str
    width: float | None
    text: str


@dataclass(frozen=True, slots=True)
class BarRow:
    """A row of a bar list."""

    name: str
    note: str
    bars: tuple[ModelBar, ...]


def models(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that were scored: base, target or both."""
    return tuple(model for model in MODELS if metrics.get(model))


def cards(metrics: Mapping[str, Any]) -> tuple[Card, ...]:
    """The three or four most important numbers."""
    target, base = metrics.get("target") or {}, metrics.get("base") or {}
    shown = target or base
    if not shown:
        return ()
    mask = shown.get("mask") or {}
    against = "against the gold masks" if has_gold(metrics) else "against the base's labels"
    found = [
        Card(
            "Mask AP" if target else "Mask AP of the base", score(mask.get("ap")), _with_interval(shown, "ap", against)
        ),
        Card("Mask AP50", score(mask.get("ap50")), _with_interval(shown, "ap50", "masks with an IoU of at least 0.50")),
    ]
    if target and base:
        note = f"of the base's mask AP, {score((base.get('mask') or {}).get('ap'))}"
        bounds = (metrics.get("intervals") or {}).get("recovery")
        note += "" if bounds is None else f"; 95% interval {between(bounds, '.0%')}"
        found.insert(0, Card("Recovery", percent(metrics.get("recovery")), note))
    factor = speed_factor(target.get("milliseconds"), base.get("milliseconds"))
    found.append(
        Card("Time per image", milliseconds(shown.get("milliseconds")), f"{factor} as the base" if factor else "median")
    )
    return tuple(found)


def _with_interval(scores: Mapping[str, Any], name: str, note: str) -> str:
    bounds = ((scores.get("intervals") or {}).get("mask") or {}).get(name)
    return note if bounds is None else f"95% interval {between(bounds)}; {note}"


def comparison(metrics: Mapping[str, Any]) -> tuple[Group, ...]:
    """Every overall metric, with a column each for base and target, and their difference if both were scored."""
    names = models(metrics)
    evaluations = [metrics[model] for model in names]
    most = count(metrics.get("max_detections"))

    def row(name: str, hint: str, values: Sequence[Any], form: Any = score, signed: bool = True) -> Row:
        cells = [form(value) for value in values]
        if len(values) == 2:
            cells.append(difference(values[1], values[0]) if signed else "")
        return Row(name, hint, tuple(cells))

    groups = []
    shown = [metric for metric in all_metrics() if metric.title]
    for title, part, metrics_of_part in (
        ("Mask", "mask", shown),
        ("Box", "box", [metric for metric in shown if metric.for_boxes]),
    ):
        rows = [
            row(m.title.format(max=most), m.hint, [(e.get(part) or {}).get(m.name) for e in evaluations])
            for m in metrics_of_part
        ]
        groups.append(Group(title, tuple(rows)))
    outlines = [((e.get("errors") or {}).get("boundary") or {}).get("ap") for e in evaluations]
    in_use = (
        row("Boundary AP", "how well outlines fit", outlines),
        row("Best F1", "over all confidence thresholds", [e.get("best_f1") for e in evaluations]),
        row("Confidence for best F1", "", [e.get("best_confidence") for e in evaluations], _confidence, signed=False),
        row("Time per image", "median", [e.get("milliseconds") for e in evaluations], milliseconds, signed=False),
    )
    return (*groups, Group("In use", in_use))


def set_groups(metrics: Mapping[str, Any]) -> tuple[Group, ...]:
    """One group per gold set, with a row each for base and target.

    A first group has the scores on all images, if images that look like training images were left out of the main
    scores. Empty if there is one gold set and no such image.
    """
    groups = []
    parts = dict(metrics.get("sets") or {})
    whole = metrics.get("all") or {}
    if whole.get("images") != metrics.get("images") and whole:
        parts = {"All images, including look-alikes of training images": whole, **parts}
    for name, scored in parts.items():
        rows = []
        for model in models(scored):
            one = scored[model]
            mask, box = one.get("mask") or {}, one.get("box") or {}
            values = (mask.get("ap"), mask.get("ap50"), mask.get("ap75"), box.get("ap"), one.get("best_f1"))
            recovery = percent(scored.get("recovery")) if model == "target" else ""
            rows.append(Row(model.capitalize(), count(one.get("images")), (*map(score, values), recovery)))
        groups.append(Group(str(name), tuple(rows)))
    return tuple(groups)


def look_alikes(metrics: Mapping[str, Any]) -> tuple[Row, ...]:
    """Gold images that look like an image of the train or valid split: that image, and the bits that differ."""
    found = (metrics.get("held_out") or {}).get("look_alikes") or ()
    return tuple(Row(str(one["image"]), "", (str(one["like"]), count(one["bits"]))) for one in found)


def class_bars(metrics: Mapping[str, Any]) -> tuple[BarRow, ...]:
    """Mask AP of each class for base and target, the classes with the most instances first."""
    names = models(metrics)
    rows = []
    for name, number in _classes(metrics):
        bars = []
        for model in names:
            value = _of_class(metrics, model, name).get("ap")
            bars.append(ModelBar(model, round(100 * value, 1) if known(value) else None, score(value)))
        rows.append(BarRow(name, counted(int(number), "instance") if known(number) else "", tuple(bars)))
    return tuple(rows)


def class_table(metrics: Mapping[str, Any]) -> tuple[Row, ...]:
    """Every number of each class: instances, AP of the base, then the numbers of the target (or of the only model)."""
    both = len(models(metrics)) == 2
    last = models(metrics)[-1:]
    rows = []
    for name, number in _classes(metrics):
        shown = _of_class(metrics, last[0], name) if last else {}
        cells = [count(number)]
        if both:
            cells.append(score(_of_class(metrics, "base", name).get("ap")))
        cells += [score(shown.get(key)) for key in ("ap", "ap50", "ap75", "ar", "best_f1", "precision", "recall")]
        rows.append(Row(name, "", (*cells, _confidence(shown.get("best_confidence")))))
    return tuple(rows)


def _classes(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Class names and instance counts, most instances first, then by name."""
    per_class = [(metrics[model].get("per_class") or {}) for model in models(metrics)]
    names = dict.fromkeys([*(metrics.get("classes") or ()), *(name for rows in per_class for name in rows)])
    counts = {name: next((rows[name].get("instances") for rows in per_class if name in rows), None) for name in names}
    return sorted(counts.items(), key=lambda item: (-item[1] if known(item[1]) else 1, item[0]))


def _of_class(metrics: Mapping[str, Any], model: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((metrics.get(model) or {}).get("per_class") or {}).get(name) or {}
    return found


def label_bars(dataset: Mapping[str, Any]) -> tuple[BarRow, ...]:
    """Labels kept, then those rejected by reason, the most frequent first, in percent of all; empty without labels."""
    kept, rejected = dataset.get("kept") or 0, dataset.get("rejected") or {}
    total = kept + sum(rejected.values())
    if not total:
        return ()
    reasons = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    rows = [("kept", kept, "target"), *((reason_text(key), number, "other") for key, number in reasons if number)]
    return tuple(_fraction_row(name, number, total, model) for name, number, model in rows)


def dataset_class_bars(dataset: Mapping[str, Any]) -> tuple[BarRow, ...]:
    """Labels kept of each class, the most frequent first; the note has the number rejected."""
    per_class = sorted((dataset.get("per_class") or {}).items(), key=lambda item: (-item[1]["kept"], item[0]))
    most = max((labels["kept"] for _, labels in per_class), default=0)
    rows = []
    for name, labels in per_class:
        rejected = sum((labels.get("rejected") or {}).values())
        note = (
            f"{count(labels['kept'])} kept, {count(rejected)} rejected" if rejected else f"{count(labels['kept'])} kept"
        )
        rows.append(BarRow(name, note, (ModelBar("target", round(100 * labels["kept"] / max(1, most), 1), ""),)))
    return tuple(rows)


def split_rows(dataset: Mapping[str, Any]) -> tuple[Row, ...]:
    """Images, instances and negatives of each split, in the order given."""
    return tuple(
        Row(name, "", tuple(count(counts.get(key)) for key in ("images", "instances", "negatives")))
        for name, counts in (dataset.get("counts") or {}).items()
    )


def _fraction_row(name: str, number: int, total: int, model: str) -> BarRow:
    fraction = number / total
    return BarRow(name, f"{count(number)} ({percent(fraction)})", (ModelBar(model, round(100 * fraction, 1), ""),))


def _confidence(value: Any) -> str:
    return f"{value:.2f}" if known(value) else score(value)
