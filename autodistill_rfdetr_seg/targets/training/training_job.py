"""One training: checks its options, runs preflight, trains the model in one process or several, and records it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...core.config import MAX_MEGAPIXELS, TargetConfig
from ...core.errors import DependencyError, TrainingError, UsageError
from ...core.types import Run, SegDataset
from ...system.devices import gpu_count, gpu_memory, resolve_device
from ...system.files import read_json, write_json
from ...system.machine import disk_free, memory_gb
from ...system.versions import importable
from .. import vendor
from . import checkpoint_provenance
from . import memory_estimate as memory
from .device_launcher import fit_in_processes
from .preflight import Plan, Preflight, preflight
from .trainer import FitTask, build_and_fit
from .training_data import READER, TrainingData, find_dataset, survey_splits
from .training_folder import UNFINISHED, check_folder, claim_training_folder, publish, read_run, write_record
from .training_nodes import TrainingNode

# In the working folder: what node 0 trains, for the other nodes.
_TASK_FILE = ".task.json"
_PUBLISHING = 300.0  # seconds for node 0 to record the result


@dataclass(frozen=True)
class TrainingJob:
    """A training with its options resolved: `device` is a torch device, `data` the dataset, `folder` the output, `node`
    the machine among those that train together."""

    config: TargetConfig
    device: str
    data: TrainingData
    folder: Path
    node: TrainingNode = field(default_factory=TrainingNode)

    @classmethod
    def from_config(
        cls,
        config: TargetConfig,
        dataset: str | os.PathLike[str] | SegDataset,
        output: str | os.PathLike[str] | None,
        *,
        max_megapixels: float = MAX_MEGAPIXELS,
        progress: bool = True,
    ) -> TrainingJob:
        """The job of these options; raises as `RFDETRSeg.train`. Nothing is written."""
        device = resolve_device(config.device)
        _check_devices(config, device)
        node = TrainingNode.from_environment(config.nodes)
        vendor.check_train_options(config.train)
        for name in config.loggers:
            if name != "csv" and not importable(name):
                raise DependencyError(f"The logger {name} is not installed.", f"Install it with: pip install {name}")
        if config.preset is not None:
            gpu_bytes = gpu_memory(device)
            gb = None if gpu_bytes is None else gpu_bytes / memory.GB
            chosen = memory.choose_batch(config.preset, config.size, config.devices * config.nodes, gb, config.model)
            if chosen is not None:
                config = config.model_copy(update={"batch_size": chosen[0], "grad_accum_steps": chosen[1]})
        data = find_dataset(dataset, max_megapixels=max_megapixels, progress=progress)
        folder = Path(output) if output is not None else data.root.parent / "training"
        return cls(config.model_copy(update={"device": device}), device, data, folder, node)

    @property
    def train_options(self) -> dict[str, Any]:
        """rfdetr's training options that this package has no name for: its defaults, overridden by the user's."""
        # On 2 cores 8 images of 256 pixels load in 0.05 s and train in 1.1 s: a CPU gains nothing from workers.
        own: dict[str, Any] = {"num_workers": 0} if self.device == "cpu" else {}
        own |= {"checkpoint_interval": self.config.epochs + 1}
        own |= {name: name in self.config.loggers for name in ("tensorboard", "wandb")}
        if self.config.early_stopping is not None:
            own |= {"early_stopping": True, "early_stopping_patience": self.config.early_stopping}
        return {**own, **self.config.train}

    def preflight(self) -> Preflight:
        """The findings on dataset, memory and disk before the first step; reads the dataset's files."""
        return preflight(*survey_splits(self.data), self.plan())

    def plan(self) -> Plan:
        """The options that memory and disk depend on, and this machine's memory and disk."""
        config = self.config
        options = vendor.train_config({**self.train_options, "dataset_dir": None})
        gpu = gpu_memory(self.device)
        main = memory_gb()["available"]
        start = config.model.get("pretrain_weights")
        epochs = config.epochs // options.checkpoint_interval
        return Plan(
            shape=memory.ModelShape.from_options(config.size, config.model),
            # "auto" chooses a batch that fits: the estimate for one image says whether anything does.
            batch_size=1 if config.batch_size == "auto" else config.batch_size,
            grad_accum_steps=memory.EFFECTIVE_BATCH if config.batch_size == "auto" else config.grad_accum_steps,
            devices=config.devices,
            nodes=config.nodes,
            eval_batch_size=options.eval_batch_size,
            amp=gpu is not None and options.amp_dtype is not None,
            ema=options.use_ema,
            multi_scale=options.multi_scale.value != "off",
            expanded_scales=options.expanded_scales,
            native_masks=options.eval_masks_head_resolution,
            archives=epochs,
            on_gpu=gpu is not None,
            device_memory=gpu if gpu is not None else None if main is None else int(main * 2**30 / config.devices),
            disk_free=disk_free(self.folder),
            copied=self.data.copied_bytes(self.folder),
            start_classes=checkpoint_provenance.checkpoint_classes(Path(start)) if start else None,
        )

    def check(self, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> None:
        """Refuses a folder that must not be trained in, as `check_folder`, and start weights that would be moved away.

        Raises:
            UsageError: the weights to start from are in the unfinished training of the folder.
        """
        check_folder(self.folder, resume, overwrite)
        start, work = self.config.model.get("pretrain_weights"), self.folder / UNFINISHED
        if start and Path(start).resolve().is_relative_to(work.resolve()):
            raise UsageError(
                f"The weights to start from, {start}, are in {work}, which training clears.", "Copy them elsewhere."
            )

    def run(
        self,
        resume: str | os.PathLike[str] | bool | None,
        overwrite: bool,
        progress: bool,
        on_start: Callable[[Path], object] = lambda _: None,
    ) -> Run:
        """Trains, and leaves checkpoint and record in the folder.

        `on_start` is called with the working folder when all checks have passed, before the first step.
        """
        config, work_folder = self.config, self.folder / UNFINISHED
        fingerprints: list[str] = []
        task = self._task(progress)
        with contextlib.ExitStack() as stack:

            def start() -> Path | None:
                last = stack.enter_context(claim_training_folder(self.folder, resume, overwrite))
                fingerprints.append(self.data.prepare(work_folder, progress=progress))
                on_start(work_folder)
                return last

            if config.devices * config.nodes > 1:
                task = replace(task, resume=start())
                write_json(work_folder / _TASK_FILE, _shared(task))
                fit_in_processes(task, self.node)
            else:
                build_and_fit(task, start)
            if not (work_folder / vendor.CHECKPOINT).is_file():
                raise TrainingError(
                    f"No checkpoint was chosen in {work_folder}.",
                    "Let an epoch count: lower skip_best_epochs, or raise epochs.",
                )
            resolved = config.model_copy(update={"train": self.train_options})
            write_record(work_folder, resolved, fingerprints[0])
            publish(self.folder)
        return read_run(self.folder)

    def join(self, progress: bool) -> Run:
        """Trains as one of the other nodes: waits for node 0, and for the result that it writes.

        Raises:
            UsageError: node 0 was started with other options.
            TrainingError: node 0 does not start, or did not finish.
        """
        self.node.wait_for_first()
        work_folder = self.folder / UNFINISHED
        if not (work_folder / _TASK_FILE).is_file():
            raise TrainingError(
                f"Node 0 trains, but not in {work_folder} as this node sees it.",
                "The nodes must share a file system, and start the same command.",
            )
        shared, task = read_json(work_folder / _TASK_FILE), self._task(progress)
        own = json.loads(json.dumps(_shared(task)))
        for part in ("size", "model", "options"):
            if own[part] != shared[part]:
                raise UsageError(
                    f"Node {self.node.rank} was started with other options than node 0: {part} {own[part]} instead of "
                    f"{shared[part]}.",
                    "Start the same command on every node.",
                )
        fit_in_processes(replace(task, resume=Path(shared["resume"]) if shared["resume"] else None), self.node)
        deadline = time.monotonic() + _PUBLISHING
        while work_folder.exists():
            if time.monotonic() > deadline:
                raise TrainingError("Node 0 has not finished the training.", "See its messages.")
            time.sleep(0.2)
        return read_run(self.folder)

    def _task(self, progress: bool) -> FitTask:
        config, work_folder = self.config, self.folder / UNFINISHED
        named = config.model_dump(include={"epochs", "batch_size", "grad_accum_steps", "lr", "seed", "devices"})
        fixed = {
            "num_nodes": config.nodes,
            "dataset_dir": str(self.data.folder(work_folder).absolute()),
            "dataset_file": READER,
            "output_dir": str(work_folder.absolute()),
        }
        options = {**self.train_options, **named, **fixed}
        model = dict(config.model)
        return FitTask(config.size, model, options, self.device, None, progress, self.data.max_megapixels)


def _shared(task: FitTask) -> dict[str, Any]:
    """What all nodes must do alike, ready for JSON."""
    resume = None if task.resume is None else str(task.resume.absolute())
    return {"size": task.size, "model": task.model, "options": task.options, "resume": resume}


def _check_devices(config: TargetConfig, device: str) -> None:
    if config.devices * config.nodes == 1:
        return
    kind, _, index = device.partition(":")
    if index or kind not in ("cpu", "cuda"):
        several = f"{config.devices} devices" if config.devices > 1 else f"The devices of {config.nodes} nodes"
        raise UsageError(f"{several} cannot be {device!r}.", "Use device cuda or cpu, without a number.")
    if kind == "cuda" and gpu_count() < config.devices:
        raise UsageError(f"{config.devices} GPUs are requested; torch sees {gpu_count()}.")
    if config.batch_size == "auto" and config.preset is None:
        raise UsageError(
            "batch_size auto is for one device: several devices might find different sizes.",
            "Give a number, or a preset.",
        )


def check_preset_alone(preset: object, options: Mapping[str, Any]) -> None:
    """Refuses a preset together with an option that the preset chooses.

    Raises:
        UsageError: `options` has one of them as well.
    """
    both = [name for name in ("batch_size", "grad_accum_steps") if options.get(name) is not None]
    if preset is not None and both:
        raise UsageError(f"A preset chooses {both[0]}: give one of the two.")
