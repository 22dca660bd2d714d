"""Measures how commands grow with the label store: seconds, processor time an image and peak memory at several sizes.

    python benchmarks/million_rows.py [--sizes 10000 100000] [--commands build review …] [--keep FOLDER]

A store is drawn for each size: 6 ellipses an image, from a pool of 1,000 images' masks with new scores, and hashes of
which 2% are near another one's. The images are hard links to a few small JPEG files; the store says that their contents
differ. Each command is a process of its own: `cpu` is the processor time of it and of the processes that it started,
`ratio` that of an image divided by the same at the smallest size, `peak` its memory without the processes that it
started (some 120 MB each). Where the machine does other work, seconds say little and `cpu` more. `evaluate` scores
the threshold base and a target trained for one epoch on 24 gold images; both are the same at each size. `hashes` are
the near-duplicates of random hashes, `hashes of cameras` those of frames of fixed cameras, 1,000 each. With `--keep`
the folders are kept, and reused if they exist.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from benchmark_helpers import TimedCommand, run_python, run_timed
from tqdm import tqdm

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import BaseConfig, parse
from autodistill_rfdetr_seg.core.types import Classes, ImageRecord, Instance, Rle
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.label_account import write_account
from autodistill_rfdetr_seg.labels.label_store import LabelStore
from autodistill_rfdetr_seg.labels.stored_labels import StoredLabels
from autodistill_rfdetr_seg.pipeline.demo_run import demo_config
from autodistill_rfdetr_seg.pipeline.demo_scenes import ONTOLOGY, write_scenes
from autodistill_rfdetr_seg.pipeline.runs import run_pipeline
from autodistill_rfdetr_seg.system.config_files import save_run_config
from autodistill_rfdetr_seg.system.run_folder import RunFolder

WIDTH, HEIGHT = 320, 240
OBJECTS = 6
POOL = 1000
NEAR = 0.02
SCENES = 24

HASHES = """
import random, sys
from autodistill_rfdetr_seg.images.perceptual_hash import near_duplicates
count, cameras = int(sys.argv[1]), int(sys.argv[2])
draw = random.Random(0)
if cameras:
    # Frames of fixed cameras: up to 6 bits differ from the camera's own hash.
    views = [draw.getrandbits(64) for _ in range(cameras)]
    changes = [sum({1 << draw.randrange(64) for _ in range(draw.randrange(7))}) for _ in range(count)]
    hashes = [views[at % cameras] ^ change for at, change in enumerate(changes)]
else:
    hashes = [draw.getrandbits(64) for _ in range(count)]
    for at in range(0, count, 50):
        hashes[at] = hashes[at - 1] ^ (1 << draw.randrange(64))
print(len(near_duplicates({f"{at:08d}": value for at, value in enumerate(hashes)}, 4)), "links")
"""


def pool_of_masks(rng: np.random.Generator) -> list[list[Rle]]:
    """The masks of `POOL` images: ellipses with noise on their outline."""
    pool = []
    for _ in range(POOL):
        of_image = []
        for _ in range(OBJECTS):
            center = (int(rng.integers(20, WIDTH - 20)), int(rng.integers(20, HEIGHT - 20)))
            axes = (int(rng.integers(6, 40)), int(rng.integers(6, 40)))
            points = cv2.ellipse2Poly(center, axes, int(rng.integers(180)), 0, 360, 12)
            points = points + rng.integers(-1, 2, points.shape).astype(points.dtype)
            of_image.append(masks.encode(cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [points], 1)))
        pool.append(of_image)
    return pool


def make_run(root: Path, count: int) -> None:
    """A run of `count` images that are labeled and not built."""
    run, images = RunFolder(root / "run"), root / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pool = pool_of_masks(rng)
    config = parse(
        {"images": str(images), "ontology": ONTOLOGY, "base": {"name": "threshold"}, "refine": {"confidence": 0.2}}
    )
    source = BaseSource.from_config(BaseConfig(name="threshold"), Classes.from_ontology(ONTOLOGY))
    names = [f"{at // 1000:04d}/{at:08d}.jpg" for at in range(count)]
    originals = []
    for at in range(max(2, count // 2000)):  # a file system has a limit of links to one file
        file = root / f"original{at}.jpg"
        gray = rng.integers(0, 255, (3, 4, 3), np.uint8)
        cv2.imwrite(str(file), cv2.resize(gray, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
        originals.append((file, file.stat()))
    hashes = rng.integers(0, 1 << 63, count, np.uint64)
    near = np.flatnonzero(rng.random(count) < NEAR)
    hashes[near] = hashes[near - 1] ^ np.uint64(5)
    with LabelStore(run.labels) as store:
        for at, name in enumerate(tqdm(names, desc="Drawing", unit="image", disable=None)):
            file, stat = originals[at % len(originals)]
            (images / name).parent.mkdir(exist_ok=True)
            os.link(file, images / name)
            sha256 = hashlib.sha256(name.encode()).hexdigest()
            scores = rng.random(2 * OBJECTS).tolist()
            instances = tuple(
                Instance(place % 3, rle, scores[place], stability=scores[OBJECTS + place])
                for place, rle in enumerate(pool[at % POOL])
            )
            record = ImageRecord(sha256[:16], name, HEIGHT, WIDTH, sha256)
            row = StoredLabels(record, instances, ".jpg", stat.st_size, stat.st_mtime_ns, 0.1, phash=int(hashes[at]))
            store.append(row, source.provenance)
    write_account(run.labels, source, names, images, {})
    save_run_config(run, config)


def small_run(root: Path) -> RunFolder:
    """A run of `SCENES` drawn scenes with a target that was trained for one epoch; the scenes' gold is beside it."""
    run = RunFolder(root / "small")
    if not run.training.is_dir():
        config = demo_config(write_scenes(root / "scenes", SCENES))
        target = config.target.model_copy(update={"epochs": 1})
        run_pipeline(config.model_copy(update={"target": target}), run, resume=True, overwrite=False)
    return run


