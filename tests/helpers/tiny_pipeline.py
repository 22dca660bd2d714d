"""The smallest target, for a pipeline."""

from __future__ import annotations

from typing import Any

from helpers.tiny_training import TINY as MODEL

TINY: dict[str, Any] = {
    "size": "nano",
    "epochs": 1,
    "batch_size": 4,
    "grad_accum_steps": 1,
    "model": MODEL,
    "train": {"multi_scale": False, "use_ema": False},
}
