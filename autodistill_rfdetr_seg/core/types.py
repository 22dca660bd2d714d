"""The types that flow between the stages. Frozen, no I/O, no third-party import.

Classes are 0-based indices everywhere in the package; a COCO `category_id` exists in `coco.py` alone. A mask is COCO
run-length encoded (column-major); its box and area are derived from it (`masks.py`), never kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UsageError
from .name_keys import class_key

SPLITS = ("train", "valid", "test")

# An id as written in a user's file: a whole number of any size, or text.
FileId = int | str


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask of `height` x `width` pixels as COCO's compressed run lengths (column-major)."""

    height: int
    width: int
    counts: bytes


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of the user's folder.

    `id` comes from the content and the relative path, never from a counter; `path` is POSIX and relative to the folder
    that was given; `height` and `width` are pixels after EXIF orientation; `sha256` is of the file's bytes.
    """

    id: str
    path: str
    height: int
    width: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One object: its class, mask and score (0..1), and what later stages need to judge it.

    `mask_score` is the segmenter's own score where the base has one, `stability` how much the mask agreed with itself
    when the base was asked again (0..1), `prompt_index` the prompt that found it, `source` one of `base`, `human`,
    `imported`.
    """

    class_index: int
    rle: Rle
    score: float
    mask_score: float | None = None
    prompt_index: int | None = None
    source: str = "base"
    stability: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An instance that `refine` removed, and the rule that did (`reason` is a short key such as `mask_nms`)."""

    instance: Instance
    reason: str


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """What is known of one image. Empty `instances` means looked at and nothing found: a negative."""

    image: ImageRecord
    instances: tuple[Instance, ...]
    rejected: tuple[Rejected, ...] = ()
    source: str = "base"


@dataclass(frozen=True, slots=True)
class Classes:
    """Class `names`, and for each prompt the index of the class it finds; several prompts may find one class."""

    names: tuple[str, ...]
    prompts: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_ontology(cls, ontology: Mapping[str, str]) -> Classes:
        """Classes of a prompt → class name mapping, in the order in which the names first appear; space around a name
        is removed.

        Raises:
            UsageError: the mapping is empty, a prompt or name is not a non-empty string, or two names differ by case,
                space or the encoding of accents alone: a gold set's classes are matched without regard to these.
        """
        if not ontology:
            raise UsageError("The ontology is empty.", 'Give at least one prompt, such as {"a dog": "dog"}.')
        for prompt, name in ontology.items():
            if not all(isinstance(part, str) and part.strip() for part in (prompt, name)):
                raise UsageError(
                    f"The ontology maps {prompt!r} to {name!r}; both must be non-empty text.",
                    'An ontology looks like {"a dog": "dog"}: prompt, then class.',
                )
        first: dict[str, tuple[str, str]] = {}
        for prompt, name in ontology.items():
            seen, other = first.setdefault(class_key(name), (name.strip(), prompt))
            if seen != name.strip():
                raise UsageError(
                    f"The classes {seen!r} (of {other!r}) and {name.strip()!r} (of {prompt!r}) are the same except for "
                    "case or space.",
                    "Write both the same if they are one class, or name them apart.",
                )
        return cls.from_stored(ontology)

    @classmethod
    def from_stored(cls, ontology: Mapping[str, str]) -> Classes:
        """The classes of the ontology of existing labels; what `from_ontology` refuses is not checked."""
        names = tuple(dict.fromkeys(name.strip() for name in ontology.values()))
        of_name = {name: index for index, name in enumerate(names)}
        return cls(names, tuple((prompt, of_name[name.strip()]) for prompt, name in ontology.items()))

    @property
    def ontology(self) -> dict[str, str]:
        """The prompt → class name mapping this was made from."""
        return {prompt: self.names[index] for prompt, index in self.prompts}


@dataclass(frozen=True, slots=True)
class SegDataset:
    """A COCO-seg dataset on disk: `root/{train,valid,test}/_annotations.coco.json` beside the images.

    `counts` is {split: {"images": n, "instances": n, "negatives": n}}; `fingerprint` names the content.
    """

    root: Path
    classes: Classes
    counts: Mapping[str, Mapping[str, int]]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Run:
    """What made a model: the resolved configuration, fingerprints, versions, the checkpoint and its SHA-256."""

    root: Path
    config: Mapping[str, Any]
    dataset_fingerprint: str
    versions: Mapping[str, str]
    checkpoint: Path
    checkpoint_sha256: str


@dataclass(frozen=True, slots=True)
class ImagePredictions:
    """The instances a model (or a base) gives for one image, gathered at a low score floor.

    `boxes_xywh` are the boxes a model gives beside its masks, one an instance, in pixels; None where the mask's own box
    is to count.
    """

    image_id: str
    instances: tuple[Instance, ...]
    milliseconds: float | None = None
    boxes_xywh: tuple[tuple[float, float, float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class TruthInstance:
    """One object of the human gold set.

    A crowd region is neither a miss nor a false alarm. `area` (pixels) and `bbox_xywh` are what the file states, None
    where it states none; they decide the size range and the box the object is scored with. `polygons` tells that the
    file gives polygons, which editors round and which hold no holes; an RLE is exact. `score` is the file's, where it
    has one, as files that a model wrote do.
    """

    class_index: int
    rle: Rle
    crowd: bool = False
    area: float | None = None
    bbox_xywh: tuple[float, float, float, float] | None = None
    polygons: bool = False
    file_id: FileId | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class TruthBox:
    """One object of which a file has a box and no mask: `bbox_xywh` in pixels, `score` where the file has one."""

    class_index: int
    bbox_xywh: tuple[float, float, float, float]
    score: float | None = None
    crowd: bool = False
    file_id: FileId | None = None


@dataclass(frozen=True, slots=True)
class TruthImage:
    """One image of the gold set.

    `image_id` is its file name as the COCO file states it, `path` where the file lies, `file_id` the `id` of its row
    in the file, None where the format has none (YOLO). `upright` is False where the masks were drawn on the pixels as
    they are stored, before the file's EXIF orientation is applied. `boxes` are the objects without a mask: they count
    in no score and are part of no dataset.
    """

    image_id: str
    path: Path
    height: int
    width: int
    instances: tuple[TruthInstance, ...]
    file_id: FileId | None = None
    upright: bool = True
    boxes: tuple[TruthBox, ...] = ()


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """A gold set: its classes and images; `fingerprint` names the content.

    `category_ids` are the ids that the file gives the classes, in the order of `classes.names`; empty where it was
    not read from a file that has ids.
    """

    classes: Classes
    images: tuple[TruthImage, ...]
    fingerprint: str
    category_ids: tuple[FileId, ...] = ()
