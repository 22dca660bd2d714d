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
    read_config, build = module.get_config, module.DinoV2.__init__

    def short_build(self: Any, *args: Any, **options: Any) -> None:
        last = max(options.get("out_feature_indexes") or [0])

        def short_config(*asked: Any) -> dict[str, Any]:
            config = dict(read_config(*asked))
            if 0 < last < config["num_hidden_layers"]:
                config["num_hidden_layers"] = last
            return config

        module.get_config = short_config
        try:
            build(self, *args, **options)
        finally:
            module.get_config = read_config

    module.DinoV2.__init__ = short_build
    try:
        yield
    finally:
        module.DinoV2.__init__ = build


def encoder_layers(checkpoint: Path) -> int:
    """How many encoder layers the weights in a Lightning checkpoint have; 0 if it holds none of rfdetr's encoder."""
    import torch

    weights = torch.load(checkpoint, map_location="meta", weights_only=True, mmap=True).get("state_dict", {})
    found = [int(match[1]) for match in map(_LAYER.search, weights) if match]
    return max(found, default=-1) + 1
