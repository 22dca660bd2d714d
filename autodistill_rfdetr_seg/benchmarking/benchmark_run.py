"""A benchmark from models to a table: each row in a process of its own, all of them in turns."""

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
from .benchmark_subjects import Gold, find_gold, find_images, find_rows
from .benchmark_table import markdown
from .latency import Latency, drift, shares, turns
from .machine_state import Watch, gpu_number, machine
from .model_process import Child, NotRunError, Wanted

_PACKAGES = ("autodistill-rfdetr-seg", "rfdetr", "torch", "onnxruntime", "openvino", "tensorrt", "ultralytics", "numpy")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Benchmark:
    """What was measured: `rows`, a mapping each, and the rows that were `not_run`, with the reason.

    A row has `model`, `format`, `precision`, `device`, `size`, `as_published` (whether it has that size's own
    architecture and input), `input_size`, `latency` (milliseconds a batch: `median`, `p95`, `mean`, `least`, `most`),
    `round_medians`, `drift`, `images_per_second`, `cores` (busy, on average), `torch_threads`, `memory_bytes`,
    `cuda_memory_bytes`, `instances_per_image`, `load_seconds`, `first_ms`, `clocks`, `parity`, and `mask` and `box` as
    in `Report` (None without a gold set).
    """

    rows: tuple[Mapping[str, Any], ...]
    not_run: tuple[Mapping[str, Any], ...]
    about: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: machine, versions, options, images, gold set and all rows."""
        return {**self.about, "rows": list(self.rows), "not_run": list(self.not_run)}

    def to_markdown(self) -> str:
        """The table, and what must be known to read it."""
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
    """Latency and mask AP of the same artifact at the same precision, for each form of each model.

    Processes are spawned: in a script, call it under `if __name__ == "__main__":`.

    Args:
        models: a run's folder, a checkpoint, an export, a target that is trained, or a list of these.
        images: an image or folder to measure on; the gold set's, the run's held-out ones, or drawn ones by default.
        gold: annotated images, as `read_gold` takes them; by default the run's own. What was trained on is left out.
        yolo: weights of YOLO segmentation models to set beside (ultralytics must be installed).
        output: a folder for `benchmark.md`, `benchmark.json` and the exports that are made; none by default.
        overwrite: write into a folder that holds something.
        progress: a bar on stderr.
        options: those of `config.BenchmarkConfig` (`formats`, `precisions`, `runs`, `warm_up`, `pause` …).

    Raises:
        UsageError: an option is unknown or wrong, or `output` holds something.
        MissingInputError, DataError: a model, the images or the gold set are missing or wrong.
        DependencyError: a package for a format that is asked for, or ultralytics, is missing.
        TrainingError: not one row could be measured.
    """
    config: BenchmarkConfig = parse_options(BenchmarkConfig, options, "benchmark()")
    paths = [_path(model) for model in (models if isinstance(models, list | tuple) else [models])]
    weights = [Path(one) for one in ([yolo] if isinstance(yolo, str | os.PathLike) else yolo)]
    rows = find_rows(paths, weights, config)
    truth = find_gold(paths, None if gold is None else Path(gold))
    shown = find_images(None if images is None else Path(images), truth, paths, config.images)
    sides = sorted((pixels.shape[:2] for pixels in shown.pixels), key=lambda shape: shape[0] * shape[1])
    about = {
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "options": config.model_dump(mode="json"),
        "rounds": len(shares(config.runs, config.rounds)),
        "images": {"count": len(sides), "origin": shown.origin, "least": list(sides[0]), "most": list(sides[-1])},
        "decode_ms": dataclasses.asdict(Latency.of(shown.decode_ms)) if shown.decode_ms else None,
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
        race = _Race(rows, config, stack)
        race.export(exports)
        race.load(shown.pixels)
        race.run(progress)
        race.finish(truth)
    result = Benchmark(tuple(race.results), tuple(race.not_run), about)
    if not result.rows:
        reasons = "; ".join(str(one["reason"]) for one in result.not_run)
        raise TrainingError(f"Nothing could be measured: {reasons}")
    if output is not None:
        write_json(Path(output) / "benchmark.json", result.to_dict())
        write_text(Path(output) / "benchmark.md", result.to_markdown() + "\n")
    return result
    return result


def _path(model: Any) -> Path:
    """The path of a model that is named by it, or of a target's checkpoint."""
    if isinstance(model, str | os.PathLike):
        return Path(model)
    checkpoint = getattr(model, "checkpoint", None)
    if checkpoint is None:
        raise UsageError(
            "A model is measured in a process of its own, so it must be in a file.", "Train it, or give a path."
        )
    return Path(checkpoint)


