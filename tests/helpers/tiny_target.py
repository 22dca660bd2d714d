"""A run's folder with a tiny model in it that finds something, which one trained for seconds does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.targets import RFDETRSegNano, checkpoint_of
from helpers.tiny_training import QUICK, TINY, write_coco


def save_speaking(root: Path) -> Path:
    """`root/first`, a run with a model of `ant` and `bee`: trained for two steps, then made to speak up."""
    write_coco(root / "data", {"train": 4, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)
    folder = root / "first" / "training"
    RFDETRSegNano(device="cpu", **TINY).train(root / "data", output=folder, **QUICK | {"seed": 4}, epochs=1)
    make_speak(root / "first", [-2.0, -2.0, -9.0])
    return root / "first"


def make_speak(run: Path, bias: list[float]) -> None:
    """Every query of a run's model gets a score about `bias` (one for each class, and one for no class) and a mask.

    After two steps it finds nothing anywhere: scores are 0.03, and no pixel is in a mask.
    """
    import torch

    file = checkpoint_of(run)
    content: dict[str, Any] = torch.load(file, weights_only=True)
    content["model"]["class_embed.weight"] *= 5
    content["model"]["class_embed.bias"] = torch.tensor(bias)
    content["model"]["segmentation_head.bias"] += 32
    torch.save(content, file)
    record = json.loads((file.parent / "run.json").read_text()) | {"checkpoint_sha256": file_sha256(file)}
    (file.parent / "run.json").write_text(json.dumps(record))
