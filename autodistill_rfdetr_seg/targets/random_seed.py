"""Seeds the random generators of a process for a while."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def seeded(seed: int, device: str | None) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's generators inside the block; their states are restored after it.

    A model built from scratch draws its weights while it is built, so build it inside the block. `device` is None where
    nothing is computed: OpenVINO cannot convert a trace made in the mode that is exact on a CPU.
    """
    import torch

    keys = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    environment = {key: os.environ.get(key) for key in keys}
    python, legacy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    # rfdetr's mask losses are scripted: torch runs them one way at first and, optimized, another way later. On a CPU,
    # where all else is exact, the second training of a process would end in other weights than the first.
    optimized = torch.jit.optimized_execution(device != "cpu")
    with torch.random.fork_rng(devices=devices), optimized:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
            for key, value in environment.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
