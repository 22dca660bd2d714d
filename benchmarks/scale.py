"""Measures labeling by Ray actors against worker processes, and simulates many more actors from the measured costs.

    python benchmarks/scale.py [--images 300] [--pause 0.05] [--actors 1000] [--total 10000000]

The base sleeps for `--pause` seconds and finds one box, so what is measured is everything around a base. Time until the
first answer (start of Ray, of processes, building the base) is apart. The simulation has one driver, which spends the
measured time on each image (asking, answer, store), and actors with two calls in flight each.
"""

from __future__ import annotations

import argparse
import heapq
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_helpers import make_images

from autodistill_rfdetr_seg.core.config import BaseConfig, LabelingConfig
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.engine.ray_actor import IN_FLIGHT
from autodistill_rfdetr_seg.labels.base_source import BaseSource, Item
from autodistill_rfdetr_seg.labels.labeler import label_images
from autodistill_rfdetr_seg.labels.ray_labeling import label_in_actors
from autodistill_rfdetr_seg.labels.worker_labeling import label_in_workers

BASE = """
import time
import numpy as np
import supervision as sv

class Sleeping:
    def __init__(self, ontology, pause):
        self.ontology, self.pause = ontology, pause

    def predict(self, image):
        time.sleep(self.pause)
        mask = np.zeros((1, *image.shape[:2]), bool)
        mask[0, 20:60, 20:90] = True
        return sv.Detections(xyxy=np.array([[20.0, 20, 90, 60]]), mask=mask, class_id=np.array([0]),
                             confidence=np.array([0.9]))
"""


@dataclass(frozen=True)
class Rate:
    """Seconds until the first answer, and from then on milliseconds for an image in all and of one process."""

    start: float
    wall_ms: float
    process_ms: float


def rate(answers: Iterator[Any], processes: int) -> Rate:
    """The rate of answers, after a warm-up of the first tenth: by then all processes work."""
    started = time.perf_counter()
    times = []
    with closing(answers):  # type: ignore[type-var]
        for _ in answers:
            times.append(time.perf_counter())
    skipped = len(times) // 10
    wall = (times[-1] - times[skipped]) / (len(times) - 1 - skipped) * 1000
    return Rate(times[0] - started, wall, wall * processes)


def source_of(folder: Path, pause: float) -> BaseSource:
    """The sleeping base, in a Python file."""
    (folder / "base.py").write_text(BASE)
    config = BaseConfig(name=f"{folder / 'base.py'}:Sleeping", args={"pause": pause})
    return BaseSource.from_config(config, Classes.from_ontology({"thing": "thing"}))


def options_of(engine: str, count: int) -> LabelingConfig:
    """Labeling by `count` worker processes or Ray actors."""
    return LabelingConfig(workers=count) if engine == "workers" else LabelingConfig(engine="ray", actors=count)


def measured_rate(engine: str, count: int, source: BaseSource, items: list[Item]) -> Rate:
    """The rate of an engine, without the store."""
    label = label_in_workers if engine == "workers" else label_in_actors
    return rate(label(source, items, (), options_of(engine, count)), count)


def driver_ms(source: BaseSource, items: list[Item], folder: Path) -> float:
    """The driver's processor time for an image with the store, ms: the slope over two numbers of images."""
    few, spent = len(items) // 4, []
    for count in (few, len(items)):
        started = time.process_time()
        label_images(source, items[:count], folder / f"labels{count}", options_of("ray", 2), progress=False)
        spent.append(time.process_time() - started)
    return max(0.0, (spent[1] - spent[0]) / (len(items) - few) * 1000)


def item_bytes(count: int = 100_000) -> float:
    """What the driver holds for each image that is to be labeled: its path and its name."""
    tracemalloc.start()
    items = [
        (Path(f"/data/photos/part-{i % 100:03d}/{i:09d}.jpg"), f"part-{i % 100:03d}/{i:09d}.jpg") for i in range(count)
    ]
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(items)


def simulate(actors: int, images: int, base_s: float, driver_s: float) -> tuple[float, float]:
    """Images per second, and the fraction of the time that the driver works, by a model of discrete events.

    The driver takes answers in the order in which they come, spends `driver_s` on each and gives that actor its next
    image. An actor works on its images one after the other, `base_s` each, and has at most `IN_FLIGHT` at a time.
    """
    # When each answer comes, and of whom.
    coming = [(base_s * (at + 1), actor) for at in range(IN_FLIGHT) for actor in range(actors)]
    heapq.heapify(coming)
    idle_from = [base_s * IN_FLIGHT] * actors
    driver_free = 0.0
    for _ in range(images):
        arrived, actor = heapq.heappop(coming)
        driver_free = max(driver_free, arrived) + driver_s
        idle_from[actor] = max(idle_from[actor], driver_free) + base_s
        heapq.heappush(coming, (idle_from[actor], actor))
    return images / driver_free, images * driver_s / driver_free


def print_simulation(actors: int, total: int, driver_s: float, held: float) -> None:
    """What many actors would reach, and what would break first."""
    print(f"\nsimulated: {actors:,} actors, {total:,} images; the driver takes {driver_s * 1000:.2f} ms an image")
    print(f"{'base':>7} {'images/s':>9} {'of ideal':>9} {'driver busy':>12} {'hours':>7}")
    for base_s in (0.05, 0.2, 1.0, 2.0, 5.0):
        # Enough images for a steady state.
        speed, busy = simulate(actors, 100 * actors, base_s, driver_s)
        print(f"{base_s:6.2f}s {speed:9.0f} {speed / (actors / base_s):9.2f} {busy:12.2f} {total / speed / 3600:7.1f}")
    most = 1 / driver_s
    gib = held * total / 2**30
    print(f"First the driver is busy all the time: at {most:.0f} images/s, which {actors:,} actors reach with a base")
    print(f"faster than {actors * driver_s:.1f} s an image, and {most:.0f} actors with one of 1 s. Then its memory:")
    print(f"paths and names, {held:.0f} bytes an image, are {gib:.1f} GiB. {IN_FLIGHT * actors:,} calls are in flight.")
    print("--slice I/N divides all of it among N drivers.")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--pause", type=float, default=0.05)
    parser.add_argument("--actors", type=int, default=1000)
    parser.add_argument("--total", type=int, default=10_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", args.images, [(320, 240)])
        items = [(path, path.name) for path in sorted((folder / "images").iterdir())]
        source = source_of(folder, args.pause)
        rates = {}
        print(f"{'':10} {'start s':>8} {'ms/image':>9} {'ms/image of one process':>24}")
        for engine, count in (("workers", 2), ("ray", 1), ("ray", 2)):
            found = rates[engine, count] = measured_rate(engine, count, source, items)
            print(f"{engine:8} {count} {found.start:8.1f} {found.wall_ms:9.1f} {found.process_ms:24.1f}")
        workers, ray = rates["workers", 2], rates["ray", 2]
        print(f"2 actors against 2 workers: {ray.wall_ms / workers.wall_ms:.2f}x the time of an image")
        print(f"efficiency from 1 to 2 actors: {rates['ray', 1].wall_ms / ray.wall_ms / 2:.2f}")
        driver = driver_ms(source_of(folder, 0.0), items, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"driver: {driver:.2f} ms of processor time an image with the store, peak memory {peak:.0f} MiB")
    print_simulation(args.actors, args.total, driver / 1000, item_bytes())


if __name__ == "__main__":
    main()
