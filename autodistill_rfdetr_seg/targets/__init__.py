"""The target: RF-DETR Seg as autodistill `DetectionTargetModel`s. Datasets come in, trained models and their
predictions go out. Only `rfdetr_import` imports rfdetr. Called by `predict`, `evaluation`, `pipeline` and scripts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_OTHER_HOMES = {
    "Artifact": "inference.model_artifacts",
    "Preflight": "training.preflight",
    "checkpoint_of": "training.training_folder",
    "load_artifact": "inference.model_artifacts",
    "read_provenance": "training.checkpoint_provenance",
    "read_run": "training.training_folder",
}


# The command line reads the export formats for its help, which must not import autodistill and PIL.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_OTHER_HOMES.get(name, 'rfdetr_seg')}", __name__), name)
