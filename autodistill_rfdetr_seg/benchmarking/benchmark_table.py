"""The benchmark as Markdown: the measured numbers, and the published ones of RF-DETR in a separate column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.plain_text import number
from .ultralytics_model import LICENSE

# (Mask AP, milliseconds) of rfdetr's pretrained weights with the architecture and input of each size: COCO val2017,
# NVIDIA T4, TensorRT fp16, batch 1. Source: the README of rfdetr.
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
        "input px",
        "batch",
        "decode ms",
        "input ms",
        "engine ms",
        "masks ms",
        "total ms",
        "median ms",
        "p95 ms",
        "mean ms",
        "images/s",
        "cores busy",
    ),
    *("memory MB", "found/image", "mask AP", "AP50", "published: AP, ms"),
)
# If the rounds of one row differ by more than this fraction, the machine was not steady.
_DRIFT = 0.1


def markdown(result: Mapping[str, Any]) -> str:
    """`Benchmark.to_dict()` as text for a reader."""
    lines = [*_header(result), "", *_table(_HEAD, [_cells(row, result["decode_ms"]) for row in result["rows"]]), ""]
    lines += [f"- {note}" for note in _notes(result)]
    return "\n".join(lines)


def _header(result: Mapping[str, Any]) -> list[str]:
    machine, options, images = result["machine"], result["options"], result["images"]
    gpu = f"; GPU {machine['gpu']}" if machine["gpu"] else ""
    threads = f"; OMP_NUM_THREADS={machine['omp_num_threads']}" if machine["omp_num_threads"] else ""
    load = "" if machine["load"] is None else f"; load {machine['load']:g} before the first run"
    sizes = " to ".join(dict.fromkeys(f"{w} x {h}" for h, w in (images["least"], images["most"])))
    decode = result["decode_ms"]
    decoding = (
        f"decoding a file (not in the rows): median {decode['median']:.1f} ms" if decode else "not read from files"
    )
    gold = result["gold"]
    if gold:
        left = f", {gold['left_out']} training images left out" if gold["left_out"] else ""
        truth = f"{gold['images']} images, {gold['instances']} instances{left}; scores of at least "
        truth += f"{gold['score_floor']:g}"
    else:
        truth = "none, so no accuracy"
    pause = f", {options['pause']:g} s pause between calls" if options["pause"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        f"- machine: {machine['cpu']}, {machine['cores']} cores{gpu}{threads}{load}; {machine['platform']}",
        f"- versions: {versions}",
        f"- images: {images['count']} ({images['origin']}), {sizes}; {decoding}",
        f"- runs: {options['runs']} per row in {result['rounds']} rounds, the rows in turns, {options['warm_up']} "
        f"warm-up calls in each{pause}; instances above {options['confidence']:g}",
        f"- gold: {truth}",
    ]


def _cells(row: Mapping[str, Any], decode_ms: Mapping[str, Any] | None) -> list[str]:
    latency, stages, mask = row["latency"], row["stages"], row["mask"] or {}
    decode = None if decode_ms is None else decode_ms["median"] * row["batch_size"]
    memory = [
        "–" if row[key] is None else f"{row[key] / 1e6:.0f}{unit}"
        for key, unit in (("memory_bytes", ""), ("cuda_memory_bytes", " on GPU"))
    ]
    published = PUBLISHED.get(row["size"]) if row["as_published"] else None
    return [
        *(row["model"], row["format"], row["precision"], row["device"], str(row["input_size"]), str(row["batch_size"])),
        *(number(one, ".1f") for one in (decode, *(stages.get(name) for name in ("input", "engine", "masks")))),
        number(latency["median"] + (decode or 0), ".1f"),
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
        "ms, per batch: decode reads the image files; input resizes; engine is the network; masks is selection and "
        "dense masks of the image's size; total is the median of all. median, p95 and mean are without decode.",
        "memory: the peak of the process, minus what it used before it loaded the model and its runtime.",
        "published: by the authors of RF-DETR for their own weights (COCO val2017, NVIDIA T4, TensorRT fp16, batch 1), "
        "if the model has the architecture and input of the size; not measured here, not these models or images.",
    ]
    machine, rows = result["machine"], result["rows"]
    if machine["load"] is not None and machine["load"] > machine["cores"] / 2:
        notes.append("the machine was busy with other work: on an idle machine the times are lower.")
    clocks: dict[str, list[str]] = {}
    for row in rows:
        clocks.setdefault(row["clocks"]["note"], []).append(_name(row))
    notes += [f"clocks, {note}: {', '.join(names) if len(clocks) > 1 else 'all'}." for note, names in clocks.items()]
    notes += [
        f"{_name(row)}: the medians of the rounds differ by {row['drift']:.0%}; the machine was not steady."
        for row in rows
        if row["drift"] > _DRIFT
    ]
    if any(row["format"] == "yolo" for row in rows):
        notes.append(LICENSE)
    notes += [f"not run: {_name(one)}. {one['reason']}" for one in result["not_run"]]
    return notes


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['model']} {row['format']} {row['precision']}"
