"""The benchmark as Markdown: what was measured here, and beside it, apart, what the authors of RF-DETR published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.plain_text import number
from .ultralytics_model import LICENSE

# (Mask AP, milliseconds) of rfdetr's own weights, each size's own architecture and input: COCO val2017, NVIDIA T4,
# TensorRT fp16, batch 1; rfdetr's README.
PUBLISHED: Mapping[str, tuple[float, float]] = {
    "nano": (40.3, 3.4),
    "small": (43.1, 4.4),
    "medium": (45.3, 5.9),
    "large": (47.1, 8.8),
    "xlarge": (48.8, 13.5),
    "2xlarge": (49.9, 21.8),
    "preview": (44.3, 5.6),
}
_HEAD = (
    *(
        "model",
        "format",
        "precision",
        "device",
        "input",
        "batch",
        "median ms",
        "p95 ms",
        "mean ms",
        "images/s",
        "cores busy",
    ),
    *("memory MB", "found/image", "mask AP", "AP50", "published: AP, ms"),
)
# Rounds of one row that differ by more say more of the machine than of the model.
_DRIFT = 0.1


def markdown(result: Mapping[str, Any]) -> str:
    """`Benchmark.to_dict()` for reading."""
    lines = [*_header(result), "", *_table(_HEAD, [_cells(row) for row in result["rows"]]), ""]
    lines += [f"- {note}" for note in _notes(result)]
    return "\n".join(lines)


def _header(result: Mapping[str, Any]) -> list[str]:
    machine, options, images = result["machine"], result["options"], result["images"]
    gpu = f"; GPU {machine['gpu']}" if machine["gpu"] else ""
    threads = f"; OMP_NUM_THREADS={machine['omp_num_threads']}" if machine["omp_num_threads"] else ""
    busy = "" if machine["load"] is None else f"; load {machine['load']:g} before the first run"
    sizes = " to ".join(dict.fromkeys(f"{w} x {h}" for h, w in (images["least"], images["most"])))
    decode = result["decode_ms"]
    apart = f"decoding a file, in none of the rows: median {decode['median']:.1f} ms" if decode else "not from files"
    gold = result["gold"]
    if gold:
        left = f", {gold['left_out']} left out that a run was trained on" if gold["left_out"] else ""
        truth = f"{gold['images']} images, {gold['instances']} instances{left}; scores from {gold['score_floor']:g} on"
    else:
        truth = "none given, so no accuracy"
    pause = f", {options['pause']:g} s pause between two" if options["pause"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        f"- machine: {machine['cpu']}, {machine['cores']} cores{gpu}{threads}{busy}; {machine['platform']}",
        f"- versions: {versions}",
        f"- images: {images['count']} ({images['origin']}), {sizes}; {apart}",
        f"- runs: {options['runs']} a row in {result['rounds']} rounds taken in turns, {options['warm_up']} calls to "
        f"warm up in each{pause}; instances over {options['confidence']:g}",
        f"- gold: {truth}",
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    latency, mask = row["latency"], row["mask"] or {}
    memory = [
        "–" if row[key] is None else f"{row[key] / 1e6:.0f}{unit}"
        for key, unit in (("memory_bytes", ""), ("cuda_memory_bytes", " on GPU"))
    ]
    published = PUBLISHED.get(row["size"]) if row["as_published"] else None
    return [
        *(row["model"], row["format"], row["precision"], row["device"], str(row["input_size"]), str(row["batch_size"])),
        *(f"{latency[key]:.1f}" for key in ("median", "p95", "mean")),
        f"{row['images_per_second']:.1f}",
        f"{row['cores']:.1f}",
        memory[0] if row["cuda_memory_bytes"] is None else " + ".join(memory),
        f"{row['instances_per_image']:.1f}",
        number(mask.get("ap")),
        number(mask.get("ap50")),
        "–" if published is None else f"{published[0]}, {published[1]}",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    return [line(head), "|" + "---|" * 4 + "--:|" * (len(head) - 4), *(line(row) for row in rows)]


def _notes(result: Mapping[str, Any]) -> list[str]:
    notes = [
        "ms: from the decoded image to masks at its size, for a batch; resizing, selection and masks included.",
        "memory: the most that its process took beyond what it held before it loaded the model and its runtime.",
        "published: by RF-DETR's authors for their own weights (COCO val2017, NVIDIA T4, TensorRT fp16, batch 1), "
        "where architecture and input are the size's own; not measured here, and not of these models or images.",
    ]
    machine, rows = result["machine"], result["rows"]
    if machine["load"] is not None and machine["load"] > machine["cores"] / 2:
        notes.append("the machine was busy with something else: these are no times of a machine that is free.")
    clocks: dict[str, list[str]] = {}
    for row in rows:
        clocks.setdefault(row["clocks"]["note"], []).append(_name(row))
    notes += [f"clocks, {note}: {', '.join(names) if len(clocks) > 1 else 'all'}." for note, names in clocks.items()]
    notes += [
        f"{_name(row)}: the medians of its rounds differ by {row['drift']:.0%}; the machine was not steady."
        for row in rows
        if row["drift"] > _DRIFT
    ]
    if any(row["format"] == "yolo" for row in rows):
        notes.append(LICENSE)
    notes += [f"not run: {_name(one)}. {one['reason']}" for one in result["not_run"]]
    return notes


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['model']} {row['format']} {row['precision']}"
