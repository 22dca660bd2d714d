"""Compares this package's decode with rfdetr's: milliseconds for masks, and for a whole prediction; memory.

    python benchmarks/decode.py [--size nano]

On one thread, with random weights: nothing is downloaded. In one run:

- 20 masks of 78 x 78 logits, discs of 0.7% or 5% of the image each, to the size of the image: rfdetr's way (torch's
  `interpolate` of whole frames, then above 0), as crops, and as a dense stack; pixels that differ.
- 100 masks at 4000x3000 as crops, and as RLE.
- Finding the duplicates among 100 instances.
- The model's input from an image: rfdetr's way, and this package's.
- `predict` of an image of 640x480 by rfdetr and by this package.
- `predict` of an image of 4000x3000 with 100 instances, against the same without instances, until `mask` is read: time
  and memory; then the same with each mask as RLE.
"""

from __future__ import annotations

import os

# ruff: noqa: E402 - these are read when numpy and torch are imported.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autodistill_rfdetr_seg.bases.detection_instances import instances_from_detections
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.pipeline.labeling_costs import peak_memory
from autodistill_rfdetr_seg.runtime.duplicate_removal import DuplicateLimits, remove_duplicates
from autodistill_rfdetr_seg.runtime.instance_mask import dense_stack, masks_from_logits
from autodistill_rfdetr_seg.runtime.model_input import make_input
from autodistill_rfdetr_seg.runtime.output_decoding import Detection
from autodistill_rfdetr_seg.targets import vendor, vendor_output
from autodistill_rfdetr_seg.targets.inference.model_artifacts import TorchModel

torch.set_num_threads(1)
_SIZES = ((1080, 1920), (2160, 3840))


def fastest(call: Callable[[], Any], runs: int = 9) -> float:
    """Milliseconds of the fastest of `runs` calls, after one that does not count."""
    call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return min(times)


