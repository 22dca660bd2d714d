"""Options of what is made from a trained model: exports and benchmarks, with every default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .config import DISPLAY_CONFIDENCE, Fraction, Options


class ExportConfig(Options):
    """How a model is exported: the format, the precision of its numbers, and the images per inference (None: any
    number where the format allows it, else 1).

    For int8 up to `calibration_images` training images are used, and the mask AP on the valid split may be lower than
    in fp32 by at most `largest_ap_loss`.
    """

    format: str = "onnx"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    batch_size: Annotated[int, Field(ge=1)] | None = None
    calibration_images: Annotated[int, Field(ge=1)] = 64
    largest_ap_loss: Fraction = 0.01


class ParityConfig(Options):
    """How well an exported model must agree with the model in torch, and on which images.

    Up to `samples` images are compared, and in them the instances that torch scores above `confidence`. Each must have
    a match of the same class whose score differs by at most `score_difference`; `mask_iou` is the lowest mean mask IoU.
    """

    samples: Annotated[int, Field(ge=1)] = 8
    confidence: Fraction = 0.3
    mask_iou: Fraction = 0.99
    score_difference: Fraction = 0.01


# Half precision has 11 bits; after some dozen layers, the rounding moves edges of masks by fractions of a pixel.
# Eight bits move them further, and scores with them; whether that matters is for the mask AP to say.
PARITY = {
    "fp32": ParityConfig(),
    "fp16": ParityConfig(mask_iou=0.97, score_difference=0.03),
    "int8": ParityConfig(mask_iou=0.9, score_difference=0.15),
}


class BenchmarkConfig(Options):
    """What a benchmark measures, and how.

    `formats` are torch, torchscript, inductor, onnx, openvino and tensorrt (None: torch, and each of the last three
    whose package is installed). Each row has `runs` measured calls in `rounds` rounds in which the rows take turns;
    each turn starts with `warm_up` calls that are not measured. `pause` is the time between two calls in seconds.
    Up to `images` images are used. Instances above `confidence` are found; mask AP uses the evaluation's score floor.
    """

    formats: tuple[str, ...] | None = None
    precisions: tuple[Literal["fp32", "fp16", "bf16", "int8"], ...] = ("fp32",)
    device: str = "auto"
    batch_size: Annotated[int, Field(ge=1)] = 1
    images: Annotated[int, Field(ge=1)] = 8
    confidence: Fraction = DISPLAY_CONFIDENCE
    runs: Annotated[int, Field(ge=1)] = 100
    warm_up: Annotated[int, Field(ge=0)] = 10
    rounds: Annotated[int, Field(ge=1)] = 5
    pause: Annotated[float, Field(ge=0)] = 0.0
