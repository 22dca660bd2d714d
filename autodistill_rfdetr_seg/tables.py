"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def number(value: float | None, form: str = ".3f") -> str:
    """A number, or a dash where it is undefined."""
    return "–" if value is None else format(value, form)


def many(number: int, one: str, more: str | None = None) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, the first to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return "  ".join([cells[0].ljust(len(first)), *rest]).rstrip()

    return "\n".join(line(row) for row in (head, *rows))


def _row(name: str, scores: Mapping[str, Any]) -> list[str]:
    mask, box = scores["mask"], scores["box"]
    return [
        name,
        number(mask["ap"]),
        number(mask["ap50"]),
        number(mask["ap75"]),
        number(box["ap"]),
        number(scores["best_f1"]),
        number(scores["best_confidence"], ".2f"),
        number(scores["milliseconds"], ".1f"),
    ]


_HEAD = ["", "mask AP", "AP50", "AP75", "box AP", "best F1", "at conf", "ms/image"]


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Base and target side by side, what that means in a sentence, and what the scores leave out."""
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
            f"recovery {number(metrics['recovery'], '.0%')} (target / base mask AP) on {metrics['images']} {kind}, "
            f"{metrics['instances']} instances, against the gold masks"
        )
    else:
        lines.append(
            f"against the base's own labels of {metrics['images']} test images: agreement, not truth "
            "(give --gold COCO.json for that)"
        )
    return "\n".join([*lines, *notes(metrics)])


def notes(scores: Mapping[str, Any]) -> list[str]:
    """What a reader of the scores must know, a line each."""
    return [f"note: {sentence}" for sentence in scores.get("notes", ())]


def one_table(scores: Mapping[str, Any]) -> str:
    """One set of predictions: all classes, each gold set where there are several, then each class."""
    rows = [
        [name, number(c["ap"]), number(c["ap50"]), number(c["ap75"]), str(c["instances"]), number(c["best_f1"])]
        for name, c in scores["per_class"].items()
    ]
    head = table(_HEAD, [_row("all", scores), *(_row(name, one) for name, one in scores.get("sets", {}).items())])
    classes = table(["class", "mask AP", "AP50", "AP75", "instances", "best F1"], rows)
    return "\n\n".join(["\n".join([head, *notes(scores)]), classes])


def bases_table(found: Sequence[Mapping[str, Any]]) -> str:
    """What `bases` lists, for reading: two lines each, and one for each file of weights."""
    lines = []
    for known in found:
        state = "installed" if known["installed"] else f"missing  → {known['install'] or 'install its package'}"
        if known["problem"]:
            state = f"refused: {known['problem']}  → {known['install']}"
        lines.append(f"{known['kind'] + ' ' + known['name']:<26}{state}")
        licence = f" ({known['licence']})" if known["licence"] else ""
        lines.append(f"    {known['summary']}{licence}")
        for one in known["weights"]:
            where = "here" if one["here"] else "fetched on first use"
            lines.append(f"    weights  {one['place']}  {one['bytes'] / 1e9:.2f} GB  {where}")
    lines.append("any class as package.module:Class or file.py:Class, and any run of your own by its path")
    return "\n".join(lines)


def doctor_table(found: Mapping[str, Any]) -> str:
    """What `doctor` found, for reading."""
    device, memory = found["device"], found["memory_gb"]
    on_device = f", {device['memory_gb']} GB" if device["memory_gb"] else ""
    lines = [
        f"platform  {found['platform']}",
        f"device    {device['kind']}: {device['name']}{on_device}",
        f"memory    {number(memory['total'], '.1f')} GB, {number(memory['available'], '.1f')} GB available",
        f"disk      {found['disk_free_gb']} GB free here",
        "",
        *(f"{name:<26}{version}" for name, version in found["versions"].items()),
        "",
    ]
    for part in found["parts"]:
        state = "present" if part["present"] else "refused" if part["problem"] else "missing"
        how = f"  → {part['install']}" if part["install"] and not part["present"] else ""
        lines.append(f"{part['name']:<26}{state:<9}{part['problem'] or part['purpose']}{how}")
        if part["fetches_gb"]:
            lines.append(f"{'':<35}its weights are not here: {part['fetches_gb']:.2f} GB, fetched on first use")
    for name, present in found["keys"].items():
        lines.append(f"{name:<26}{'set' if present else 'not set'}")
    return "\n".join(lines)
