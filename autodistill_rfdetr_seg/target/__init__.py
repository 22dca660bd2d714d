"""The target: RF-DETR Seg as autodistill `DetectionTargetModel`s. Only `vendor` and `fitting` import rfdetr."""

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

__all__ = [
    "RFDETRSeg",
    "RFDETRSeg2XLarge",
    "RFDETRSegLarge",
    "RFDETRSegMedium",
    "RFDETRSegNano",
    "RFDETRSegPreview",
    "RFDETRSegSmall",
    "RFDETRSegXLarge",
    "checkpoint_of",
    "read_run",
]
