"""Bases by name: our own, those of other packages, any class as `package.module:Class` or `path/to/file.py:Class`, or
the path of a run or checkpoint, whose model is then the base. To add one of ours: its file, and its row here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..core import plug_points
from ..core.config import BaseConfig
from ..core.types import Classes
from . import groundingdino_compat
from .base_classes import build, class_attribute, class_of
from .base_entries import BaseEntry, Registry
from .contract import ImageInput
from .model_weights import GROUNDING_DINO

BASES = Registry(
    "base",
    {
        "threshold": BaseEntry(
            "autodistill_rfdetr_seg.bases.threshold.threshold_base:ThresholdBase",
            "embedded, no weights: bright, dark or colored objects on a plain background",
            license="Apache-2.0",
        ),
        "grounded-sam": BaseEntry(
            "autodistill_rfdetr_seg.bases.grounded_sam:GroundedSAMBase",
            "Grounding DINO boxes into SAM masks; free-text prompts; a GPU is advised",
            extra="grounded-sam",
            license="Apache-2.0",
            package="autodistill_grounded_sam",
            weights=(
                ("~/.cache/autodistill/groundingdino/groundingdino_swint_ogc.pth", 693_997_677),
                ("~/.cache/autodistill/segment_anything/sam_vit_h_4b8939.pth", 2_564_550_879),
                ("bert-base-uncased", 440_449_768),
            ),
            check=groundingdino_compat.check,
        ),
        "sam3": BaseEntry(
            "autodistill_rfdetr_seg.bases.sam3:Sam3",
            "SAM 3: free-text prompts straight to masks; access to its weights is on request; a GPU is advised",
            license="SAM License",
            weights=(("facebook/sam3", 3_439_938_512),),
        ),
        "grounded-sam-hf": BaseEntry(
            "autodistill_rfdetr_seg.bases.grounded_sam_hf:GroundedSAMHF",
            "the same with transformers' own classes, in batches, with a segmenter of your choice; a GPU is advised",
            own_segmenter=True,
            license="Apache-2.0",
            weights=(
                (GROUNDING_DINO, 689_359_096),
                ("facebook/sam2.1-hiera-base-plus", 323_000_000),
            ),
        ),
        "boxes": BaseEntry(
            "autodistill_rfdetr_seg.bases.given_boxes:GivenBoxes",
            "boxes that you have already, in a COCO file or a YOLO data.yaml: file=boxes.json; needs no weights",
            masks=False,
            license="Apache-2.0",
            by_image=True,
        ),
        "grounding-dino": BaseEntry(
            "autodistill_rfdetr_seg.bases.grounding.grounding_dino:GroundingDino",
            "free text into boxes, many prompts at a time; a GPU is advised",
            masks=False,
            license="Apache-2.0",
            weights=((GROUNDING_DINO, 689_359_096),),
        ),
    },
    "any class as package.module:Class, or the path of a run, such as ./runs/dogs",
)


def register_base(name: str, target: str, summary: str = "", image_input: ImageInput = "bgr") -> None:
    """Makes `package.module:Class` known under `name`, for `label(base=name)` in this process."""
    BASES[name] = BaseEntry(target, summary, image_input)


def find_base(name: str) -> BaseEntry:
    """The entry of a registered name, of a `module:Class` as it is, or of the path of a run or checkpoint.

    Raises:
        UnknownNameError: none of these; the nearest registered name is suggested.
        DependencyError: another package adds the name, and cannot be loaded.
    """
    if name not in BASES and (path := BaseConfig(name=name).path) is not None:
        return BaseEntry(
            plug_points.home_of("model_as_base"),
            "a model trained by this package",
            args={"checkpoint": str(path)},
            label="student",
        )
    return BASES.find(name)


def create_base(
    name: str,
    classes: Classes,
    args: Mapping[str, Any] | None = None,
    code: Mapping[str, bytes] = MappingProxyType({}),
) -> Any:
    """A base by name over the ontology of `classes`, its constructor given `args`; `code` is as for `class_of`.

    Raises:
        UnknownNameError: the name, or an argument, is not known.
        DependencyError: the package it is in is not installed.
        BaseModelError: its constructor failed.
    """
    from autodistill.detection import CaptionOntology

    entry = find_base(name)
    cls = class_of(BASES, name, entry, code)
    fixed = {**entry.args, "ontology": CaptionOntology(classes.ontology)}
    return build(cls, f"base {name!r}", args or {}, **fixed)


def own_ontology(config: BaseConfig) -> dict[str, str] | None:
    """What a base labels where no ontology is given: all it knows, by its own names. None for one that takes any.

    Raises:
        UnknownNameError: there is no such base.
        MissingInputError, TrainingError: its model is not there or cannot be read.
    """
    entry = find_base(config.name)
    classes = class_attribute(entry, "classes")
    return None if classes is None else {name: name for name in classes({**config.args, **entry.args})}
