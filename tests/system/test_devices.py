"""Which torch device a name means."""

from __future__ import annotations

import pytest
import torch

from autodistill_rfdetr_seg.core.errors import UsageError
from autodistill_rfdetr_seg.system.devices import resolve_device


def test_a_device_is_one_that_is_here() -> None:
    from rfdetr.config import DEVICE

    assert resolve_device("auto") == DEVICE
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="There is no device 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(UsageError, match=f"torch sees {torch.cuda.device_count()} CUDA devices"):
        resolve_device("cuda:99")
