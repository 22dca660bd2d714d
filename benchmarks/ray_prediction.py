"""Measures the prediction of a folder by Ray actors against one process.

    OMP_NUM_THREADS=1 python benchmarks/ray_prediction.py MODEL [--images 200] [--side 1024]

MODEL is a run, a checkpoint or an export. An actor has one CPU and one thread, so the process should have one, too. The
start (of Ray, of processes, loading the model) and the first tenth of the images are left out. Images are drawn JPEGs;
results are written as `predict --output` writes them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark_helpers import make_images

from autodistill_rfdetr_seg.core.config import MAX_MEGAPIXELS, EngineConfig
from autodistill_rfdetr_seg.predict.image_prediction import FolderPrediction


@dataclass(frozen=True)
class Spent:
    """Seconds until the first result; then milliseconds for an image: in all, and of processor time in this process."""

    start: float
    wall_ms: float
    own_ms: float


def spent_on(model: str, images: list[tuple[Path, str]], output: Path, engine: EngineConfig) -> Spent:
    """What the prediction of the images takes."""
    began = time.perf_counter()
    walls, owns = [], []
    with FolderPrediction(model, output, 0.1, None, "cpu", {}, MAX_MEGAPIXELS, False, False, engine) as prediction:
        for _ in prediction.predict(images):
            walls.append(time.perf_counter())
            owns.append(time.process_time())
    if prediction.result.failures:
        raise SystemExit(f"An image failed: {prediction.result.failures}")
    skipped = len(walls) // 10
    count = (len(walls) - 1 - skipped) / 1000
    return Spent(walls[0] - began, (walls[-1] - walls[skipped]) / count, (owns[-1] - owns[skipped]) / count)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--side", type=int, default=1024)
    args = parser.parse_args()
    ways = {"one process": EngineConfig()}
    ways |= {f"ray, {count} actors": EngineConfig(engine="ray", actors=count) for count in (1, 2)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", args.images, [(args.side, args.side)])
        images = [(path, path.name) for path in sorted((folder / "images").iterdir())]
        found = {way: spent_on(args.model, images, folder / way, engine) for way, engine in ways.items()}
    print(f"{'':14} {'start s':>8} {'ms/image':>9} {'own ms/image':>13} {'of one process':>15}")
    for way, spent in found.items():
        ratio = spent.wall_ms / found["one process"].wall_ms
        print(f"{way:14} {spent.start:8.1f} {spent.wall_ms:9.1f} {spent.own_ms:13.2f} {ratio:14.2f}x")


if __name__ == "__main__":
    main()
