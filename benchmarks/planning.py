"""What `plan` forecasts from a sample against what then happens, each in a fresh process through the command line.

    python benchmarks/planning.py [--images 200] [--count 20] [--folder PHOTOS] [--class "red=apple"]

The images are drawn in four sizes, with discs of three colours for the base `threshold`; `--folder` takes real ones.
What happens is `label`, which builds the dataset too. A ratio over 1 is a forecast that was too high. Where others use
the machine, time forecasts little: the last line tells how much slower it had become for the sample's own images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from drawn import Finished, classes, make_images, timed

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
        words = [word for one in args.classes for word in ("--class", one)] if args.classes else classes()
        words = [str(images), "--base", "threshold", *words, "--quiet", "--json"]
        planned = timed("plan", *words, "--count", str(args.count), "--output", str(work / "plan"), input_folder=work)
        happened = timed("label", *words, "--output", str(work / "run"), input_folder=work)
        report(json.loads(planned.output), planned, happened, work / "run")
        before, after = base_seconds(work / "plan"), base_seconds(work / "run")
        slower = sum(after[name] for name in before) / sum(before.values())
        print(f"the base took {slower:.2f} times as long on the sample's images in the run as in the sample")
    finally:
        shutil.rmtree(work)


def report(forecast: dict[str, Any], planned: Finished, happened: Finished, run: Path) -> None:
    """Prints what was forecast beside what `happened` in the folder `run`."""
    per_class = json.loads((run / "dataset" / "dataset.json").read_text())["per_class"]
    rows: list[tuple[str, float, Any, float]] = [
        ("seconds", forecast["seconds"], forecast["seconds_interval"], happened.seconds),
        ("peak memory, MB", forecast["memory_bytes"] / 1e6, None, happened.peak / 1e6),
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
    print(f"{'quantity':<26}{'forecast':>10}{'90 % interval':>20}{'happened':>10}{'ratio':>7}")
    for name, value, interval, real in rows:
        ends = "–" if interval is None else "{:.1f} to {:.1f}".format(*interval)
        ratio = f"{value / real:.2f}" if real else "–"
        print(f"{name:<26}{value:>10.1f}{ends:>20}{real:>10.1f}{ratio:>7}")


def base_seconds(run: Path) -> dict[str, float]:
    """The base's seconds on each image that `run` has labelled, by its name."""
    store = LabelStore(run / "labels")
    return {row.image.path: row.seconds for row in store.read_all(store.keys(read_account(run / "labels").fingerprint))}


def size(folder: Path, pattern: str) -> int:
    """Bytes of the files that take place of their own: a linked image takes none."""
    found = [path.stat() for path in folder.rglob(pattern) if path.is_file()]
    return sum(one.st_size for one in found if one.st_nlink == 1)


if __name__ == "__main__":
    main()
