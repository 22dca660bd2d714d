"""Segmenters by name: SAM in several forms, any class as `package.module:Class`, and those of other packages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..base_classes import build, class_of
from ..base_entries import BaseEntry, Registry

# What makes masks from boxes; see `contract.Segmenter`.
SEGMENTERS = Registry(
    "segmenter",
    {
        "onnx-sam": BaseEntry(
            "autodistill_rfdetr_seg.bases.segmenters.onnx_sam:OnnxSam",
            "any SAM exported to ONNX (MobileSAM, EdgeSAM, SAM), from your own files: model=DIR; fast without a GPU",
            extra="onnx",
            license="Apache-2.0; weights have their own",
            package="onnxruntime",
        ),
        "sam": BaseEntry(
            "autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters:Sam",
            "Segment Anything, ViT-H as in GroundedSAM",
            license="Apache-2.0",
            weights=(("facebook/sam-vit-huge", 2_560_000_000),),
        ),
        "sam-hq": BaseEntry(
            "autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters:SamHq",
            "SAM with a head for finer edges",
            license="Apache-2.0",
            weights=(("syscv-community/sam-hq-vit-huge", 2_570_000_000),),
        ),
        "sam2": BaseEntry(
            "autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters:Sam2",
            "SAM 2.1 (base plus), a much smaller encoder than SAM's",
            license="Apache-2.0",
            weights=(("facebook/sam2.1-hiera-base-plus", 323_000_000),),
        ),
    },
    "or any class as package.module:Class",
)


def find_segmenter(name: str) -> BaseEntry:
    """As `Registry.find`."""
    return SEGMENTERS.find(name)


def create_segmenter(
    name: str,
    args: Mapping[str, Any] | None = None,
    optional: Mapping[str, Any] | None = None,
    code: Mapping[str, bytes] = MappingProxyType({}),
) -> Any:
    """A segmenter by name, its constructor given `args`, and those of `optional` that it has parameters for; `code` is
    as for `class_of`.

    Raises:
        UnknownNameError: the name, or an argument, is not known.
        DependencyError: the package it is in is not installed.
        BaseModelError: its constructor failed.
    """
    entry = find_segmenter(name)
    cls = class_of(SEGMENTERS, name, entry, code)
    parameters = inspect.signature(cls).parameters
    taken = {argument: value for argument, value in (optional or {}).items() if argument in parameters}
    return build(cls, f"segmenter {name!r}", {**taken, **(args or {})}, **entry.args)
