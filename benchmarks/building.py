"""Measures `build` with other thresholds on stored labels against labeling the same images again.

    python benchmarks/building.py [--images 10000] [--size 320x240] [--keep FOLDER]

Images are drawn, labeled by a base that takes a millisecond (a real one takes a hundred times as long), and built once
with the command line. Then `build` is run with other thresholds, each time in a new process, and once with the same
thresholds, so that nothing is to do. With `--keep` the folder is kept, and reused if it exists.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

from benchmark_helpers import TimedCommand, class_arguments, make_images, run_timed

BASE = Path(__file__).with_name("quick_base.py")
BUILDS = {
    "min area 60": ["--min-area", "60"],
    "NMS IoU 0.5, confidence 0.5": ["--nms-iou", "0.5", "--confidence", "0.5"],
    "islands and holes of 20": ["--island-area", "20", "--hole-area", "20"],
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    folder = args.keep or Path(tempfile.mkdtemp(prefix="building_"))
    try:
        measure(folder, args.images, (width, height))
    finally:
        if args.keep is None:
            shutil.rmtree(folder)


def measure(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Labels and builds in `folder`, and prints a line of the table for each command."""
    run = str(folder / "run")
    rows: list[tuple[str, TimedCommand]] = []
    if not (folder / "run").is_dir():
        make_images(folder / "images", count, [size])
        arguments = [
            "label",
            str(folder / "images"),
            "--base",
            str(BASE) + ":Discs",
            *class_arguments(),
            "--output",
            run,
            "--quiet",
        ]
        rows.append(("label and build", run_timed(*arguments, input_folder=folder)))
    for name, arguments in BUILDS.items():
        rows.append((f"build, {name}", run_timed("build", run, *arguments, "--quiet", input_folder=folder)))
    rows.append(("build, the same", run_timed("build", run, *["--hole-area", "20"], "--quiet", input_folder=folder)))
    index = json.loads((folder / "run" / "dataset" / "dataset.json").read_text())
    images = len(index["images"])
    labels = index["kept"] + sum(index["rejected"].values())
    print(f"{images} images of {size[0]}x{size[1]}, {labels / images:.1f} labels per image, {os.cpu_count()} cores")
    slowest = rows[0][1].seconds
    print(f"{'command':<30}{'seconds':>9}{'images/s':>10}{'speed':>8}{'peak MB':>9}")
    for name, found in rows:
        figures = f"{found.seconds:>9.2f}{images / found.seconds:>10.0f}{slowest / found.seconds:>7.1f}x"
        print(f"{name:<30}{figures}{found.peak / 1e6:>9.0f}")


if __name__ == "__main__":
    main()
