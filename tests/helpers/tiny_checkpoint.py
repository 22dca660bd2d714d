"""A checkpoint of random weights that finds something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import supervision as sv

from autodistill_rfdetr_seg.targets import vendor
from helpers.tiny_training import TINY

NAMES = ["ant", "Bee, 2nd"]


def save(file: Path) -> Path:
    """A checkpoint as rfdetr writes it, of a model that is sure of much and knows nothing."""
    import torch

    detector = vendor.build("nano", {**TINY, "resolution": 96, "num_classes": 2, "device": "cpu"})
    state = detector.model.model.state_dict()
    state["class_embed.weight"] *= 5
    # The third slot is of no class, and would win often.
    state["class_embed.bias"] = torch.tensor([-1.0, -1.0, 0.0])
    content = {"model": state, "args": {"class_names": NAMES}, "model_name": "RFDETRSegNano"}
    file.parent.mkdir(parents=True)
    torch.save(content | {"model_config": detector.model_config.model_dump()}, file)
    return file


def assert_same(one: sv.Detections, other: sv.Detections) -> None:
    """The same instances; masks may differ where a logit is all but 0."""
    assert len(one) == len(other) > 0
    assert one.class_id.tolist() == other.class_id.tolist()
    assert list(one.data["class_name"]) == list(other.data["class_name"])
    assert np.abs(one.confidence - other.confidence).max() < 1e-4
    assert np.abs(one.xyxy - other.xyxy).max() < 0.1
    assert one.mask.shape == other.mask.shape
    assert (one.mask != other.mask).mean() < 1e-4
