"""Photos of one red square each, and what labels, scores and configures a run of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, Instance
from autodistill_rfdetr_seg.images.image_opening import open_image
from helpers.shapes import disc
from helpers.tiny_pipeline import TINY

ONTOLOGY = '{"red": "square"}'


def photo(path: Path, at: int = 8) -> Path:
    rng = np.random.default_rng(at)
    pixels = rng.integers(90, 110, (64, 64, 3), np.uint8)
    pixels[at : at + 20, at : at + 16] = (210, 30, 30)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def label_args(photos: Path, output: Path, *more: str) -> list[str]:
    return [
        *("label", str(photos), "--base", "threshold", "--ontology", ONTOLOGY, "--output", str(output), "-q"),
        *more,
    ]


def scenes(folder: Path, count: int = 12) -> Path:
    """Photos of one red square each, in `images`, and the exact masks of all of them in `gold.json` beside."""
    entries = []
    for i in range(count):
        path = photo(folder / "images" / f"{i}.png", 3 + i)
        record = open_image(path, f"images/{i}.png").record
        mask = disc(64, 64, 0, 0, -1)
        mask[3 + i : 23 + i, 3 + i : 19 + i] = True
        entries.append((f"images/{i}.png", ImageLabels(record, (Instance(0, masks.encode(mask), 1.0),))))
    coco.write(folder / "gold.json", entries, Classes(("Square ",)), {})
    return folder


def config_of(folder: Path, **options: Any) -> dict[str, Any]:
    return {
        "images": str(folder / "images"),
        "ontology": {"red": "square"},
        "base": {"name": "threshold"},
        "split": {"train": 0.6, "valid": 0.2, "test": 0.2},
        "target": TINY,
        "evaluation": {"gold": [str(folder / "gold.json")]},
        **options,
    }


def written(path: Path, data: Any) -> Path:
    path.write_text(yaml.safe_dump(data))
    return path


def filled(folder: Path, count: int) -> Path:
    entries = []
    for at in range(count):
        path = photo(folder / f"{at}.png", 21 + at)
        label = Instance(0, masks.encode(np.ones((64, 64), bool)), 1.0)
        entries.append((path.name, ImageLabels(open_image(path, path.name).record, (label,))))
    coco.write(folder / coco.ANNOTATIONS, entries, Classes(("square",)), {})
    return folder
