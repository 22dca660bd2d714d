"""Runs a benchmark, from models to a table: each row has its own process, and the rows take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..core.artifact_config import BenchmarkConfig
from ..core.config import options as parse_options
from ..core.errors import TrainingError, UsageError
from ..images.rgb_image import RgbImage
from ..system.files import claim_output, write_json, write_text
from ..system.versions import versions
from ..targets.export.known_formats import known_formats
from .benchmark_subjects import BenchmarkGold, find_gold, find_images, find_rows
from .benchmark_table import markdown
from .latency import Latency, drift, rotated, round_sizes
from .machine_state import ClockMonitor, gpu_number, machine
from .model_process import BenchmarkRow, ModelProcess, NotRunError

_PACKAGES = ("autodistill-rfdetr-seg", "rfdetr", "torch", "onnxruntime", "openvino", "tensorrt", "ultralytics", "numpy")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Benchmark:
    """The measured `rows`, a mapping each, and the rows that could `not_run`, with the reason.

    A row has `model`, `format`, `precision`, `device`, `size`, `as_published` (whether it has the published
    architecture and input of that size), `input_size`, `latency` (milliseconds per batch: `median`, `p95`, `mean`,
    `least`, `most`), `stages` (medians of `input`, `engine` and `masks`, empty where they are not known apart),
    `round_medians`, `drift`, `images_per_second`, `cores` (busy, on average), `torch_threads`,
    `memory_bytes`, `cuda_memory_bytes`, `instances_per_image`, `load_seconds`, `first_ms`, `clocks`, `parity`, and
    `mask` and `box` as in `Report` (None without a gold set).
    """

    rows: tuple[Mapping[str, Any], ...]
    not_run: tuple[Mapping[str, Any], ...]
    about: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data: machine, versions, options, images, gold set and all rows."""
        return {**self.about, "rows": list(self.rows), "not_run": list(self.not_run)}

    def to_markdown(self) -> str:
        """The table, and notes on how to read it."""
        return markdown(self.to_dict())


