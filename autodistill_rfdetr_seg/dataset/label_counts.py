"""Counts the labels that a build keeps and rejects, for the summary and the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from ..core.types import Classes, ImageLabels
from ..labels.stored_labels import StoredLabels


class LabelCounts:
    """Labels kept and rejected, by class and reason, and the classes in each split; made of parts by `update`."""

    def __init__(self, classes: Classes) -> None:
        self._names = classes.names
        self._kept: Counter[int] = Counter()
        self._rejected: Counter[str] = Counter()
        self._by_class: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._in_split: dict[str, set[int]] = {}

    def add(self, labels: ImageLabels, row: StoredLabels, split: str) -> None:
        """Counts the labels of an image in a split; `row` is what they were made from."""
        self._in_split.setdefault(split, set()).update(instance.class_index for instance in labels.instances)
        self._kept.update(instance.class_index for instance in labels.instances)
        self._rejected.update(rejected.reason for rejected in labels.rejected)
        self._rejected.update(row.dropped)
        for rejected in labels.rejected:
            self._by_class[rejected.instance.class_index][rejected.reason] += 1

    def update(self, other: LabelCounts) -> None:
        """Adds the counts of other images."""
        self._kept.update(other._kept)
        self._rejected.update(other._rejected)
        for index, reasons in other._by_class.items():
            self._by_class[index].update(reasons)
        for split, seen in other._in_split.items():
            self._in_split.setdefault(split, set()).update(seen)

    def as_json(self) -> dict[str, Any]:
        """The counts for dataset.json."""
        return {
            "kept": sum(self._kept.values()),
            "rejected": dict(sorted(self._rejected.items())),
            "too_rare": {
                name: lacking
                for index, name in enumerate(self._names)
                if (lacking := [split for split, seen in self._in_split.items() if index not in seen])
            },
            "per_class": {
                name: {"kept": self._kept[index], "rejected": dict(sorted(self._by_class[index].items()))}
                for index, name in enumerate(self._names)
            },
        }
