"""The examples run as they stand, on a tiny target."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from conftest import disc
from PIL import Image
from test_pipeline import TINY

from autodistill_rfdetr_seg import coco, masks
from autodistill_rfdetr_seg.images import open_image
from autodistill_rfdetr_seg.records import Classes, ImageLabels, Instance

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def mushrooms(folder: Path, count: int, seed: int) -> Path:
    """Bright discs on dark noise, with `_annotations.coco.json` beside them."""
    rng = np.random.default_rng(seed)
    entries = []
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(20, 40, (96, 96, 3)).astype(np.uint8)
        mask = disc(96, 96, *rng.integers(25, 70, 2), 14)
        pixels[mask] = 220
        Image.fromarray(pixels).save(folder / f"{seed}-{i}.png")
        record = open_image(folder / f"{seed}-{i}.png").record
        entries.append((f"{seed}-{i}.png", ImageLabels(record, (Instance(0, masks.encode(mask), 1.0),))))
    coco.write(folder / coco.ANNOTATIONS, entries, Classes(("Mushroom",)), {})
    return folder


@pytest.mark.train
def test_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, gold = mushrooms(tmp_path / "images", 10, 1), mushrooms(tmp_path / "gold", 2, 2)
    main = runpy.run_path(str(EXAMPLES / "quickstart.py"))["main"]
    ap = main(str(images), str(gold), str(tmp_path / "out"), epochs=1, **TINY["model"])
    assert ap is not None
    assert 0 <= ap <= 1
    assert "on 2 images" in capsys.readouterr().out
    assert (tmp_path / "out" / "training" / "checkpoint_best_total.pth").is_file()
    assert coco.read(tmp_path / "out" / "labelled" / "dataset" / "train").classes.names == ("mushroom",)


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in tested
