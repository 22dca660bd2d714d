"""Ends rfdetr's encoder after the last layer that the model reads.

rfdetr always makes DINOv2's twelve layers, and runs one more than it reads. The published sizes read the twelfth. A
model that reads fewer (`out_feature_indexes`) gives the same without the others, which would be in each checkpoint: 71
of 98 MB where two are read. rfdetr loads such a checkpoint too: it adds random layers, which it does not read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .rfdetr_import import import_rfdetr

_LAYER = re.compile(r"\.encoder\.encoder\.encoder\.layer\.(\d+)\.")


@contextlib.contextmanager
def short_encoder() -> Iterator[None]:
    """Inside, rfdetr builds encoders without the layers that are not read. Not for two threads at once."""
    module = import_rfdetr("rfdetr.models.backbone.dinov2")
    configure = module.WindowedDinov2WithRegistersConfig

    def configure_short(*, out_features: list[str], num_hidden_layers: int, **options: Any) -> Any:
        last = max(int(name.removeprefix("stage")) for name in out_features)
        return configure(out_features=out_features, num_hidden_layers=min(last, num_hidden_layers), **options)

    module.WindowedDinov2WithRegistersConfig = configure_short
    try:
        yield
    finally:
        module.WindowedDinov2WithRegistersConfig = configure


def encoder_layers(checkpoint: Path) -> int:
    """How many encoder layers the weights in a Lightning checkpoint have; 0 if it holds none of rfdetr's encoder."""
    import torch

    weights = torch.load(checkpoint, map_location="meta", weights_only=True, mmap=True).get("state_dict", {})
    found = [int(match[1]) for match in map(_LAYER.search, weights) if match]
    return max(found, default=-1) + 1
