"""Predicts images with a network: in batches of its size, from the input to the instances."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .model_input import make_input
from .output_decoding import Detection, decode_output

Array = np.ndarray[Any, Any]
# An input (N, 3, S, S) float32 → boxes, logits and mask logits, as `decode_output` takes them of each image.
RunNetwork = Callable[[Array], Sequence[Array]]


class StageTimes(NamedTuple):
    """Seconds of a prediction: making the input, the network itself, and selection (without masks)."""

    input: float
    engine: float
    selection: float


def predict_with_network(
    run_network: RunNetwork, images: Sequence[Array], spec: Mapping[str, Any], confidence: float
) -> tuple[list[list[Detection]], StageTimes]:
    """The instances above `confidence` of images (H, W, 3) uint8 RGB, best first, and the seconds of the stages.

    The last batch of a network of a fixed batch size is filled up.
    """
    result: list[list[Detection]] = []
    stages = np.zeros(3)
    size = spec["batch_size"] or spec.get("most_images") or max(len(images), 1)
    for start in range(0, len(images), size):
        part = images[start : start + size]
        moments = [time.perf_counter()]
        batch = make_input(part, spec)
        moments.append(time.perf_counter())
        outputs = run_network(batch)
        moments.append(time.perf_counter())
        for at, image in enumerate(part):
            result.append(decode_output([one[at] for one in outputs], image.shape[:2], spec, confidence))
        moments.append(time.perf_counter())
        stages += np.diff(moments)
    return result, StageTimes(*stages.tolist())
