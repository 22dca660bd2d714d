"""A process with one model and its jobs: so the measured memory and threads are those of that model only."""

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

# Seconds between two samples of the clocks; nvidia-smi needs about 50 ms of a core for each.
_SAMPLE_INTERVAL = 0.5
# Seconds that a process gets to end itself.
_GRACE_PERIOD = 10


@dataclass(frozen=True)
class BenchmarkRow:
    """A row to measure: the model as the user named it, its file or the folder of its export, and its form."""

    model: str
    path: Path
    format: str
    precision: str
    batch_size: int


class NotRunError(Exception):
    """A row could not be measured; `failed` is True if it should have worked on this machine."""

    def __init__(self, reason: str, failed: bool) -> None:
        super().__init__(reason)
        self.reason, self.failed = reason, failed


class ModelProcess:
    """The process: `call` runs one of the jobs of `ModelJobs` in it, and `stop` ends it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve_jobs, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, job: str, *args: Any, sample: Callable[[], None] | None = None) -> Any:
        """Runs a job and returns its result; calls `sample` twice a second meanwhile.

        Raises:
            NotRunError: the job failed, or the process died.
        """
        try:
            self._connection.send((job, args))
            while sample is not None and not self._connection.poll(_SAMPLE_INTERVAL):
                sample()
            done, value = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise NotRunError(f"Its process ended with exit code {self._process.exitcode}.", True) from error
        if not done:
            raise NotRunError(*value)
        return value

    def stop(self) -> None:
        """Ends the process; it gets time to end itself and clean up first."""
        self._connection.close()
        self._process.join(_GRACE_PERIOD)
        self._process.kill()
        self._process.join()


def _serve_jobs(connection: Connection) -> None:
    leave_interrupts_to_parent()
    end_with_parent()
    jobs = ModelJobs()
    with contextlib.suppress(EOFError):
        while True:
            job, args = connection.recv()
            try:
                answer: tuple[bool, Any] = (True, getattr(jobs, job)(*args))
            except AutodistillSegError as error:
                answer = (False, (str(error), not isinstance(error, UsageError | DependencyError)))
            except Exception as error:  # noqa: BLE001 - runtimes raise their own types; the other rows continue
                answer = (False, (f"{type(error).__name__}: {' '.join(str(error).split())}", True))
            connection.send(answer)


class ModelJobs:
    """The jobs that run in the process of a model."""

    def export(self, checkpoint: Path, folder: Path, format: str, precision: str, batch_size: int) -> tuple[Path, str]:
        """An export of the checkpoint, and a sentence on how far it agrees with torch.

        It is the existing export of the run if that has the same weights and batch size. Otherwise it is made in
        `folder`, and kept only if it agrees with torch.
        """
        from ..targets import RFDETRSeg
        from ..targets.export.exporter import default_output, export_target
        from ..targets.export.known_formats import find_format
        from ..targets.inference.export_record import EXPORT_FILE, read_export

        target = RFDETRSeg.from_checkpoint(checkpoint, device=find_format(format).exact_device)
        existing = default_output(target, format, precision)
        if (existing / EXPORT_FILE).is_file() and _is_export_of(read_export(existing), target, batch_size):
            return existing, "exported earlier"
        done = export_target(target, folder, format=format, precision=precision, batch_size=batch_size, overwrite=True)
        return done.root, done.parity.sentence() if done.parity else "not compared"

    def load(self, row: BenchmarkRow, images: Sequence[RgbImage], device: str) -> dict[str, Any]:
        """Loads the model, keeps the images for the rounds, and predicts once."""
        self._images, self._size, self._memory_before = images, row.batch_size, resident_memory()
        started = time.perf_counter()
        used_device, self._model = _load(row, device)
        model = self._model
        loaded = time.perf_counter()
        model.predict_batch(self._batch(0), DISPLAY_CONFIDENCE)
        return {
            "device": used_device,
            **_size(row, model),
            "input_size": model.input_size,
            "load_seconds": loaded - started,
            "first_ms": (time.perf_counter() - loaded) * 1000,
        }

    def _batch(self, number: int) -> list[RgbImage]:
        return [self._images[(number * self._size + at) % len(self._images)] for at in range(self._size)]

    def round(self, options: BenchmarkConfig, runs: int, first: int) -> dict[str, Any]:
        """Milliseconds of `runs` calls, the first with batch number `first`, each until its dense masks are there;
        mean instances per image and busy cores; for each call the milliseconds of input, engine and masks.
        """
        instances = []
        cores = []
        stages: list[tuple[float, float, float]] = []

        def call(number: int) -> None:
            batch = self._batch(first + number)
            wall, cpu = time.perf_counter(), time.process_time()
            if hasattr(self._model, "predict_timed"):
                found, took = self._model.predict_timed(batch, options.confidence)
            else:
                found, took = self._model.predict_batch(batch, options.confidence), None
            started = time.perf_counter()
            # Masks are made when they are read, so they are read.
            instances.append(sum(len(one) for one in found if one.mask is not None or not len(one)))
            if took is not None:
                stages.append((took.input, took.engine, took.selection + time.perf_counter() - started))
            cores.append((time.process_time() - cpu) / (time.perf_counter() - wall))

        times = measure(call, runs, options.warm_up, options.pause)
        counted = slice(options.warm_up, None)
        return {
            "ms": times,
            "instances": sum(instances[counted]) / (runs * self._size),
            "cores": sum(cores[counted]) / runs,
            "stages": [[seconds * 1000 for seconds in one] for one in stages[counted]],
        }

    def memory(self) -> dict[str, int | None]:
        """Peak bytes of the model, without what the process used before; and the threads of torch if it is used."""
        torch = sys.modules.get("torch")
        peak = peak_memory()
        return {
            "memory_bytes": None if peak is None or self._memory_before is None else max(0, peak - self._memory_before),
            "cuda_memory_bytes": torch.cuda.max_memory_allocated() if torch and torch.cuda.is_initialized() else None,
            "torch_threads": torch.get_num_threads() if torch else None,
        }

    def score(self, truth: GroundTruth, options: EvaluationConfig) -> Mapping[str, Any]:
        """The scores of the model on the gold set."""
        from ..evaluation.model_scores import evaluate_model

        rules = options.model_dump(include={"score_floor", "max_detections", "area_from", "crowds"})
        return evaluate_model(self._model, truth, **rules, progress=False).to_dict()


def _is_export_of(record: Mapping[str, Any], target: RFDETRSeg, batch_size: int) -> bool:
    """Whether an export has the weights and resolution of the target, takes batches of that size (and not of smaller
    ones alone), and agreed with torch."""
    assert target.checkpoint is not None
    exported = (record.get("checkpoint_sha256"), record["model"]["input_size"])
    expected = (file_sha256(target.checkpoint), target.detector.model.resolution)
    takes = record["model"]["batch_size"] or min(batch_size, record["model"].get("most_images") or batch_size)
    return exported == expected and takes == batch_size and bool((record.get("parity") or {}).get("passed"))


def _load(row: BenchmarkRow, device: str) -> tuple[str, Any]:
    """The device and the model of a row, loaded there; for "auto" it is the best device of the runtime."""
    if device != "auto":
        return device, _open(row, device)
    from ..targets.export.known_formats import known_formats

    export_format = known_formats().get(row.format)
    *faster, last = export_format.devices if export_format is not None else (resolve_device(device),)
    for candidate in faster:
        # onnxruntime-gpu lists CUDA on machines without a GPU: https://github.com/microsoft/onnxruntime/issues/17801
        with contextlib.suppress(UsageError):
            return candidate, _open(row, candidate)
    return last, _open(row, last)


def _open(row: BenchmarkRow, device: str) -> Any:
    from ..targets import load_artifact
    from ..targets.inference.optimized_torch import TORCH, OptimizedModel

    if row.format == "yolo":
        from .ultralytics_model import YoloModel

        return YoloModel(row.path, row.precision, device)
    if row.format in TORCH and (row.format, row.precision) != ("torch", "fp32"):
        return OptimizedModel(row.path, row.format, row.precision, row.batch_size, device)
    return load_artifact(row.path, device)


def _size(row: BenchmarkRow, model: Any) -> dict[str, Any]:
    """The size of RF-DETR Seg (nano, small …), and whether the model has the published architecture and input of it."""
    if row.format == "yolo":
        return {"size": None, "as_published": False}
    if hasattr(model, "spec"):
        architecture, same = model.spec["architecture"], model.spec.get("as_published", False)
    else:
        from ..targets.export.vendor_export import as_published

        architecture = model.detector.size
        same = as_published(model.detector.model_config, model.input_size)
    return {"size": str(architecture).removeprefix("rfdetr-seg-"), "as_published": same}
