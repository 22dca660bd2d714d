"""Checks a training before its first step: its dataset, memory and disk. An error stops training, a warning is logged.

`preflight_checks` looks at the dataset, `memory_estimate` estimates memory and disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...core.errors import DataError
from . import memory_estimate as memory
from . import preflight_checks as checks
from .dataset_survey import SplitSurvey
from .memory_estimate import GB, ModelShape
from .preflight_checks import Finding

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The options of a training that its memory and disk depend on.

    `device_memory` and `disk_free` are bytes, None where unknown; `copied` are bytes of images that cannot be linked;
    `start_classes` are the classes of the checkpoint that training starts from, None for published weights and from
    scratch.
    """

    shape: ModelShape
    batch_size: int
    grad_accum_steps: int
    devices: int
    nodes: int = 1
    eval_batch_size: int | None = None
    amp: bool = False
    ema: bool = True
    multi_scale: bool = True
    expanded_scales: bool = True
    native_masks: bool = False
    archives: int = 0
    on_gpu: bool = False
    device_memory: int | None = None
    disk_free: int | None = None
    copied: int = 0
    start_classes: tuple[str, ...] | None = None

    @property
    def effective_batch(self) -> int:
        """Images for each change of the weights."""
        return self.batch_size * self.grad_accum_steps * self.devices * self.nodes


@dataclass(frozen=True)
class Preflight:
    """The findings of all checks, and the `numbers` that they were made from."""

    findings: tuple[Finding, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop training."""
        return tuple(one for one in self.findings if one.severity == "error")

    def as_json(self) -> dict[str, Any]:
        """JSON-ready: `ok`, the findings, and the numbers."""
        return {"ok": not self.errors, "findings": [asdict(one) for one in self.findings], **self.numbers}

    def as_table(self) -> str:
        """The findings as a table for a terminal, each hint in a line of its own under its finding."""
        wide = max((len(one.check) for one in self.findings), default=0)
        lines = []
        for one in self.findings:
            lines.append(f"{one.severity:<7}  {one.check:<{wide}}  {one.message}")
            lines += [f"{'':<7}  {'':<{wide}}  {one.hint}"] if one.hint else []
        return "\n".join(lines)

    def log_or_raise(self) -> None:
        """Logs the warnings, and raises the first error.

        Raises:
            DataError: there is an error; further ones are logged.
        """
        first = next(iter(self.errors), None)
        for one in self.findings:
            if one.severity != "ok" and one is not first:
                _log.warning("%s: %s: %s%s", one.severity, one.check, one.message, f" {one.hint}" if one.hint else "")
        if first is not None:
            raise DataError(f"Preflight, {first.check}: {first.message}", first.hint)


def preflight(train: SplitSurvey, valid: SplitSurvey, plan: Plan) -> Preflight:
    """The findings of every check on the surveys of both splits."""
    files = checks.check_files(train, valid, plan.shape, plan.start_classes)
    findings = [*files, *_check_memory(train, valid, plan), *_check_disk(plan)]
    numbers = {
        "batch": {
            "batch_size": plan.batch_size,
            "grad_accum_steps": plan.grad_accum_steps,
            "devices": plan.devices,
            "nodes": plan.nodes,
            "effective": plan.effective_batch,
        },
        "memory_bytes": {"training": _training_bytes(train, plan), "validation": _validation_bytes(valid, plan)},
        "checkpoint_bytes": memory.checkpoint_bytes(plan.shape, ema=plan.ema, archives=plan.archives),
    }
    return Preflight(tuple(findings), numbers)


def _training_bytes(train: SplitSurvey, plan: Plan) -> int:
    side = plan.shape.largest_resolution(plan.multi_scale, plan.expanded_scales)
    need = memory.training_bytes(
        plan.shape,
        plan.batch_size,
        train.largest_batch(plan.batch_size),
        amp=plan.amp,
        ema=plan.ema,
        resolution=side,
    )
    return memory.gpu_bytes(need) if plan.on_gpu else need


def _validation_bytes(valid: SplitSurvey, plan: Plan) -> int:
    batch = plan.eval_batch_size or plan.batch_size
    cells = plan.shape.resolution // 4
    sizes = [(cells, cells)] * batch if plan.native_masks else valid.largest_images(batch)
    need = memory.validation_bytes(plan.shape, batch, sizes, amp=plan.amp, ema=plan.ema, gpu=plan.on_gpu)
    return memory.gpu_bytes(need) if plan.on_gpu else need


def _check_memory(train: SplitSurvey, valid: SplitSurvey, plan: Plan) -> Iterator[Finding]:
    hints = {
        "training": f"Halve batch_size ({plan.batch_size}) and double grad_accum_steps, or use a smaller model size.",
        "validation": "Use eval_batch_size=1, eval_masks_head_resolution=true (coarser mask AP), or smaller images.",
    }
    for phase, need in (("training", _training_bytes(train, plan)), ("validation", _validation_bytes(valid, plan))):
        available = plan.device_memory
        if available is None:
            yield Finding("ok", f"{phase} memory", f"about {need / GB:.1f} GB for the largest batch (estimate).")
            continue
        text = f"about {need / GB:.1f} GB for the largest batch (estimate), {available / GB:.1f} GB available."
        over = need > available
        yield Finding("warning" if over else "ok", f"{phase} memory", text, hints[phase] if over else None)


def _check_disk(plan: Plan) -> Iterator[Finding]:
    need = memory.checkpoint_bytes(plan.shape, ema=plan.ema, archives=plan.archives) + plan.copied
    copies = f", with {plan.copied / GB:.1f} GB of images copied from another disk" if plan.copied else ""
    text = f"checkpoints take up to about {need / GB:.1f} GB while training{copies}"
    if plan.disk_free is None:
        yield Finding("ok", "disk", f"{text}.")
    elif need > plan.disk_free:
        hint = "Free some space, or train into a folder on another disk."
        yield Finding("error", "disk", f"{text}, {plan.disk_free / GB:.1f} GB are free.", hint)
    else:
        yield Finding("ok", "disk", f"{text}, {plan.disk_free / GB:.1f} GB are free.")
