"""Trains with rfdetr's own parts, and sets their class count, device, progress and behavior on interruption."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.config import MAX_MEGAPIXELS
from ...core.errors import TrainingError, UsageError
from ...images.pillow_limit import pillow_accepts
from ...system.files import NO_SPACE
from ..encoder_depth import encoder_layers, short_encoder
from ..random_seed import seeded
from ..rfdetr_import import VENDOR_ERRORS, first_line, import_rfdetr
from ..vendor import BUILD_LOCK, build, train_config
from ..vendor_output import quiet
from .safe_writes import METRICS, write_safely

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitTask:
    """What is trained: `size` and rfdetr's `model` and training `options`, a torch `device`, the checkpoint to `resume`
    from."""

    size: str
    model: dict[str, Any]
    options: dict[str, Any]
    device: str
    resume: Path | None
    progress: bool
    max_megapixels: float = MAX_MEGAPIXELS


def build_and_fit(task: FitTask, on_built: Callable[[], Path | None] | None = None) -> None:
    """Builds the model and trains it, seeded by the option `seed`; raises as `fit`.

    `on_built` is called once the model is built; the checkpoint it returns replaces the task's `resume`.
    """
    with seeded(task.options["seed"], task.device):
        detector = build(task.size, {**task.model, "device": task.device})
        resume = task.resume if on_built is None else on_built()
        # RF-DETR opens the images with Pillow.
        with pillow_accepts(task.max_megapixels):
            fit(detector, task.options, task.device, resume, task.progress)


def fit(detector: Any, options: Mapping[str, Any], device: str, resume: Path | None, progress: bool) -> None:
    """Trains from the weights that `detector` was built with, and writes `checkpoint_best_total.pth` into
    `options["output_dir"]`.

    Uses rfdetr's documented parts (data module, model module, trainer) instead of its `train()`, which takes no
    callback; the class count comes from the dataset, as there.

    Raises:
        TrainingError: rfdetr or Lightning failed; the cause is attached.
    """
    kind, _, index = device.partition(":")
    accelerator = {"cuda": "gpu"}.get(kind, kind)
    placement: dict[str, Any] = {"devices": [int(index)]} if index else {}
    config = train_config({**options, "accelerator": accelerator, "resume": str(resume) if resume else None})
    training = import_rfdetr("rfdetr.training")
    try:
        with quiet(), _interruptible():
            data = training.RFDETRDataModule(detector.model_config, config)
            data.setup("fit")
            _set_class_count(detector, len(data.class_names))
            detector.model_config.model_name = type(detector).__name__
            if config.batch_size == "auto":
                _set_batch_size(detector, config, placement.get("devices"))
                data = training.RFDETRDataModule(detector.model_config, config)
            with BUILD_LOCK, _encoder_as_in(detector.model_config, config.resume):
                module = training.RFDETRModelModule(detector.model_config, config)
            # With `resume` rfdetr would write the metrics of before anew, in place.
            trainer = training.build_trainer(
                config.model_copy(update={"resume": None}),
                detector.model_config,
                accelerator=accelerator,
                enable_model_summary=False,
                **placement,
            )
            write_safely(trainer, Path(config.output_dir) / METRICS, resumes=bool(config.resume))
            trainer.callbacks.insert(0, _progress(config.epochs, progress and not config.progress_bar))
            trainer.callbacks.insert(0, _reseeding(config.seed))
            if trainer.global_rank == 0:
                _log_batch(config, trainer.world_size)
            trainer.fit(module, data, ckpt_path=config.resume, weights_only=True)
    except VENDOR_ERRORS as error:
        hint = "Lower batch_size (and raise grad_accum_steps)." if "out of memory" in str(error).lower() else None
        if config.num_nodes > 1 and hint is None:
            hint = "If another node has stopped, start the command on every node again, with --resume."
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            hint = "Free some disk space, and train again with --resume."
        raise TrainingError(f"Training failed: {first_line(error)}", hint) from error


def _encoder_as_in(model_config: Any, resume: str | None) -> contextlib.AbstractContextManager[None]:
    """Builds the encoder as short as it may be, or with all layers of a training to resume that was begun with them."""
    if resume and encoder_layers(Path(resume)) > max(model_config.out_feature_indexes):
        return contextlib.nullcontext()
    return short_encoder()


def _set_class_count(detector: Any, count: int) -> None:
    config = detector.model_config
    if "num_classes" in config.model_fields_set and config.num_classes < count:
        raise UsageError(
            f"The model was given num_classes={config.num_classes}; the dataset has {count}.",
            "Leave num_classes out: it is taken from the dataset.",
        )
    if "num_classes" not in config.model_fields_set:
        config.num_classes = count


def _set_batch_size(detector: Any, config: Any, devices: list[int] | None) -> None:
    result = import_rfdetr("rfdetr.training.auto_batch").resolve_auto_batch_config(
        model_context=detector.model, model_config=detector.model_config, train_config=config, devices=devices
    )
    config.batch_size, config.grad_accum_steps = result.safe_micro_batch, result.recommended_grad_accum_steps


def _log_batch(config: Any, devices: int) -> None:
    batch, steps = config.batch_size, config.grad_accum_steps
    total = batch * steps * devices
    text = "batch_size %d x grad_accum_steps %d x devices %d = %d images for each change of the weights"
    _log.info(text, batch, steps, devices, total)


def _reseeding(seed: int) -> Any:
    """A Lightning callback: each epoch's order and augmentation come from seed and epoch, not from what went before.

    So a run that resumes from `last.ckpt` (which has no generator's state) draws what an uninterrupted run would.
    """
    import random

    import numpy as np
    import torch
    from pytorch_lightning import Callback

    class Reseeding(Callback):
        started = False

        def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
            value = (seed + 7919 * (trainer.current_epoch + 1) + 104729 * trainer.global_rank) % 2**32
            random.seed(value)
            np.random.seed(value)
            torch.manual_seed(value)
            # Lightning makes the first epoch's loader before this, later ones after it; each loader draws one number.
            if not self.started and trainer.current_epoch > 0:
                torch.empty((), dtype=torch.int64).random_()
            self.started = True

    return Reseeding()


def _progress(epochs: int, shown: bool) -> Any:
    """A Lightning callback: one bar on stderr (none where that is no terminal), and a log line for each validation.

    The line holds the metrics of that validation. An epoch without one shows its loss only, in the bar and at level
    DEBUG: Lightning keeps the values of the last validation among its metrics.
    """
    from pytorch_lightning import Callback
    from tqdm import tqdm

    class Progress(Callback):
        bar: Any = None
        validated = False

        def on_train_start(self, trainer: Any, *_: Any) -> None:
            steps = trainer.num_training_batches
            start = trainer.current_epoch * steps
            hidden = None if shown and trainer.is_global_zero else True
            self.bar = tqdm(total=epochs * steps, initial=start, file=sys.stderr, disable=hidden, unit="batch")

        def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
            self.validated = False
            self.bar.set_description(f"epoch {trainer.current_epoch + 1}/{epochs}")

        def on_train_batch_end(self, *_: Any) -> None:
            self.bar.update()

        def on_validation_end(self, *_: Any) -> None:
            self.validated = True

        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            found = {"loss": "train/loss"}
            if self.validated:
                found |= {"mask AP": "val/segm_mAP_50_95", "AP50": "val/segm_mAP_50"}
            metrics = trainer.callback_metrics
            values = {name: f"{float(metrics[key]):.3f}" for name, key in found.items() if key in metrics}
            self.bar.set_postfix(values)
            text = ", ".join(f"{name} {value}" for name, value in values.items())
            if trainer.is_global_zero:
                level = logging.INFO if self.validated else logging.DEBUG
                _log.log(level, "epoch %d/%d: %s", trainer.current_epoch + 1, epochs, text)

        def teardown(self, *_: Any, **__: Any) -> None:
            if self.bar is not None:
                self.bar.close()

        on_exception = teardown

    return Progress()


class _Terminated(KeyboardInterrupt):
    exit_code = 128 + signal.SIGTERM


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, Ctrl-C leaves as `KeyboardInterrupt`: Lightning ignores SIGINT from then on and calls `sys.exit(1)`.

    What a handler of SIGTERM raises may be lost in torch's callbacks. Lightning notices the signal and exits with code
    0, which would look like a finished training.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):
            raise leaving.__context__ from None
        if type(leaving).__name__ == "SIGTERMException":
            raise _Terminated from leaving
        raise
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGINT, handler)
