"""From a folder of unlabeled images and a few words to a real-time instance-segmentation model and its scores.

Names are imported when they are first used, so that importing the package is fast. One thing happens at import, for
existing scripts: groundingdino is patched to work with transformers 5 when it is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .bases import groundingdino_compat
from .core import plug_points

if TYPE_CHECKING:
    from .bases.base_entries import BaseEntry
    from .bases.registry import create_base, register_base
    from .bases.threshold.threshold_base import ThresholdBase
    from .benchmarking import Benchmark, benchmark
    from .coco import read as read_coco
    from .coco import validate as validate_coco
    from .core.config import PipelineConfig
    from .core.errors import AutodistillSegError
    from .core.types import SegDataset
    from .evaluation import Report, evaluate
    from .evaluation.model_scores import evaluate_model
    from .pipeline.run_calibration import calibrate
    from .pipeline.run_pull import pull_run
    from .pipeline.run_push import push_run
    from .pipeline.run_tuning import tune
    from .pipeline.runs import label, run
    from .predict.folder_watch import watch_folder
    from .predict.image_prediction import predict_images
    from .predict.stream_prediction import predict_stream
    from .predict.video_prediction import predict_video
    from .readers import read_gold, read_source, repair
    from .targets import (
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
    "AutodistillSegError": ("core.errors", "AutodistillSegError"),
    "BaseEntry": ("bases.base_entries", "BaseEntry"),
    "Benchmark": ("benchmarking", "Benchmark"),
    "PipelineConfig": ("core.config", "PipelineConfig"),
    "RFDETRSeg": ("targets", "RFDETRSeg"),
    "RFDETRSeg2XLarge": ("targets", "RFDETRSeg2XLarge"),
    "RFDETRSegLarge": ("targets", "RFDETRSegLarge"),
    "RFDETRSegMedium": ("targets", "RFDETRSegMedium"),
    "RFDETRSegNano": ("targets", "RFDETRSegNano"),
    "RFDETRSegPreview": ("targets", "RFDETRSegPreview"),
    "RFDETRSegSmall": ("targets", "RFDETRSegSmall"),
    "RFDETRSegXLarge": ("targets", "RFDETRSegXLarge"),
    "Report": ("evaluation", "Report"),
    "SegDataset": ("core.types", "SegDataset"),
    "ThresholdBase": ("bases.threshold.threshold_base", "ThresholdBase"),
    "benchmark": ("benchmarking", "benchmark"),
    "calibrate": ("pipeline.run_calibration", "calibrate"),
    "create_base": ("bases.registry", "create_base"),
    "evaluate": ("evaluation", "evaluate"),
    "evaluate_model": ("evaluation.model_scores", "evaluate_model"),
    "label": ("pipeline.runs", "label"),
    "load_artifact": ("targets", "load_artifact"),
    "predict_images": ("predict.image_prediction", "predict_images"),
    "predict_stream": ("predict.stream_prediction", "predict_stream"),
    "predict_video": ("predict.video_prediction", "predict_video"),
    "watch_folder": ("predict.folder_watch", "watch_folder"),
    "pull_run": ("pipeline.run_pull", "pull_run"),
    "push_run": ("pipeline.run_push", "push_run"),
    "read_coco": ("coco", "read"),
    "read_gold": ("readers", "read_gold"),
    "read_source": ("readers", "read_source"),
    "register_base": ("bases.registry", "register_base"),
    "repair": ("readers", "repair"),
    "run": ("pipeline.runs", "run"),
    "tune": ("pipeline.run_tuning", "tune"),
    "validate_coco": ("coco", "validate"),
}

__version__ = "0.1.0"

__all__ = [
    "AutodistillSegError",
    "BaseEntry",
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
    "calibrate",
    "create_base",
    "evaluate",
    "evaluate_model",
    "label",
    "load_artifact",
    "predict_images",
    "predict_stream",
    "predict_video",
    "pull_run",
    "push_run",
    "read_coco",
    "read_gold",
    "read_source",
    "register_base",
    "repair",
    "run",
    "tune",
    "validate_coco",
    "watch_folder",
]


groundingdino_compat.install()
for _name in ("benchmark", "evaluate_model"):
    plug_points.provide(_name, "{}.{}:{}".format(__name__, *_HOMES[_name]))
plug_points.provide("model_as_base", f"{__name__}.targets.student_base:StudentBase")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    # Kept, so that a submodule of the same name that is imported later does not replace it.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
