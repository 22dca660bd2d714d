"""What can be known before the first step of training, and what to change: a table, JSON, or the error that stops it.

What the files tell is in `checks`, what memory and disk the plan wants in `memory`. An error stops training, a warning
is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...core.errors import DataError
from . import memory_estimate as memory
from . import preflight_checks as checks
from .dataset_survey import Survey
from .memory_estimate import GB, Shape
from .preflight_checks import Finding

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How training would go about it, as far as memory and disk depend on it.

    `device_memory` and `disk_free` are bytes, None where unknown; `copied` are bytes of images that cannot be linked;
    `start_classes` are the classes of the checkpoint that is started from, None for published weights and from scratch.
    """

    shape: Shape
    batch_size: int
    grad_accum_steps: int
    devices: int
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
        """Images that one change of the weights comes from."""
        return self.batch_size * self.grad_accum_steps * self.devices


@dataclass(frozen=True)
class Preflight:
    """The findings, worst first in each check's own order."""

    findings: tuple[Finding, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What training stops at."""
        return tuple(one for one in self.findings if one.severity == "error")

    def as_json(self) -> dict[str, Any]:
        """JSON-ready: findings, and the numbers they were made from."""
        return {"ok": not self.errors, "findings": [asdict(one) for one in self.findings], **self.numbers}

    def as_table(self) -> str:
        """The findings as a table for a terminal, each hint in a line of its own under what it is about."""
        wide = max((len(one.check) for one in self.findings), default=0)
        lines = []
        for one in self.findings:
            lines.append(f"{one.severity:<7}  {one.check:<{wide}}  {one.message}")
            lines += [f"{'':<7}  {'':<{wide}}  {one.hint}"] if one.hint else []
        return "\n".join(lines)

    def tell(self) -> None:
        """Logs the warnings.

        Raises:
            DataError: there is an error; the first is named, the others are logged.
        """
        first = next(iter(self.errors), None)
        for one in self.findings:
            if one.severity != "ok" and one is not first:
                _log.warning("%s: %s: %s%s", one.severity, one.check, one.message, f" {one.hint}" if one.hint else "")
        if first is not None:
            raise DataError(f"Preflight, {first.check}: {first.message}", first.hint)


def preflight(train: Survey, valid: Survey, plan: Plan) -> Preflight:
    """Every check, on the surveys of both splits."""
    files = checks.of_files(train, valid, plan.shape, plan.start_classes)
    findings = [*files, *_memory(train, valid, plan), *_disk(plan)]
    shown = {
        "batch": {
            "batch_size": plan.batch_size,
            "grad_accum_steps": plan.grad_accum_steps,
            "devices": plan.devices,
            "effective": plan.effective_batch,
        },
        "memory_bytes": {"training": _training(train, plan), "validation": _validation(valid, plan)},
        "checkpoint_bytes": memory.checkpoints(plan.shape, ema=plan.ema, archives=plan.archives),
    }
    return Preflight(tuple(findings), shown)


def _training(train: Survey, plan: Plan) -> int:
    side = plan.shape.largest_resolution(plan.multi_scale, plan.expanded_scales)
    need = memory.training(
        plan.shape,
        plan.batch_size,
        train.largest_batch(plan.batch_size),
        amp=plan.amp,
        ema=plan.ema,
        resolution=side,
    )
    return memory.on_gpu(need) if plan.on_gpu else need


def _validation(valid: Survey, plan: Plan) -> int:
    batch = plan.eval_batch_size or plan.batch_size
    cells = plan.shape.resolution // 4
    sizes = [(cells, cells)] * batch if plan.native_masks else valid.largest_images(batch)
    need = memory.validation(plan.shape, batch, sizes, amp=plan.amp, ema=plan.ema, gpu=plan.on_gpu)
    return memory.on_gpu(need) if plan.on_gpu else need


def _memory(train: Survey, valid: Survey, plan: Plan) -> Iterator[Finding]:
    hints = {
        "training": f"Halve batch_size ({plan.batch_size}) and double grad_accum_steps, or take a smaller size.",
        "validation": "eval_batch_size=1, eval_masks_head_resolution=true (coarser mask AP), or smaller images.",
    }
    for phase, need in (("training", _training(train, plan)), ("validation", _validation(valid, plan))):
        there = plan.device_memory
        if there is None:
            yield Finding("ok", f"{phase} memory", f"about {need / GB:.1f} GB for the largest batch (estimate).")
            continue
        text = f"about {need / GB:.1f} GB for the largest batch (estimate), {there / GB:.1f} GB there."
        over = need > there
        yield Finding("warning" if over else "ok", f"{phase} memory", text, hints[phase] if over else None)


def _disk(plan: Plan) -> Iterator[Finding]:
    need = memory.checkpoints(plan.shape, ema=plan.ema, archives=plan.archives) + plan.copied
    copies = f", with {plan.copied / GB:.1f} GB of images copied from another disk" if plan.copied else ""
    text = f"checkpoints take up to about {need / GB:.1f} GB while training{copies}"
    if plan.disk_free is None:
        yield Finding("ok", "disk", f"{text}.")
    elif need > plan.disk_free:
        hint = "Free some, or train into a folder on another disk."
        yield Finding("error", "disk", f"{text}, {plan.disk_free / GB:.1f} GB are free.", hint)
    else:
        yield Finding("ok", "disk", f"{text}, {plan.disk_free / GB:.1f} GB are free.")
