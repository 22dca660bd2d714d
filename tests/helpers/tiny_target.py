"""A tiny model, trained for seconds, and what makes it find something, which such a one does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.targets import checkpoint_of
from helpers.commands import here
from helpers.tiny_training import TRAIN_OPTIONS, run_folder, write_coco


def save_trained(root: Path) -> None:
    """A run's folder whose model of `ant` and `bee` is trained for one epoch, by the command line."""
    data = write_coco(root.parent / "data", {"train": 4, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)
    run_folder(root, data, **TRAIN_OPTIONS)
    code, _, err = here(["train", str(root)])
    assert code == 0, err


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