def copy_built(run: RunFolder, other: RunFolder) -> None:
    """A copy of the run's dataset without its images, which is all that `diff` reads."""
    shutil.rmtree(other.root, ignore_errors=True)
    shutil.copytree(run.dataset, other.dataset, ignore=shutil.ignore_patterns("*.jpg"))


def prepare(root: Path, count: int) -> None:
    """Makes the run of `count` images in `root` where there is none."""
    run = RunFolder(root / "run")
    if not (run.labels / "labels.json").is_file():
        make_run(root, count)
    if not run.training.is_dir():
        shutil.copytree(small_run(root.parent).training, run.training)


def measure(root: Path, count: int, commands: Sequence[str]) -> dict[str, TimedCommand]:
    """The time and memory of each command on a run of `count` images in `root`."""
    run, other = RunFolder(root / "run"), RunFolder(root / "other")
    # In another process, because Linux counts the peak of a process for those that it starts.
    preparation = get_context("spawn").Process(target=prepare, args=(root, count))
    preparation.start()
    preparation.join()
    if preparation.exitcode:
        sys.exit(f"The run of {count} images was not made.")
    folder = str(run.root)
    arguments = {
        # Options that change nothing but the split, so that each build has the same work.
        "build, 1 process": ("build", folder, "--split-seed", "1", "--set", "dataset.processes=1"),
        "build": ("build", folder, "--split-seed", "2", "--set", "dataset.processes=none"),
        "build again": ("build", folder, "--split-seed", "2", "--min-area", "300"),
        "build, nothing to do": ("build", folder),
        "review": ("review", folder, "--count", "20"),
        "explain": ("explain", folder, "train:1"),
        "diff": ("diff", str(other.root), folder),
        "evaluate": ("evaluate", folder, "--gold", str(root.parent / "scenes" / "gold")),
        "report": ("report", folder),
    }
    found = {}
    for command in commands:
        if command.startswith("hashes"):
            cameras = str(max(1, count // 1000) if command.endswith("cameras") else 0)
            found[command] = run_python(HASHES, str(count), cameras, input_folder=root)
        else:
            found[command] = run_timed(*arguments[command], "--quiet", input_folder=root)
        if command == "build":
            copy_built(run, other)
        one = found[command]
        print(f"{count:>9} {command:<22}{one.seconds:>9.1f} s{one.peak / 1e6:>8.0f} MB", file=sys.stderr)
    return found


COMMANDS = (
    "build, 1 process",
    "build",
    "build again",
    "build, nothing to do",
    "review",
    "explain",
    "diff",
    "evaluate",
    "report",
    "hashes",
    "hashes of cameras",
)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS))
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="million_rows_"))
    first: dict[str, float] = {}
    try:
        print(f"{OBJECTS} labels an image, {os.cpu_count()} cores")
        print(f"{'images':>9} {'command':<22}{'seconds':>9}{'cpu':>9}{'ms/image':>10}{'ratio':>7}{'peak MB':>9}")
        for count in args.sizes:
            for name, one in measure(folder / str(count), count, args.commands).items():
                each = 1000 * one.cpu_seconds / count
                ratio = each / first.setdefault(name, each)
                took = f"{one.seconds:>9.1f}{one.cpu_seconds:>9.1f}{each:>10.3f}{ratio:>7.2f}"
                print(f"{count:>9} {name:<22}{took}{one.peak / 1e6:>9.0f}")
    finally:
        if args.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
