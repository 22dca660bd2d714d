"""The smallest target, for a pipeline."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "size": "nano",
    "epochs": 1,
    "batch_size": 4,
    "grad_accum_steps": 1,
    "model": {
        "pretrain_weights": None,
        "resolution": 48,
        "out_feature_indexes": [1, 2],
        "dec_layers": 1,
        "hidden_dim": 128,
        "group_detr": 1,
        "num_queries": 10,
        "num_select": 10,
    },
    "train": {"multi_scale": False, "use_ema": False},
}
