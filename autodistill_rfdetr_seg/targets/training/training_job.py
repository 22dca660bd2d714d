"""One training from options to record: what is asked for, checked; preflight; the trainer in one process or several."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.config import MAX_MEGAPIXELS, TargetConfig
from ...core.errors import DependencyError, TrainingError, UsageError
from ...core.types import Run, SegDataset
from ...system.machine import disk_free, memory_gb
from ...system.versions import importable
from .. import vendor
from . import checkpoint_provenance as provenance
from . import device_launcher as launching
from . import memory_estimate as memory
from . import trainer as fitting
from .preflight import Plan, Preflight, preflight
from .training_data import READER, TrainingData, find_dataset, survey
from .training_folder import UNFINISHED, check_folder, claimed, publish, read_run, record


@dataclass(frozen=True)
class Job:
    """A training that is asked for: resolved options, `place` (a torch device), dataset, output folder."""

    config: TargetConfig
    place: str
    data: TrainingData
    folder: Path

    @classmethod
    def of(
        cls,
        config: TargetConfig,
        dataset: str | os.PathLike[str] | SegDataset,
        output: str | os.PathLike[str] | None,
        *,
        max_megapixels: float = MAX_MEGAPIXELS,
        progress: bool = True,
    ) -> Job:
        """The job of these options; raises as `RFDETRSeg.train`. Nothing is written."""
        place = vendor.resolve_device(config.device)
        _check_devices(config, place)
        vendor.check_train_options(config.train)
        for name in config.loggers:
            if name != "csv" and not importable(name):
                raise DependencyError(f"The logger {name} is not installed.", f"Install it with: pip install {name}")
        if config.preset is not None:
            gb = vendor.gpu_memory(place)
            there = None if gb is None else gb / memory.GB
            chosen = memory.choose(config.preset, config.size, config.devices, there, config.model)
            if chosen is not None:
                config = config.model_copy(update={"batch_size": chosen[0], "grad_accum_steps": chosen[1]})
        data = find_dataset(dataset, max_megapixels=max_megapixels, progress=progress)
        folder = Path(output) if output is not None else data.root.parent / "training"
        return cls(config.model_copy(update={"device": place}), place, data, folder)

    @property
    def train_options(self) -> dict[str, Any]:
        """rfdetr's training options beyond those that this package names: the user's over our defaults."""
        # On 2 cores 8 images of 256 pixels load in 0.05 s and train in 1.1 s: a CPU gains nothing from workers.
        own: dict[str, Any] = {"num_workers": 0} if self.place == "cpu" else {}
        own |= {"checkpoint_interval": self.config.epochs + 1}
        own |= {name: name in self.config.loggers for name in ("tensorboard", "wandb")}
        if self.config.early_stopping is not None:
            own |= {"early_stopping": True, "early_stopping_patience": self.config.early_stopping}
        return {**own, **self.config.train}

    def preflight(self) -> Preflight:
        """What is to be known before the first step; reads the dataset's files."""
        return preflight(*survey(self.data), self.plan())

    def plan(self) -> Plan:
        """What memory and disk depend on, this machine's included."""
        config = self.config
        given = {**self.train_options, "dataset_dir": None}
        options = vendor.train_config(given)
        gpu = vendor.gpu_memory(self.place)
        main = memory_gb()["available"]
        start = config.model.get("pretrain_weights")
        epochs = config.epochs // options.checkpoint_interval
        return Plan(
            shape=memory.Shape.of(config.size, config.model),
            # "auto" takes what fits: the estimate for one image says whether anything does.
            batch_size=1 if config.batch_size == "auto" else config.batch_size,
            grad_accum_steps=memory.EFFECTIVE_BATCH if config.batch_size == "auto" else config.grad_accum_steps,
            devices=config.devices,
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
            start_classes=provenance.checkpoint_classes(Path(start)) if start else None,
        )

    def check(self, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> None:
        """Refuses a folder that is not to be trained in, as `check_folder`, and a start that would be moved away.

        Raises:
            UsageError: the weights to start from lie in what is under way in the folder.
        """
        check_folder(self.folder, resume, overwrite)
        start, work = self.config.model.get("pretrain_weights"), self.folder / UNFINISHED
        if start and Path(start).resolve().is_relative_to(work.resolve()):
            raise UsageError(f"The weights to start from, {start}, lie in {work}.", "Copy them elsewhere.")

    def run(
        self,
        resume: str | os.PathLike[str] | bool | None,
        overwrite: bool,
        progress: bool,
        begun: Callable[[Path], object] = lambda _: None,
    ) -> Run:
        """Trains, and leaves checkpoint and record in the folder.

        `begun` is called once all that can be checked before the first step is, with the folder where it is worked.
        """
        config, under_way = self.config, self.folder / UNFINISHED
        named = config.model_dump(include={"epochs", "batch_size", "grad_accum_steps", "lr", "seed", "devices"})
        fixed = {
            "dataset_dir": str(self.data.folder(under_way).absolute()),
            "dataset_file": READER,
            "output_dir": str(under_way.absolute()),
        }
        prints: list[str] = []
        work = fitting.Work(
            config.size,
            dict(config.model),
            {**self.train_options, **named, **fixed},
            self.place,
            None,
            progress,
            self.data.max_megapixels,
        )
        with contextlib.ExitStack() as held:

            def begin() -> Path | None:
                last = held.enter_context(claimed(self.folder, resume, overwrite))
                prints.append(self.data.prepare(under_way, progress=progress))
                begun(under_way)
                return last

            if config.devices > 1:
                launching.fit_in_processes(replace(work, resume=begin()))
            else:
                fitting.build_and_fit(work, begin)
            if not (under_way / vendor.CHECKPOINT).is_file():
                raise TrainingError(
                    f"No checkpoint was chosen in {under_way}.", "Validate within epochs: see skip_best_epochs."
                )
            resolved = config.model_copy(update={"train": self.train_options})
            record(under_way, resolved, prints[0])
            publish(self.folder)
        return read_run(self.folder)


def _check_devices(config: TargetConfig, place: str) -> None:
    if config.devices == 1:
        return
    kind, _, index = place.partition(":")
    if index or kind not in ("cpu", "cuda"):
        raise UsageError(f"{config.devices} devices cannot be {place!r}.", "Use device cuda or cpu, without a number.")
    if kind == "cuda" and vendor.gpu_count() < config.devices:
        raise UsageError(f"{config.devices} GPUs were asked for; torch sees {vendor.gpu_count()}.")
    if config.batch_size == "auto" and config.preset is None:
        raise UsageError(
            "batch_size auto is for one device: each of several might find another.", "Give a number, or a preset."
        )


def only_one(preset: object, given: Mapping[str, Any]) -> None:
    """Refuses a preset beside what it chooses.

    Raises:
        UsageError: `given` has one of them as well.
    """
    both = [name for name in ("batch_size", "grad_accum_steps") if given.get(name) is not None]
    if preset is not None and both:
        raise UsageError(f"A preset chooses {both[0]}: give one of the two.")
