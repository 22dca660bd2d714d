"""A row of the label store: the labels of one image by a base or a person, and its form in Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError
from ..core.types import Classes, ImageLabels, ImageRecord, Instance, Rle
from ..system.files import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a row: the base's name and parameters, its prompts in order, and package versions.

    `fingerprint` covers name, parameters and prompts: what decides the base's answer. Versions are kept, not compared:
    an upgrade alone does not make 50,000 labels worthless.
    """

    base: str
    args: Mapping[str, Any]
    prompts: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hex digits; the word `human` for the work of people, which no change of base makes stale."""
        if self.base == HUMAN:
            return HUMAN
        return fingerprint(self.base, dict(self.args), list(self.prompts))


@dataclass(frozen=True, slots=True)
class StoredLabels:
    """One row. `class_index` of its instances is the prompt's index: see `with_classes`.

    `dropped` counts the detections that were not usable (reason → number); `seconds` is the time the base took. The
    file's size and time show later, without reading it, that it is unchanged. In a person's row `names`
    are the class names that its instances' indices stand for. `frames` is the number of pages or frames in the file, of
    which the first is labeled; `phash` is the image's perceptual hash.
    """

    image: ImageRecord
    instances: tuple[Instance, ...]
    link_suffix: str | None
    file_bytes: int
    mtime_ns: int
    seconds: float
    dropped: Mapping[str, int] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    frames: int = 1
    phash: int | None = None

    @property
    def drawn(self) -> set[str]:
        """The names of the classes that a person's row has objects of; none in a base's row."""
        return set() if self.names is None else {self.names[i.class_index] for i in self.instances}

    def with_classes(self, classes: Classes) -> ImageLabels:
        """The row as labels of `classes`: prompts mapped to the classes they find, a person's class names to theirs.

        Raises:
            DataError: a person drew something of a class that is not in `classes`.
        """
        if self.names is not None:
            at = {name: index for index, name in enumerate(classes.names)}
            if missing := sorted(self.drawn - at.keys()):
                raise DataError(f"The classes lack {missing[0]!r}, which a person drew in {self.image.path}.")
            instances = tuple(
                replace(i, class_index=at[self.names[i.class_index]], prompt_index=None) for i in self.instances
            )
            return ImageLabels(self.image, instances, source=HUMAN)
        of_prompt = [index for _, index in classes.prompts]
        instances = tuple(
            replace(i, class_index=of_prompt[i.class_index], prompt_index=i.class_index) for i in self.instances
        )
        return ImageLabels(self.image, instances)


@dataclass(frozen=True, slots=True)
class Key:
    """The place of a row, and what shows whether it is still valid for a file."""

    image_id: str
    path: str
    file_bytes: int
    mtime_ns: int
    sha256: str
    phash: int | None
    height: int
    width: int
    shard: str
    row: int


def row_schema() -> pa.Schema:
    """The columns of a shard."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    instance = pa.struct(
        [
            ("counts", pa.binary()),
            ("score", pa.float64()),
            ("mask_score", pa.float64()),
            ("stability", pa.float64()),
            ("prompt_index", pa.int32()),
            ("source", pa.string()),
        ]
    )
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("path", pa.string()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("sha256", pa.string()),
            ("file_bytes", pa.int64()),
            ("mtime_ns", pa.int64()),
            ("link_suffix", pa.string()),
            ("seconds", pa.float64()),
            ("instances", pa.list_(instance)),
            ("dropped", pa.string()),
            ("phash", pa.uint64()),
            ("frames", pa.int32()),
            ("base", word),
            ("base_args", word),
            ("base_fingerprint", word),
            ("prompts", word),
            ("versions", word),
        ]
    )


def to_row(labels: StoredLabels, provenance: Provenance) -> dict[str, Any]:
    """The row as columns of `row_schema`."""
    image = labels.image
    return {
        "image_id": image.id,
        "path": image.path,
        "height": image.height,
        "width": image.width,
        "sha256": image.sha256,
        "file_bytes": labels.file_bytes,
        "mtime_ns": labels.mtime_ns,
        "link_suffix": labels.link_suffix,
        "seconds": labels.seconds,
        "instances": [
            {
                "counts": i.rle.counts,
                "score": i.score,
                "mask_score": i.mask_score,
                "stability": i.stability,
                "prompt_index": i.class_index,
                "source": i.source,
            }
            for i in labels.instances
        ],
        "dropped": json.dumps(dict(labels.dropped), sort_keys=True),
        "phash": labels.phash,
        "frames": labels.frames,
        "base": provenance.base,
        "base_args": json.dumps(dict(provenance.args), sort_keys=True, default=str),
        "base_fingerprint": provenance.fingerprint,
        "prompts": json.dumps(list(provenance.prompts), ensure_ascii=False),
        "versions": json.dumps(dict(provenance.versions), sort_keys=True),
    }


def from_row(row: dict[str, Any]) -> StoredLabels:
    """The row of the columns that `to_row` gives."""
    height, width = row["height"], row["width"]
    image = ImageRecord(row["image_id"], row["path"], height, width, row["sha256"])
    instances = tuple(
        Instance(
            i["prompt_index"],
            Rle(height, width, i["counts"]),
            i["score"],
            i["mask_score"],
            i["prompt_index"],
            i["source"],
            i["stability"],
        )
        for i in row["instances"]
    )
    return StoredLabels(
        image,
        instances,
        row["link_suffix"],
        row["file_bytes"],
        row["mtime_ns"],
        row["seconds"],
        json.loads(row["dropped"]),
        tuple(json.loads(row["prompts"])) if row["base"] == HUMAN else None,
        row["frames"],
        row["phash"],
    )