def benchmark(
    models: Any,
    images: str | os.PathLike[str] | None = None,
    gold: str | os.PathLike[str] | None = None,
    *,
    yolo: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Benchmark:
    """Measures latency and mask AP of each model, in each format and precision.

    Processes are spawned: in a script, call it under `if __name__ == "__main__":`.

    Args:
        models: the folder of a run, a checkpoint, an export, a trained target, or a list of these.
        images: an image or folder to measure on; by default the images of the gold set, the held-out images of the
            run, or drawn images.
        gold: annotated images, as for `read_gold`; by default those of the run. Training images are left out.
        yolo: weights of YOLO segmentation models to compare with (ultralytics must be installed).
        output: a folder for `benchmark.md`, `benchmark.json` and the exports made; by default nothing is written.
        overwrite: write into a folder that is not empty.
        progress: show a progress bar on stderr.
        options: the options of `config.BenchmarkConfig` (`formats`, `precisions`, `runs`, `warm_up`, `pause` …).

    Raises:
        UsageError: an option is unknown or invalid, or `output` is not empty.
        MissingInputError, DataError: a model, the images or the gold set are missing or invalid.
        DependencyError: a package for a requested format, or ultralytics, is missing.
        TrainingError: no row could be measured.
    """
    config: BenchmarkConfig = parse_options(BenchmarkConfig, options, "benchmark()")
    paths = [_path(model) for model in (models if isinstance(models, list | tuple) else [models])]
    weights = [Path(one) for one in ([yolo] if isinstance(yolo, str | os.PathLike) else yolo)]
    rows = find_rows(paths, weights, config)
    truth = find_gold(paths, None if gold is None else Path(gold))
    measured = find_images(None if images is None else Path(images), truth, paths, config.images)
    sides = sorted((pixels.shape[:2] for pixels in measured.pixels), key=lambda shape: shape[0] * shape[1])
    about = {
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "options": config.model_dump(mode="json"),
        "rounds": len(round_sizes(config.runs, config.rounds)),
        "images": {"count": len(sides), "origin": measured.origin, "least": list(sides[0]), "most": list(sides[-1])},
        "decode_ms": dataclasses.asdict(Latency.from_times(measured.decode_ms)) if measured.decode_ms else None,
        "gold": None
        if truth is None
        else {
            "images": len(truth.truth.images),
            "instances": sum(not i.crowd for image in truth.truth.images for i in image.instances),
            "left_out": truth.left_out,
            "score_floor": truth.options.score_floor,
        },
    }
    with contextlib.ExitStack() as stack:
        if output is None:
            exports = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autodistill-seg-")))
        else:
            claim_output(Path(output), resume=False, overwrite=overwrite)
            exports = Path(output) / "exports"
        runner = _Runner(rows, config, stack)
        runner.export(exports)
        runner.load(measured.pixels)
        runner.run(progress)
        runner.finish(truth)
    result = Benchmark(tuple(runner.results), tuple(runner.not_run), about)
    if not result.rows:
        reasons = "; ".join(str(one["reason"]) for one in result.not_run)
        raise TrainingError(f"Nothing could be measured: {reasons}")
    if output is not None:
        write_json(Path(output) / "benchmark.json", result.to_dict())
        write_text(Path(output) / "benchmark.md", result.to_markdown() + "\n")
    return result


def _path(model: Any) -> Path:
    """The path itself, or the path of a target's checkpoint."""
    if isinstance(model, str | os.PathLike):
        return Path(model)
    checkpoint = getattr(model, "checkpoint", None)
    if checkpoint is None:
        raise UsageError(
            "A model is measured in a separate process, so it must be in a file.", "Train it, or give a path."
        )
    return Path(checkpoint)


def _stage_medians(stages: Sequence[Sequence[float]]) -> dict[str, float]:
    columns = [median(column) for column in zip(*stages, strict=True)]
    return dict(zip(("input", "engine", "masks"), columns, strict=True)) if columns else {}


class _Runner:
    """Measures the rows: each has a process from its loading to its score, and only one computes at a time."""

    def __init__(self, rows: Sequence[BenchmarkRow], config: BenchmarkConfig, stack: contextlib.ExitStack) -> None:
        self._pending = dict(enumerate(rows))
        self._config, self._stack = config, stack
        self._processes: dict[int, ModelProcess] = {}
        self._monitors: dict[int, ClockMonitor] = {}
        self._facts: dict[int, dict[str, Any]] = {at: {"parity": None} for at in self._pending}
        self._rounds: dict[int, list[dict[str, Any]]] = {at: [] for at in self._pending}
        self.results: list[Mapping[str, Any]] = []
        self.not_run: list[Mapping[str, Any]] = []

    def export(self, folder: Path) -> None:
        """Finds the export of each row with an exported format, or makes it in `folder`."""
        missing = {at: row for at, row in self._pending.items() if row.format in known_formats() and row.path.is_file()}
        for checkpoint in dict.fromkeys(row.path for row in missing.values()):
            process = self._start_process()
            for at, row in missing.items():
                if row.path != checkpoint:
                    continue
                # The number keeps names apart if the paths of two models end in the same name.
                name = f"{at + 1}-{Path(row.model).stem}-{row.format}-{row.precision}"
                _log.info("benchmark: %s in %s for %s", row.format, row.precision, row.model)
                with self._dropping_failed(at):
                    export, parity = process.call(
                        "export", checkpoint, folder / name, row.format, row.precision, row.batch_size
                    )
                    self._pending[at] = dataclasses.replace(row, path=export)
                    self._facts[at]["parity"] = parity
            process.stop()

    def load(self, images: Sequence[RgbImage]) -> None:
        """Starts the processes, one after the other."""
        for at, row in list(self._pending.items()):
            process = self._start_process()
            with self._dropping_failed(at):
                self._facts[at] |= process.call("load", row, images, self._config.device)
                device = self._facts[at]["device"]
                self._monitors[at] = ClockMonitor(gpu_number(device) if device.startswith("cuda") else None)
                self._processes[at] = process

    def run(self, progress: bool) -> None:
        """Runs all rounds; in each round the rows take turns."""
        from tqdm import tqdm

        sizes = round_sizes(self._config.runs, self._config.rounds)
        with tqdm(total=len(sizes) * len(self._processes), desc="Measuring", unit="turn", disable=not progress) as bar:
            for number, runs in enumerate(sizes):
                for at in rotated(list(self._processes), number):
                    monitor = self._monitors[at]
                    with self._dropping_failed(at):
                        found = self._processes[at].call(
                            "round", self._config, runs, sum(sizes[:number]), sample=monitor.sample
                        )
                        monitor.sample()
                        self._rounds[at].append({**found, "runs": runs})
                    bar.update()

    def finish(self, gold: BenchmarkGold | None) -> None:
        """Measures memory and the score of each row, and ends its process."""
        for at, process in list(self._processes.items()):
            with self._dropping_failed(at):
                memory = process.call("memory")
                score = process.call("score", gold.truth, gold.options) if gold else {"mask": None, "box": None}
                self.results.append(self._row(at, memory, score))
            process.stop()

    def _row(self, at: int, memory: Mapping[str, Any], score: Mapping[str, Any]) -> dict[str, Any]:
        row, rounds = self._pending[at], self._rounds[at]
        latency = Latency.from_times([ms for one in rounds for ms in one["ms"]])
        medians = [median(one["ms"]) for one in rounds]
        weights = [one["runs"] / latency.runs for one in rounds]
        return {
            "model": row.model,
            "format": row.format,
            "precision": row.precision,
            "batch_size": row.batch_size,
            **self._facts[at],
            "latency": dataclasses.asdict(latency),
            "stages": _stage_medians([stages for one in rounds for stages in one["stages"]]),
            "round_medians": medians,
            "drift": drift(medians),
            "images_per_second": row.batch_size * 1000 / latency.mean,
            "instances_per_image": sum(w * one["instances"] for w, one in zip(weights, rounds, strict=True)),
            "cores": sum(w * one["cores"] for w, one in zip(weights, rounds, strict=True)),
            **memory,
            "clocks": self._monitors[at].result(),
            "mask": score["mask"],
            "box": score["box"],
        }

    def _start_process(self) -> ModelProcess:
        process = ModelProcess()
        self._stack.callback(process.stop)
        return process

    @contextlib.contextmanager
    def _dropping_failed(self, at: int) -> Iterator[None]:
        """Moves the row to `not_run` if it fails; the others continue."""
        try:
            yield
        except NotRunError as error:
            row = self._pending.pop(at)
            if at in self._processes:
                self._processes.pop(at).stop()
            name = {"model": row.model, "format": row.format, "precision": row.precision}
            self.not_run.append({**name, "reason": error.reason, "failed": error.failed})
            _log.warning("benchmark: %s %s %s was not run: %s", row.model, row.format, row.precision, error.reason)
