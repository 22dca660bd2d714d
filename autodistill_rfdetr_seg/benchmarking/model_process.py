"""A process with one model in it, and what it can be asked: memory and threads are then that model's alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.artifact_config import BenchmarkConfig
from ..core.config import DISPLAY_CONFIDENCE, EvaluationConfig
from ..core.errors import AutodistillSegError, DependencyError, UsageError
from ..core.types import GroundTruth
from ..images.rgb_image import RgbImage
from ..pipeline.labeling_costs import peak_memory, resident_memory
from ..system.child_processes import end_with_parent, leave_interrupts_to_parent
from ..system.devices import resolve_device
from ..system.file_hash import file_sha256
from .latency import measure

if TYPE_CHECKING:
    from ..targets import RFDETRSeg

# Seconds between two samples of the clocks; nvidia-smi takes some 50 ms of a core for each.
_SAMPLE = 0.5
# Seconds a process has to end by itself.
_GRACE = 10


@dataclass(frozen=True)
class Wanted:
    """A row to be measured: the model as it was named, its file or export's folder, and in what form."""

    model: str
    path: Path
    format: str
    precision: str
    batch_size: int


class NotRunError(Exception):
    """A row could not be measured; `failed` where it should have been possible here."""

    def __init__(self, reason: str, failed: bool) -> None:
        super().__init__(reason)
        self.reason, self.failed = reason, failed


class Child:
    """The process; `ask` it to do one of `Work`'s jobs, and `stop` it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, job: str, *args: Any, sample: Callable[[], None] | None = None) -> Any:
        """What the job gives; `sample` is called every now and then while it is done.

        Raises:
            NotRunError: it failed, or the process died.
        """
        try:
            self._connection.send((job, args))
            while sample is not None and not self._connection.poll(_SAMPLE):
                sample()
            done, value = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise NotRunError(f"Its process ended with exit code {self._process.exitcode}.", True) from error
        if not done:
            raise NotRunError(*value)
        return value

    def stop(self) -> None:
        """Ends the process, by itself where it can: it leaves nothing behind then."""
        self._connection.close()
        self._process.join(_GRACE)
        self._process.kill()
        self._process.join()


def _work(connection: Connection) -> None:
    leave_interrupts_to_parent()
    end_with_parent()
    work = Work()
    with contextlib.suppress(EOFError):
        while True:
            job, args = connection.recv()
            try:
                answer: tuple[bool, Any] = (True, getattr(work, job)(*args))
            except AutodistillSegError as error:
                answer = (False, (str(error), not isinstance(error, UsageError | DependencyError)))
            except Exception as error:  # noqa: BLE001 - a runtime has its own; the other rows are still measured
                answer = (False, (f"{type(error).__name__}: {' '.join(str(error).split())}", True))
            connection.send(answer)


class Work:
    """The jobs, done in the process."""

    def export(self, checkpoint: Path, folder: Path, format: str, precision: str, batch_size: int) -> tuple[Path, str]:
        """An export of the checkpoint and how far it agrees with torch: its run's own where that is of the same
        weights and batch size, else one that is made in `folder`, and kept only if it agrees."""
        from ..targets import RFDETRSeg
        from ..targets.export.exporter import default_output, export_target
        from ..targets.export.known_formats import find_format
        from ..targets.inference.export_record import EXPORT_FILE, read_export

        target = RFDETRSeg.from_checkpoint(checkpoint, device=find_format(format).exact_device)
        there = default_output(target, format, precision)
        if (there / EXPORT_FILE).is_file() and _is_of(read_export(there), target, batch_size):
            return there, "as it was exported before"
        done = export_target(target, folder, format=format, precision=precision, batch_size=batch_size, overwrite=True)
        return done.root, done.parity.sentence() if done.parity else "not compared"

    def load(self, wanted: Wanted, images: Sequence[RgbImage], device: str) -> dict[str, Any]:
        """Loads the model; the images it is going to be asked about are kept."""
        self._images, self._size, self._rest = images, wanted.batch_size, resident_memory()
        started = time.perf_counter()
        place, self._model = _load(wanted, device)
        model = self._model
        loaded = time.perf_counter()
        model.predict_batch(self._batch(0), DISPLAY_CONFIDENCE)
        return {
            "device": place,
            **_size(wanted, model),
            "input_size": model.input_size,
            "load_seconds": loaded - started,
            "first_ms": (time.perf_counter() - loaded) * 1000,
        }

    def _batch(self, number: int) -> list[RgbImage]:
        return [self._images[(number * self._size + at) % len(self._images)] for at in range(self._size)]

    def round(self, options: BenchmarkConfig, runs: int, begin: int) -> dict[str, Any]:
        """Milliseconds of `runs` calls, with the images from call `begin` on; instances and busy cores besides."""
        found = []
        cores = []

        def call(number: int) -> None:
            batch = self._batch(begin + number)
            clock, work = time.perf_counter(), time.process_time()
            found.append(sum(len(one) for one in self._model.predict_batch(batch, options.confidence)))
            cores.append((time.process_time() - work) / (time.perf_counter() - clock))

        times = measure(call, runs, options.warm_up, options.pause)
        counted = slice(options.warm_up, None)
        return {
            "ms": times,
            "instances": sum(found[counted]) / (runs * self._size),
            "cores": sum(cores[counted]) / runs,
        }

    def memory(self) -> dict[str, int | None]:
        """Bytes that the model took at most, beyond what the process held before; and threads, where torch runs it."""
        torch = sys.modules.get("torch")
        peak = peak_memory()
        return {
            "memory_bytes": None if peak is None or self._rest is None else max(0, peak - self._rest),
            "cuda_memory_bytes": torch.cuda.max_memory_allocated() if torch and torch.cuda.is_initialized() else None,
            "torch_threads": torch.get_num_threads() if torch else None,
        }

    def score(self, truth: GroundTruth, options: EvaluationConfig) -> Mapping[str, Any]:
        """The model on the gold set, by the one evaluator."""
        from ..evaluation.model_scores import evaluate_model

        given = options.model_dump(include={"score_floor", "max_detections", "area_from", "crowds"})
        return evaluate_model(self._model, truth, **given, progress=False).to_dict()


def _is_of(record: Mapping[str, Any], target: RFDETRSeg, batch_size: int) -> bool:
    """Whether an export is of a target's weights at their own resolution, for such batches, and agreed with torch."""
    assert target.checkpoint is not None
    made = (record.get("checkpoint_sha256"), record["model"]["input_size"], record["model"]["batch_size"])
    wanted = (file_sha256(target.checkpoint), target.detector.model.resolution, batch_size)
    return made == wanted and bool((record.get("parity") or {}).get("passed"))


