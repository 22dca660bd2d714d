"""Measures the cost of labeling without the base: `label()` of autodistill against ours, on the same folder.

    python benchmarks/labeling.py [--images 200] [--more 2000] [--size 1920x1080] [--masks 6]

The base returns the same rings at once, so decoding, mask encoding, storing and writing the dataset are measured. Each
engine runs in its own process, so that the peak memory is its own. With `--more N` ours also labels N images, which
shows whether memory grows with the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel


class RingBase(DetectionBaseModel):
    """`masks` rings in a row, of two alternating classes; the same for every image, computed once."""

    def __init__(self, masks: int) -> None:
        self.ontology = CaptionOntology({"ring": "ring", "hoop": "hoop"})
        self.masks = masks
        self._answer: sv.Detections | None = None

    def predict(self, input: np.ndarray) -> sv.Detections:
        if self._answer is None:
            height, width = input.shape[:2]
            radius, y = height // 10, height // 2
            rows, columns = np.mgrid[:height, :width]
            centers = [(i + 1) * width // (self.masks + 2) for i in range(self.masks)]
            distances = [(rows - y) ** 2 + (columns - x) ** 2 for x in centers]
            masks = np.stack([(d <= radius**2) & (d >= (radius // 2) ** 2) for d in distances])
            self._answer = sv.Detections(
                xyxy=np.array([[x - radius, y - radius, x + radius + 1, y + radius + 1] for x in centers], float),
                mask=masks,
                class_id=np.arange(self.masks) % 2,
                confidence=np.full(self.masks, 0.9),
            )
        return self._answer


def make_images(folder: Path, count: int, width: int, height: int) -> None:
    """Writes `count` JPEGs that differ by a stripe, so that none is a copy of another."""
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 5)
    folder.mkdir(parents=True)
    for i in range(count):
        stripe = picture.copy()
        stripe[:, i % width] = (i // width, 255, 0)
        stripe[i % height] = (0, 255, i // height)
        cv2.imwrite(str(folder / f"{i:05d}.jpg"), stripe)


def engine(name: str, images: Path, masks: int) -> None:
    """Runs one engine in this process and prints its numbers as JSON."""
    output = Path(tempfile.mkdtemp(prefix="labeled_"))
    base = RingBase(masks)
    import cv2

    base.predict(cv2.imread(str(next(images.iterdir()))))
    started = time.perf_counter()
    if name == "autodistill":
        sys.stdout = sys.stderr
        base.label(str(images), extension=".jpg", output_folder=str(output))
        sys.stdout = sys.__stdout__
    else:
        from autodistill_rfdetr_seg import label

        label(base, images, output / "run", progress=False)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    count = len(list(images.iterdir()))
    shutil.rmtree(output)
    print(json.dumps({"ms_per_image": 1000 * seconds / count, "peak_mb": peak, "images": count}))


def run(name: str, images: Path, masks: int) -> dict[str, float]:
    """Runs one engine in a new process."""
    command = [sys.executable, __file__, "--engine", name, "--folder", str(images), "--masks", str(masks)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--more", type=int, default=0)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--masks", type=int, default=6)
    parser.add_argument("--engine")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.engine:
        engine(args.engine, args.folder, args.masks)
        return
    width, height = map(int, args.size.split("x"))
    folder = Path(tempfile.mkdtemp(prefix="images_"))
    try:
        make_images(folder / "some", args.images, width, height)
        rows = [(name, run(name, folder / "some", args.masks)) for name in ("autodistill", "ours")]
        if args.more:
            make_images(folder / "more", args.more, width, height)
            rows.append(("ours", run("ours", folder / "more", args.masks)))
    finally:
        shutil.rmtree(folder)
    theirs = rows[0][1]["ms_per_image"]
    print(f"{args.size}, {args.masks} masks per image, {os.cpu_count()} cores")
    print(f"{'engine':<12}{'images':>8}{'ms/image':>10}{'speed':>8}{'peak MB':>9}")
    for name, found in rows:
        speed = theirs / found["ms_per_image"]
        print(f"{name:<12}{found['images']:>8}{found['ms_per_image']:>10.1f}{speed:>7.1f}x{found['peak_mb']:>9.0f}")


if __name__ == "__main__":
    main()
