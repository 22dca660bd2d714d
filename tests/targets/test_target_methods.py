"""What a target is asked for as methods is what the package's own functions say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from autodistill_rfdetr_seg import RFDETRSeg, evaluate_model, predict_images
from autodistill_rfdetr_seg.core.errors import UnknownNameError
from autodistill_rfdetr_seg.targets import checkpoint_of
from helpers.shapes import disc
from helpers.tiny_training import write_coco


@pytest.mark.train
def test_evaluate_benchmark_and_a_folder(speaking_run: Path, tmp_path: Path) -> None:
    target = RFDETRSeg.from_checkpoint(checkpoint_of(speaking_run), device="cpu")
    write_coco(tmp_path / "data", {"test": 2}, ((1, "ant"), (2, "bee")), used=2)
    gold = tmp_path / "data" / "test"
    report = target.evaluate(gold, score_floor=0.05, progress=False)
    again = evaluate_model(target, gold, score_floor=0.05, progress=False).to_dict()
    assert report.to_dict() | {"milliseconds": 0} == again | {"milliseconds": 0}
    assert report.images == 2
    with pytest.raises(UnknownNameError, match="did you mean 'formats'"):
        target.benchmark(format=["torch"])

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        Image.fromarray((disc(60, 80, 30 + 10 * number, 30, 9) * 200).astype("uint8")).convert("RGB").save(
            photos / f"{number}.png"
        )
    found = predict_images(target, photos, tmp_path / "found", confidence=0.05, progress=False)
    assert json.loads((tmp_path / "found" / "predictions.json").read_text())["info"]["checkpoint"].endswith(".pth")
    data = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert len(data["annotations"]) == sum(sum(counts.values()) for counts in found.counts.values()) > 0
