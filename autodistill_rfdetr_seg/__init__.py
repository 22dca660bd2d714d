"""Point it at a folder of unlabelled images and a few words; get a real-time instance-segmentation model, and proof.

Names are imported when they are first used, so that importing the package costs nothing. It does one thing at once, so
that old scripts run as they are: it sees to it that groundingdino, when imported, works beside transformers 5.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import groundingdino_compat

if TYPE_CHECKING:
    from .bases.registry import create_base, register_base
    from .bases.threshold import ThresholdBase
    from .benchmarking import Benchmark, benchmark
    from .coco import read as read_coco
    from .coco import validate as validate_coco
    from .config import PipelineConfig
    from .errors import AutodistillSegError
    from .evaluation import Report, evaluate
    from .pipeline import label, run
    from .predicting import predict_images
    from .predicting_video import predict_video
    from .readers import read_gold, read_source, repair
    from .records import SegDataset
    from .scoring import evaluate_model
    from .target import (
        RFDETRSeg,
        RFDETRSeg2XLarge,
        RFDETRSegLarge,
        RFDETRSegMedium,
        RFDETRSegNano,
        RFDETRSegPreview,
        RFDETRSegSmall,
        RFDETRSegXLarge,
        load_artifact,
    )

_HOMES = {
    "AutodistillSegError": ("errors", "AutodistillSegError"),
    "Benchmark": ("benchmarking", "Benchmark"),
    "PipelineConfig": ("config", "PipelineConfig"),
    "RFDETRSeg": ("target", "RFDETRSeg"),
    "RFDETRSeg2XLarge": ("target", "RFDETRSeg2XLarge"),
    "RFDETRSegLarge": ("target", "RFDETRSegLarge"),
    "RFDETRSegMedium": ("target", "RFDETRSegMedium"),
    "RFDETRSegNano": ("target", "RFDETRSegNano"),
    "RFDETRSegPreview": ("target", "RFDETRSegPreview"),
    "RFDETRSegSmall": ("target", "RFDETRSegSmall"),
    "RFDETRSegXLarge": ("target", "RFDETRSegXLarge"),
    "Report": ("evaluation", "Report"),
    "SegDataset": ("records", "SegDataset"),
    "ThresholdBase": ("bases.threshold", "ThresholdBase"),
    "benchmark": ("benchmarking", "benchmark"),
    "create_base": ("bases.registry", "create_base"),
    "evaluate": ("evaluation", "evaluate"),
    "evaluate_model": ("scoring", "evaluate_model"),
    "label": ("pipeline", "label"),
    "load_artifact": ("target", "load_artifact"),
    "predict_images": ("predicting", "predict_images"),
    "predict_video": ("predicting_video", "predict_video"),
    "read_coco": ("coco", "read"),
    "read_gold": ("readers", "read_gold"),
    "read_source": ("readers", "read_source"),
    "register_base": ("bases.registry", "register_base"),
    "repair": ("readers", "repair"),
    "run": ("pipeline", "run"),
    "validate_coco": ("coco", "validate"),
}

__version__ = "0.1.0"

__all__ = [
    "AutodistillSegError",
    "Benchmark",
    "PipelineConfig",
    "RFDETRSeg",
    "RFDETRSeg2XLarge",
    "RFDETRSegLarge",
    "RFDETRSegMedium",
    "RFDETRSegNano",
    "RFDETRSegPreview",
    "RFDETRSegSmall",
    "RFDETRSegXLarge",
    "Report",
    "SegDataset",
    "ThresholdBase",
    "benchmark",
    "create_base",
    "evaluate",
    "evaluate_model",
    "label",
    "load_artifact",
    "predict_images",
    "predict_video",
    "read_coco",
    "read_gold",
    "read_source",
    "register_base",
    "repair",
    "run",
    "validate_coco",
]


groundingdino_compat.install()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    # `from . import label` must not find a submodule of another name later: keep what was asked for.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