class _Race:
    """The rows at work: a process each, alive from its loading to its score; only one of them computes at a time."""

    def __init__(self, rows: Sequence[Wanted], config: BenchmarkConfig, stack: contextlib.ExitStack) -> None:
        self._wanted = dict(enumerate(rows))
        self._config, self._stack = config, stack
        self._children: dict[int, Child] = {}
        self._watches: dict[int, Watch] = {}
        self._known: dict[int, dict[str, Any]] = {at: {"parity": None} for at in self._wanted}
        self._rounds: dict[int, list[dict[str, Any]]] = {at: [] for at in self._wanted}
        self.results: list[Mapping[str, Any]] = []
        self.not_run: list[Mapping[str, Any]] = []

    def export(self, folder: Path) -> None:
        """Rows of an exported format get their export, made in `folder` where there is none."""
        missing = {at: row for at, row in self._wanted.items() if row.format in known_formats() and row.path.is_file()}
        for checkpoint in dict.fromkeys(row.path for row in missing.values()):
            child = self._started()
            for at, row in missing.items():
                if row.path != checkpoint:
                    continue
                # Two paths may differ in nothing that a name can hold.
                name = f"{at + 1}-{Path(row.model).stem}-{row.format}-{row.precision}"
                _log.info("benchmark: %s in %s for %s", row.format, row.precision, row.model)
                with self._kept(at):
                    place, parity = child.ask(
                        "export", checkpoint, folder / name, row.format, row.precision, row.batch_size
                    )
                    self._wanted[at] = dataclasses.replace(row, path=place)
                    self._known[at]["parity"] = parity
            child.stop()

    def load(self, images: Sequence[RgbImage]) -> None:
        """Starts the processes, one after the other."""
        for at, row in list(self._wanted.items()):
            child = self._started()
            with self._kept(at):
                self._known[at] |= child.ask("load", row, images, self._config.device)
                device = self._known[at]["device"]
                self._watches[at] = Watch(gpu_number(device) if device.startswith("cuda") else None)
                self._children[at] = child

    def run(self, progress: bool) -> None:
        """All rounds, the rows of each in turns."""
        from tqdm import tqdm

        sizes = shares(self._config.runs, self._config.rounds)
        with tqdm(total=len(sizes) * len(self._children), desc="Measuring", unit="turn", disable=not progress) as bar:
            for number, runs in enumerate(sizes):
                for at in turns(list(self._children), number):
                    watch = self._watches[at]
                    with self._kept(at):
                        found = self._children[at].ask(
                            "round", self._config, runs, sum(sizes[:number]), sample=watch.sample
                        )
                        watch.sample()
                        self._rounds[at].append({**found, "runs": runs})
                    bar.update()

    def finish(self, gold: Gold | None) -> None:
        """Memory, then the score, then the end of each process."""
        for at, child in list(self._children.items()):
            with self._kept(at):
                memory = child.ask("memory")
                score = child.ask("score", gold.truth, gold.options) if gold else {"mask": None, "box": None}
                self.results.append(self._row(at, memory, score))
            child.stop()

    def _row(self, at: int, memory: Mapping[str, Any], score: Mapping[str, Any]) -> dict[str, Any]:
        row, rounds = self._wanted[at], self._rounds[at]
        latency = Latency.of([ms for one in rounds for ms in one["ms"]])
        medians = [median(one["ms"]) for one in rounds]
        weights = [one["runs"] / latency.runs for one in rounds]
        return {
            "model": row.model,
            "format": row.format,
            "precision": row.precision,
            "batch_size": row.batch_size,
            **self._known[at],
            "latency": dataclasses.asdict(latency),
            "round_medians": medians,
            "drift": drift(medians),
            "images_per_second": row.batch_size * 1000 / latency.mean,
            "instances_per_image": sum(w * one["instances"] for w, one in zip(weights, rounds, strict=True)),
            "cores": sum(w * one["cores"] for w, one in zip(weights, rounds, strict=True)),
            **memory,
            "clocks": self._watches[at].result(),
            "mask": score["mask"],
            "box": score["box"],
        }

    def _started(self) -> Child:
        child = Child()
        self._stack.callback(child.stop)
        return child

    @contextlib.contextmanager
    def _kept(self, at: int) -> Iterator[None]:
        """A row that fails inside is put aside with the reason; the others go on."""
        try:
            yield
        except NotRunError as error:
            row = self._wanted.pop(at)
            if at in self._children:
                self._children.pop(at).stop()
            named = {"model": row.model, "format": row.format, "precision": row.precision}
            self.not_run.append({**named, "reason": error.reason, "failed": error.failed})
            _log.warning("benchmark: %s %s %s was not run: %s", row.model, row.format, row.precision, error.reason)
