"""The target: RF-DETR Seg as autodistill `DetectionTargetModel`s. Only `vendor*` and `fitting` import rfdetr."""

from .artifacts import Artifact, load_artifact
from .family import (
    RFDETRSeg,
    RFDETRSeg2XLarge,
    RFDETRSegLarge,
    RFDETRSegMedium,
    RFDETRSegNano,
    RFDETRSegPreview,
    RFDETRSegSmall,
    RFDETRSegXLarge,
)
from .folder import checkpoint_of, read_run
from .preflight import Preflight
from .provenance import read_provenance

__all__ = [
    "Artifact",
    "Preflight",
    "RFDETRSeg",
    "RFDETRSeg2XLarge",
    "RFDETRSegLarge",
    "RFDETRSegMedium",
    "RFDETRSegNano",
    "RFDETRSegPreview",
    "RFDETRSegSmall",
    "RFDETRSegXLarge",
    "checkpoint_of",
    "load_artifact",
    "read_provenance",
    "read_run",
]
