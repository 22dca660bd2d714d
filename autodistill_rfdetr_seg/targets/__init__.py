"""The target: RF-DETR Seg as autodistill `DetectionTargetModel`s. Datasets come in, trained models and their
predictions go out. The only importer of rfdetr: `vendor`, `vendor_export` and `trainer`. Called by `predict`,
`evaluation`, `pipeline` and scripts.
"""

from .inference.model_artifacts import Artifact, load_artifact
from .rfdetr_seg import (
    RFDETRSeg,
    RFDETRSeg2XLarge,
    RFDETRSegLarge,
    RFDETRSegMedium,
    RFDETRSegNano,
    RFDETRSegPreview,
    RFDETRSegSmall,
    RFDETRSegXLarge,
)
from .training.checkpoint_provenance import read_provenance
from .training.preflight import Preflight
from .training.training_folder import checkpoint_of, read_run

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
