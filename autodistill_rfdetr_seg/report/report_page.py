"""The report of a run: one self-contained HTML file, without network access or scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import drawing
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.plain_text import counted
from ..core.types import Classes, Instance, TruthInstance
from ..drawing.label_text import class_name, picture_name
from ..drawing.overlays import class_color_hex, data_uri, draw_instances
from ..evaluation.error_kinds import KINDS
from ..images.image_opening import open_rgb
from ..system.files import replacing
from . import error_pictures, error_tables, summary
from . import report_tables as tables
from . import report_text as words
from .charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, charts
from .error_pictures import ErrorPicture

SHOWN_FAILURES = 200
SHOWN_LOOK_ALIKES = 200
THUMBNAIL = 240


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with the instances of the gold set, the base and the target; None for a model that was not scored.

    Without a gold set, `gold` may be the labels of the base; the page calls them so. `image` is HWC uint8 RGB, or a
    path that is read when the image is drawn. All instances are drawn, whatever their score.
    `nearest` is the nearest training image, shown beside them without instances, and `nearest_note` says how near.
    """

    title: str
    image: npt.NDArray[np.uint8] | Path
    gold: tuple[TruthInstance, ...] | None
    base: tuple[Instance, ...] | None
    target: tuple[Instance, ...] | None
    note: str = ""
    nearest: Path | None = None
    nearest_note: str = ""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images that look alike and are in the same split: their names, the split, and their paths."""

    names: tuple[str, str]
    split: str
    images: tuple[Path, Path]


@dataclass(frozen=True, eq=False)
class PageData:
    """The content of the page.

    `metrics` is the content of metrics.json and `details` that of details.json; an undefined number is None. `samples`
    start with the lowest F1 and are read once, one at a time. `dataset` is {"counts": {split: {"images", "instances",
    "negatives"}}, "kept": labels kept, "rejected": {reason: labels}, "per_class": {name: {"kept": labels, "rejected":
    {reason: labels}}}, "too_rare": {class: [split, ...]}}; unknown keys are missing. `leakage` is a sentence about
    look-alikes in different splits, and `pairs` are some look-alikes that were kept in one split. `config_text` is the
    resolved configuration as YAML; `errors` are pictures of errors of the target; `failures` are the images that could
    not be labeled, {"path", "reason"} each. An image file with more than `max_megapixels` million pixels is not shown.
    """

    title: str
    metrics: Mapping[str, Any]
    details: Mapping[str, Any]
    samples: Sequence[Sample]
    classes: Classes
    dataset: Mapping[str, Any]
    versions: Mapping[str, str]
    config_text: str
    failures: Sequence[Mapping[str, Any]] = ()
    leakage: str = ""
    pairs: Sequence[Pair] = ()
    errors: Sequence[ErrorPicture] = ()
    max_megapixels: float = MAX_MEGAPIXELS


def write_page(path: Path, data: PageData) -> None:
    """Writes the report to `path` in one step, with the images of only one sample in memory.

    Raises:
        ValueError: the mask of a sample has another size than its image.
    """
    from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined
    from markupsafe import Markup

    # The contact sheets use the same style sheet.
    loader = PrefixLoader({"page": PackageLoader(__package__, ""), "style": PackageLoader(drawing.__name__, "")})
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = loader.get_source(environment, "style/page.css")[0]
    stream = environment.get_template("page/page.html.jinja").stream(_context(data) | {"css": Markup(css)})
    # A file name that is not valid Unicode has lone surrogates, which UTF-8 cannot encode.
    with replacing(path) as temporary, temporary.open("wb") as file:
        stream.dump(file, encoding="utf-8", errors="replace")


def _context(data: PageData) -> dict[str, Any]:
    metrics = data.metrics
    target_name, base_name = words.model_names(data.config_text)
    return {
        "title": data.title,
        "headline": words.headline(metrics, target_name),
        "remarks": words.remarks(metrics, base_name),
        "agreement_only": not words.has_gold(metrics),
        "not_held_out": words.not_held_out(metrics),
        "notes": tuple(metrics.get("notes") or ()),
        "look_alikes": tables.look_alikes(metrics)[:SHOWN_LOOK_ALIKES],
        "look_alike_count": len(tables.look_alikes(metrics)),
        "scored": _scored(metrics),
        "models": tables.models(metrics),
        "model_legend": tuple((model, model.capitalize()) for model in tables.models(metrics)),
        "cards": tables.cards(metrics),
        "comparison": tables.comparison(metrics),
        "sets": tables.set_groups(metrics),
        "class_bars": tables.class_bars(metrics),
        "class_bars_shown": tables.CLASS_BARS,
        "class_table": tables.class_table(metrics),
        "certainty": summary.certainty(metrics),
        "losses": summary.biggest_losses(metrics),
        "next_steps": summary.next_steps(metrics),
        "loss_bars": error_tables.loss_bars(metrics),
        "error_kinds": tuple(KINDS.items()),
        "error_confidence": error_tables.budget_of(metrics).get("confidence"),
        "error_classes": error_tables.class_rows(metrics, {one.id for one in data.errors}),
        "error_sizes": error_tables.size_rows(metrics),
        "confusion": error_tables.confusion(metrics, {one.id for one in data.errors}),
        "error_picture_count": len(data.errors),
        "error_pictures": error_pictures.drawn(data.errors, data.classes, data.max_megapixels),
        "distances": error_tables.distance_rows(metrics),
        "charts": charts(metrics, data.details),
        "frame": {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM, "width": WIDTH, "height": HEIGHT},
        "confidence": {model: words.confidence_sentence(metrics.get(model) or {}) for model in tables.MODELS},
        "sample_count": len(data.samples),
        "samples": _samples(data),
        "splits": tables.split_rows(data.dataset),
        "labels": tables.label_bars(data.dataset),
        "dataset_classes": tables.dataset_class_bars(data.dataset),
        "too_rare": tuple((name, ", ".join(splits)) for name, splits in (data.dataset.get("too_rare") or {}).items()),
        "leakage": data.leakage,
        "pair_count": len(data.pairs),
        "pairs": _pairs(data.pairs, data.max_megapixels),
        "failures": [(str(one.get("path", "")), str(one.get("reason", ""))) for one in data.failures[:SHOWN_FAILURES]],
        "failure_count": len(data.failures),
        "versions": tuple(data.versions.items()),
        "fingerprints": tuple((metrics.get("fingerprints") or {}).items()),
        "config_text": data.config_text,
    }


def _scored(metrics: Mapping[str, Any]) -> str:
    """What was scored: images, instances, classes, detections per image, and the images left out."""
    parts = [
        counted(metrics.get("images"), "image"),
        counted(metrics.get("instances"), "instance"),
        counted(len(metrics.get("classes") or ()), "class", "classes"),
    ]
    floor = metrics.get("score_floor")
    minimum = f"; predictions with a confidence of at least {floor:g}" if words.known(floor) else ""
    left_out = metrics.get("images_left_out")
    out = f"; {counted(left_out, 'image')} of the train or valid split left out" if left_out else ""
    most = words.count(metrics.get("max_detections"))
    return f"{', '.join(parts)}; at most {most} detections per image{minimum}{out}"


def _samples(data: PageData) -> Iterator[dict[str, Any]]:
    for sample in data.samples:
        reference = "Gold" if words.has_gold(data.metrics) else "Base's labels"
        yield {"title": sample.title, "note": sample.note} | _pictures(
            sample, data.classes, reference, data.max_megapixels
        )


def _pictures(sample: Sample, classes: Classes, reference: str, max_megapixels: float) -> dict[str, Any]:
    """The panels of a sample and the legend of its classes; if the image cannot be read, the reason instead."""
    try:
        image = sample.image
        if isinstance(image, Path):
            image = open_rgb(image, max_megapixels=max_megapixels)
    except DataError as error:
        return {"panels": (), "legend": (), "problem": error.message}
    panels = []
    seen: set[int] = set()
    sides: tuple[tuple[str, Sequence[Instance | TruthInstance] | None], ...] = (
        (reference, sample.gold),
        ("Base", sample.base),
        ("Target", sample.target),
    )
    for name, instances in sides:
        if instances is None:
            continue
        uri, width, height = data_uri(draw_instances(image, instances, classes))
        summary = _summary(instances, classes)
        panels.append({"name": name, "summary": summary, "uri": uri, "width": width, "height": height})
        seen.update(instance.class_index for instance in instances)
    panels += _nearest_panel(sample, max_megapixels)
    legend = [(_legend_name(classes, index), class_color_hex(index)) for index in sorted(seen)]
    return {"panels": panels, "legend": legend, "problem": ""}


def _nearest_panel(sample: Sample, max_megapixels: float) -> list[dict[str, Any]]:
    """The nearest training image, if there is one that can be read."""
    if sample.nearest is None:
        return []
    try:
        uri, width, height = data_uri(open_rgb(sample.nearest, max_megapixels=max_megapixels))
    except DataError:
        return []
    name = "Nearest training image"
    return [{"name": name, "summary": sample.nearest_note, "uri": uri, "width": width, "height": height}]


def _pairs(pairs: Sequence[Pair], max_megapixels: float) -> Iterator[dict[str, Any]]:
    """The two thumbnails of each pair; for an image that cannot be read, the reason instead."""
    for pair in pairs:
        sides = []
        for name, path in zip(pair.names, pair.images, strict=True):
            try:
                uri, width, height = data_uri(open_rgb(path, max_megapixels=max_megapixels), side=THUMBNAIL)
                sides.append({"name": name, "uri": uri, "width": width, "height": height, "problem": ""})
            except DataError as error:
                sides.append({"name": name, "uri": "", "problem": error.message})
        yield {"split": pair.split, "sides": sides}


def _legend_name(classes: Classes, index: int) -> str:
    """The name of the class, after its number if pictures can only show the number."""
    name, shown = class_name(classes, index), picture_name(classes, index)
    return f"{shown} {name}" if shown.startswith("#") and shown != name else name


def _summary(instances: Sequence[Instance | TruthInstance], classes: Classes) -> str:
    """`3 × person, 1 × dog`: the classes of a panel, the most frequent first; crowd regions separately."""
    counts: Counter[str] = Counter()
    for instance in instances:
        crowd = isinstance(instance, TruthInstance) and instance.crowd
        counts[class_name(classes, instance.class_index) + (" (crowd)" if crowd else "")] += 1
    return ", ".join(f"{number} × {name}" for name, number in sorted(counts.items(), key=lambda i: (-i[1], i[0])))
