"""Compares the forecast of `plan` from a sample with the real run, each in a new process on the command line.

    python benchmarks/planning.py [--images 200] [--count 20] [--folder PHOTOS] [--class "red=apple"]

The images are drawn in four sizes, with discs of three colors for the base `threshold`; `--folder` uses real ones. The
real run is `label`, which also builds the dataset. A ratio above 1 means that the forecast was too high. If the machine
has other work, times are hard to forecast: the last line shows how much slower the images of the sample became.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmark_helpers import TimedCommand, class_arguments, make_images, run_timed

from autodistill_rfdetr_seg.labels.label_account import read_account
from autodistill_rfdetr_seg.labels.label_store import LabelStore

SIZES = [(320, 240), (480, 360), (640, 480), (800, 600)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--class", dest="classes", action="append", metavar="PROMPT=CLASS")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="planning_"))
    try:
        images = args.folder or work / "images"
        if args.folder is None:
            make_images(images, args.images, SIZES)
        given = [word for one in args.classes or () for word in ("--class", one)]
        arguments = [str(images), "--base", "threshold", *(given or class_arguments()), "--quiet", "--json"]
        plan_arguments = [*arguments, "--count", str(args.count), "--output", str(work / "plan")]
        planned = run_timed("plan", *plan_arguments, input_folder=work)
        measured = run_timed("label", *arguments, "--output", str(work / "run"), input_folder=work)
        report(json.loads(planned.output), planned, measured, work / "run")
        before, after = base_seconds(work / "plan"), base_seconds(work / "run")
        slower = sum(after[name] for name in before) / sum(before.values())
        print(f"the base took {slower:.2f} times as long on the images of the sample in the run as in the sample")
    finally:
        shutil.rmtree(work)


def report(forecast: dict[str, Any], planned: TimedCommand, measured: TimedCommand, run: Path) -> None:
    """Prints the forecast next to the `measured` values of the run in the folder `run`."""
    per_class = json.loads((run / "dataset" / "dataset.json").read_text())["per_class"]
    rows: list[tuple[str, float, Any, float]] = [
        ("seconds", forecast["seconds"], forecast["seconds_interval"], measured.seconds),
        ("peak memory, MB", forecast["memory_bytes"] / 1e6, None, measured.peak / 1e6),
        ("labels, kB", forecast["labels_bytes"] / 1e3, None, size(run / "labels", "part-*") / 1e3),
        ("dataset, kB", forecast["dataset_bytes"] / 1e3, None, size(run / "dataset", "*") / 1e3),
    ]
    for name, one in forecast["per_class"].items():
        interval = [forecast["images"] * end for end in one["interval"] or ()]
        rows.append((f"instances of {name}", one["instances"], interval or None, per_class[name]["kept"]))
    print(
        f"{forecast['images']} images forecast from {forecast['sampled']} in {planned.seconds:.1f} s, "
        f"{os.cpu_count()} cores"
    )
    print(f"{'quantity':<26}{'forecast':>10}{'90 % interval':>20}{'measured':>10}{'ratio':>7}")
    for name, value, interval, real in rows:
        ends = "–" if interval is None else "{:.1f} to {:.1f}".format(*interval)
        ratio = f"{value / real:.2f}" if real else "–"
        print(f"{name:<26}{value:>10.1f}{ends:>20}{real:>10.1f}{ratio:>7}")


def base_seconds(run: Path) -> dict[str, float]:
    """Image name → seconds of the base, for each image labeled in `run`."""
    store = LabelStore(run / "labels")
    return {row.image.path: row.seconds for row in store.read_all(store.keys(read_account(run / "labels").fingerprint))}


def size(folder: Path, pattern: str) -> int:
    """Bytes of the files that use disk space; a hard-linked image uses none."""
    found = [path.stat() for path in folder.rglob(pattern) if path.is_file()]
    return sum(one.st_size for one in found if one.st_nlink == 1)


if __name__ == "__main__":
    main()