def _load(wanted: Wanted, device: str) -> tuple[str, Any]:
    """A row's model on the device asked for, or on the best that its runtime has; which that is."""
    if device != "auto":
        return device, _open(wanted, device)
    from ..targets.export.known_formats import known_formats

    export_format = known_formats().get(wanted.format)
    *faster, last = export_format.devices if export_format is not None else (resolve_device(device),)
    for place in faster:
        # onnxruntime-gpu offers CUDA where there is none: https://github.com/microsoft/onnxruntime/issues/17801
        with contextlib.suppress(UsageError):
            return place, _open(wanted, place)
    return last, _open(wanted, last)


def _open(wanted: Wanted, device: str) -> Any:
    from ..targets import load_artifact
    from ..targets.inference.optimized_torch import TORCH, OptimizedModel

    if wanted.format == "yolo":
        from .ultralytics_model import YoloModel

        return YoloModel(wanted.path, wanted.precision, device)
    if wanted.format in TORCH and (wanted.format, wanted.precision) != ("torch", "fp32"):
        return OptimizedModel(wanted.path, wanted.format, wanted.precision, wanted.batch_size, device)
    return load_artifact(wanted.path, device)


def _size(wanted: Wanted, model: Any) -> dict[str, Any]:
    """Which RF-DETR Seg it is, nano, small …, and whether it computes what that size's published one does."""
    if wanted.format == "yolo":
        return {"size": None, "as_published": False}
    if hasattr(model, "spec"):
        of, same = model.spec["architecture"], model.spec.get("as_published", False)
    else:
        from ..targets.export.vendor_export import as_published

        of, same = model.detector.size, as_published(model.detector.model_config, model.input_size)
    return {"size": str(of).removeprefix("rfdetr-seg-"), "as_published": same}
