"""Labels a seeded sample of a folder and draws it, before the rest is labeled."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.config import PipelineConfig
from ..core.errors import DataError, UsageError
from ..core.types import Classes, ImageLabels
from ..dataset.refine import refine
from ..drawing.contact_sheet import SheetImage, SheetText, write_sheet
from ..labels.base_source import BaseSource
from ..labels.label_store import LabelStore
from ..labels.labeler import LabelSummary, label_images
from ..labels.stored_labels import StoredLabels
from ..system.files import write_text

Item = tuple[Path, str]


@dataclass(frozen=True, slots=True)
class Preview:
    """The files of a contact sheet and what it shows: `rejected` is reason → number, `failures` {path, reason} each."""

    picture: Path
    page: Path
    labels: Path
    images: int
    negatives: int
    per_class: Mapping[str, int]
    rejected: Mapping[str, int]
    failures: tuple[Mapping[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        data = dataclasses.asdict(self)
        return {key: str(value) if isinstance(value, Path) else value for key, value in data.items()}


@dataclass(frozen=True, slots=True)
class Sample:
    """The sampled images that could be labeled, sorted by name: row of the store, refined labels, file.

    `new` are the names of the images labeled now and not earlier, which took `wall` seconds.
    """

    rows: tuple[StoredLabels, ...]
    labels: tuple[ImageLabels, ...]
    paths: tuple[Path, ...]
    summary: LabelSummary
    new: tuple[str, ...]
    wall: float

    def rejected(self) -> Counter[str]:
        """Reason → number of instances rejected by the refine rules or by the checks of the base's output."""
        reasons = Counter(one.reason for labels in self.labels for one in labels.rejected)
        for row in self.rows:
            reasons.update(row.dropped)
        return Counter(dict(sorted(reasons.items())))


def preview(
    config: PipelineConfig,
    items: Sequence[Item],
    source: BaseSource,
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    progress: bool = True,
) -> Preview:
    """Labels a seeded sample of `items` into `folder/labels` and writes `folder/preview.png` and `preview.html`.

    Images that are labeled there already are not labeled again. No viewer or browser is started.

    Raises:
        UsageError: see `seeded_sample`.
        DataError: no image of the sample could be labeled.
    """
    source = source.with_items(items)
    sample = label_sample(config, seeded_sample(items, count, seed), source, folder / "labels", progress)
    per_class = instances_per_image(sample.labels, source.classes)
    negatives = sum(not labels.instances for labels in sample.labels)
    rejected = dict(sample.rejected())
    result = Preview(
        picture=folder / "preview.png",
        page=folder / "preview.html",
        labels=folder / "labels",
        images=len(sample.labels),
        negatives=negatives,
        per_class={name: int(column.sum()) for name, column in per_class.items()},
        rejected=rejected,
        failures=sample.summary.failures,
    )
    images = (SheetImage(path, labels) for path, labels in zip(sample.paths, sample.labels, strict=True))
    kept = ", ".join(f"{found} × {name}" for name, found in result.per_class.items())
    summary = (
        f"{result.images} of {len(items)} images, seed {seed}, labeled by {source.provenance.base}. Kept: {kept}. "
        f"Nothing found or kept in {negatives}. Not checked by a person."
    )
    text = SheetText("Preview of labels", summary, rejected, result.failures)
    write_sheet(
        result.picture,
        result.page,
        images,
        source.classes,
        text,
        max_megapixels=config.inputs.max_megapixels,
    )
    return result


def seeded_sample(items: Sequence[Item], count: int, seed: int = 0) -> list[Item]:
    """`count` of the items (or all, if there are fewer), chosen by a hash of seed and name, sorted by name.

    A larger sample with the same seed contains the smaller one.

    Raises:
        UsageError: `count` is below 1, or there are no items.
    """
    if count < 1 or not items:
        raise UsageError(f"A sample of {count} of {len(items)} images is empty.", "Ask for at least 1 image.")

    def rank(item: Item) -> str:
        return hashlib.sha256(f"{seed}\0{item[1]}".encode("utf-8", "surrogateescape")).hexdigest()

    return sorted(sorted(items, key=rank)[:count], key=lambda item: item[1])


def label_sample(
    config: PipelineConfig, chosen: Sequence[Item], source: BaseSource, labels: Path, progress: bool
) -> Sample:
    """Labels the chosen images that are not in the store `labels` yet, and refines all of them.

    Raises:
        DataError: none could be labeled.
    """
    options = config.labeling.model_copy(update={"slice": None})
    store = LabelStore(labels)
    before = {key.sha256 for key in store.rows(source.provenance.fingerprint)} if labels.is_dir() else set()
    started = time.perf_counter()
    with restoring_account(labels):
        summary = label_images(
            source, chosen, labels, options, max_megapixels=config.inputs.max_megapixels, progress=progress
        )
    wall = time.perf_counter() - started
    failed = {failure["path"] for failure in summary.failures}
    keys = store.keys(source.provenance.fingerprint)
    good = [(path, name) for path, name in chosen if name in keys and name not in failed]
    if not good:
        raise DataError(
            f"None of the {len(chosen)} images of the sample could be labeled. The first, "
            f"{summary.failures[0]['path']}: {summary.failures[0]['reason']}",
            "Try another seed, or check the base with `autodistill-seg doctor`.",
        )
    rows = tuple(store.read(keys[name]) for _, name in good)
    refined = tuple(refine(row.with_classes(source.classes), config.refine, source.classes) for row in rows)
    new = tuple(name for _, name in good if keys[name].sha256 not in before)
    return Sample(rows, refined, tuple(path for path, _ in good), summary, new, wall)


@contextlib.contextmanager
def restoring_account(labels: Path) -> Iterator[None]:
    """Restores the account and the failures of a store afterwards: a sample is not the labeling of a whole run."""
    before = {path: path.read_text(encoding="utf-8") for path in labels.glob("*.json*")}
    try:
        yield
    finally:
        for path, text in before.items():
            write_text(path, text)


def instances_per_image(labels: Sequence[ImageLabels], classes: Classes) -> dict[str, npt.NDArray[np.float64]]:
    """Class → number of kept instances in each image, float64 of shape (images,)."""
    counts = [Counter(one.class_index for one in labels_.instances) for labels_ in labels]
    return {name: np.array([c[at] for c in counts], dtype=np.float64) for at, name in enumerate(classes.names)}