def in_turns(calls: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """The fastest milliseconds of each call; they take turns, so that a slow moment meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(runs + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: min(found) for name, found in times.items()}


def disc_logits(count: int, fraction: float, side: int = 78) -> np.ndarray[Any, Any]:
    """Mask logits (count, side, side) of discs that cover `fraction` of the image, their borders rough."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] + 0.5
    radius = np.sqrt(fraction / np.pi) * side
    made = []
    for _ in range(count):
        y, x = random.uniform(radius, side - radius, 2)
        made.append(2 * (radius - np.hypot(rows - y, columns - x)) + random.normal(0, 0.2, (side, side)))
    return np.array(made, dtype=np.float32)


def full_frames(logits: np.ndarray[Any, Any], height: int, width: int) -> Any:
    """Masks as rfdetr's post-processing makes them."""
    given = {"size": (height, width), "mode": "bilinear", "align_corners": False}
    return (torch.nn.functional.interpolate(torch.from_numpy(logits)[:, None], **given) > 0)[:, 0].numpy()


def compare_masks() -> None:
    """Prints a row for each size of masks and image."""
    print("20 masks | image | full frames ms | crops ms (ratio) | dense ms (ratio) | pixels that differ")
    for fraction in (0.007, 0.05):
        logits = disc_logits(20, fraction)
        for height, width in _SIZES:
            full = fastest(lambda: full_frames(logits, height, width), 5)  # noqa: B023
            crops = fastest(lambda: [one.crop() for one in masks_from_logits(logits, height, width)])  # noqa: B023
            dense = fastest(lambda: dense_stack(masks_from_logits(logits, height, width), height, width))  # noqa: B023
            found = dense_stack(masks_from_logits(logits, height, width), height, width)
            wanted = full_frames(logits, height, width)
            border = int((wanted[:, 1:] != wanted[:, :-1]).sum() + (wanted[:, :, 1:] != wanted[:, :, :-1]).sum())
            print(
                f"{fraction:.1%} each | {width}x{height} | {full:.0f} | {crops:.1f} ({full / crops:.0f}x) | "
                f"{dense:.1f} ({full / dense:.0f}x) | {int((found != wanted).sum())} of {border} at the borders"
            )


def time_encoding() -> None:
    """Prints how long the pixels of 100 masks of a large image take, and their RLE."""
    height, width = 3000, 4000
    for fraction in (0.007, 0.05):
        logits = disc_logits(100, fraction)
        crops = fastest(lambda: [one.crop() for one in masks_from_logits(logits, height, width)])  # noqa: B023
        rles = fastest(
            lambda: [masks.encode_crop(one.crop(), height, width) for one in masks_from_logits(logits, height, width)]  # noqa: B023
        )
        print(f"100 masks of {fraction:.1%} each to {width}x{height}: crops {crops:.0f} ms, RLE {rles:.0f} ms")


def time_duplicates() -> None:
    """Prints how long it takes to find the duplicates among 100 instances, none or half of them."""
    limits = DuplicateLimits(0.6, 0.9, 0.8)
    apart = disc_logits(100, 0.007)
    for name, logits in (("100 others", apart), ("50 twice", np.concatenate([apart[:50], apart[:50] + 0.3]))):
        made = masks_from_logits(logits, 1080, 1920)
        box = np.zeros(4, np.float32)
        found = [Detection(0, 0.99 - at / 1000, box, mask) for at, mask in enumerate(made)]
        left = len(remove_duplicates(found, limits))
        print(f"duplicates, {name}: {fastest(lambda: remove_duplicates(found, limits)):.2f} ms, {left} left")  # noqa: B023


def random_model(size: str) -> Any:
    """A model of random weights for COCO's classes, of which it knows the first alone."""
    detector = vendor.build(size, {"pretrain_weights": None, "device": "cpu"})
    with torch.no_grad():
        detector.model.model.class_embed.bias.fill_(-50.0)[1] = 0.0
    return detector


def compare_input(detector: Any, image: np.ndarray[Any, Any]) -> None:
    """Prints how long it takes to make the model's input."""
    import torchvision.transforms.functional as transforms

    model = TorchModel(detector, None)
    side = model.input_size

    def by_rfdetr() -> Any:
        planes = torch.from_numpy(image).permute(2, 0, 1).float().div_(255)
        return transforms.normalize(
            transforms.resize(planes, [side, side], antialias=False), detector.means, detector.stds
        )

    found = in_turns({"rfdetr": by_rfdetr, "here": lambda: make_input([image], model.spec)}, 9)
    differ = float(np.abs(make_input([image], model.spec)[0] - by_rfdetr().numpy()).max())
    height, width = image.shape[:2]
    print(
        f"input of {width}x{height}: rfdetr {found['rfdetr']:.1f} ms, here {found['here']:.1f} ms "
        f"({found['rfdetr'] / found['here']:.1f}x); values differ by at most {differ:.0e}"
    )


def compare_predictions(detector: Any) -> None:
    """Prints `predict` of a small image against rfdetr's, and of a large one with and without instances."""
    random = np.random.default_rng(1)
    model = TorchModel(detector, None)
    large = random.integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    # First, as the peak is read from the whole process. A score is never above 1.
    model.predict_batch([large], 1.0)
    model.predict_batch([large], 1.0)
    engine = peak_memory() or 0
    found = model.predict_batch([large], 0.0)[0]
    memory = (peak_memory() or 0) - engine
    times = in_turns(
        {
            "none": lambda: model.predict_batch([large], 1.0),
            "all": lambda: model.predict_batch([large], 0.0),
            "rle": lambda: encode(model.predict_batch([large], 0.0)[0], large.shape),
        },
        5,
    )
    covered = np.mean([mask.area() for mask in found.compact_masks]) / (3000 * 4000)
    print(
        f"4000x3000 with {len(found)} instances ({covered:.0%} of the image each): {times['all']:.0f} ms, without "
        f"{times['none']:.0f} ms ({times['all'] / times['none']:.2f}x); {memory / 1e6:.0f} MB more until mask is "
        f"read; with each mask as RLE {times['rle']:.0f} ms"
    )
    small = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    for name, confidence in (("all", 0.0), ("no", 1.0)):

        def by_rfdetr(confidence: float = confidence) -> Any:
            with vendor_output.quiet_logs():
                return detector.predict(small, threshold=confidence, include_source_image=False)

        def here(confidence: float = confidence) -> Any:
            return model.predict_batch([small], confidence)[0].mask

        found_times = in_turns({"rfdetr": by_rfdetr, "here": here}, 9)
        print(
            f"640x480, {name} instances, dense masks: rfdetr {found_times['rfdetr']:.0f} ms, here "
            f"{found_times['here']:.0f} ms ({found_times['rfdetr'] / found_times['here']:.2f}x)"
        )


def encode(found: Any, shape: tuple[int, ...]) -> Any:
    """Every instance with its mask as RLE."""
    from collections import Counter

    return instances_from_detections(found, shape[:2], 1, Counter())


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="nano", help="size of RF-DETR Seg (default: %(default)s)")
    size = parser.parse_args().size
    detector = random_model(size)
    compare_predictions(detector)
    compare_masks()
    time_encoding()
    time_duplicates()
    random = np.random.default_rng(2)
    for height, width in ((480, 640), (1080, 1920), (3000, 4000)):
        compare_input(detector, random.integers(0, 256, (height, width, 3), dtype=np.uint8))


if __name__ == "__main__":
    main()
