"""A dataset of red squares, and options with which a target trains on it in seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autodistill_rfdetr_seg.core.config import PipelineConfig
from autodistill_rfdetr_seg.dataset.dataset_index import annotations_fingerprint
from autodistill_rfdetr_seg.system.config_files import save_run_config
from autodistill_rfdetr_seg.system.run_folder import RunFolder

WIDTH, HEIGHT = 96, 72

SQUARE = (220, 30, 30)

TINY: dict[str, Any] = {
    "pretrain_weights": None,
    "resolution": 48,
    "out_feature_indexes": [1, 2],
    "dec_layers": 1,
    "hidden_dim": 128,
    "group_detr": 1,
    "num_queries": 8,
    "num_select": 8,
}


QUICK: dict[str, Any] = {
    "batch_size": 2,
    "grad_accum_steps": 1,
    "lr": 1e-3,
    "lr_encoder": 1e-3,
    "use_ema": False,
    "multi_scale": False,
    "seed": 3,
    "progress": False,
}


TRAIN_OPTIONS: dict[str, Any] = {
    "epochs": 1,
    "device": "cpu",
    "model": TINY,
    "batch_size": 2,
    "grad_accum_steps": 1,
    "lr": 1e-3,
    "seed": 4,
    "train": {"lr_encoder": 1e-3, "use_ema": False, "multi_scale": False},
}


def draw(index: int) -> tuple[np.ndarray, tuple[int, int]]:
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    x, y = 5 + 7 * index, 10 + 3 * index
    image[y : y + 24, x : x + 24] = SQUARE
    return image, (x, y)


def write_coco(root: Path, splits: dict[str, int], categories: tuple[tuple[int, str], ...], used: int) -> Path:
    """Red squares; every one is of the category `used`, the others are in the list only."""
    for split, count in splits.items():
        folder = root / split
        folder.mkdir(parents=True)
        images, annotations = [], []
        for i in range(count):
            pixels, (x, y) = draw(i)
            Image.fromarray(pixels).save(folder / f"{i}.png")
            images.append({"id": i + 1, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT})
            corners = [x, y, x + 24, y, x + 24, y + 24, x, y + 24]
            one = {"id": i + 1, "image_id": i + 1, "category_id": used, "iscrowd": 0, "area": 576}
            annotations.append(one | {"bbox": [x, y, 24, 24], "segmentation": [corners]})
        listed = [{"id": i, "name": name} for i, name in categories]
        content = {"images": images, "annotations": annotations, "categories": listed}
        (folder / "_annotations.coco.json").write_text(json.dumps(content))
    return root


def run_folder(root: Path, coco: Path, **target: Any) -> RunFolder:
    """RUN as `label` and `build` leave it, its options in pipeline.yaml."""
    run = RunFolder(root)
    config = {"images": str(root), "ontology": {"red": "bee"}, "target": target}
    save_run_config(run, PipelineConfig.model_validate(config))
    shutil.copytree(coco, run.dataset)
    index = {"classes": ["ant", "bee"], "counts": {}, "fingerprint": annotations_fingerprint(coco), "kept": 6}
    (run.dataset / "dataset.json").write_text(json.dumps(index))
    return run
