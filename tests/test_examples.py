"""The examples run as they stand, on a tiny target."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main as cli
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, Instance
from autodistill_rfdetr_seg.dataset.dataset_index import read_index
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.targets import RFDETRSeg, checkpoint_of
from helpers.paths import ROOT
from helpers.shapes import disc
from helpers.tiny_pipeline import TINY

EXAMPLES = ROOT / "examples"


def main_of(name: str) -> Callable[..., Any]:
    """The example's `main`."""
    main: Callable[..., Any] = runpy.run_path(str(EXAMPLES / name))["main"]
    return main


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
    main = main_of("quickstart.py")
    ap = main(str(images), str(gold), str(tmp_path / "out"), epochs=1, **TINY["model"])
    assert ap is not None
    assert 0 <= ap <= 1
    assert "on 2 images" in capsys.readouterr().out
    assert (tmp_path / "out" / "training" / "checkpoint_best_total.pth").is_file()
    assert coco.read(tmp_path / "out" / "labeled" / "dataset" / "train").classes.names == ("mushroom",)


def test_own_base(tmp_path: Path) -> None:
    images = mushrooms(tmp_path / "images", 10, 3)
    dataset = main_of("own_base.py")(str(images), str(tmp_path / "run"))
    assert dataset.classes.names == ("blob",)
    assert sum(count["instances"] for count in dataset.counts.values()) == 10
    truth = {image.image_id: image.instances[0].rle for image in coco.read(images).images}
    for image in coco.read(dataset.root / "train").images:
        assert [i.rle for i in image.instances] == [truth[image.image_id]]
    # As its text says, the command line takes the file as well.
    base = f"{EXAMPLES / 'own_base.py'}:BrightBlobs"
    assert cli(["label", str(images), "--base", base, "--class", "blob", "--output", str(tmp_path / "cli"), "-q"]) == 0
    built = (read_index(tmp_path / name / "dataset") for name in ("run", "cli"))
    assert len({json.dumps(index["counts"]) for index in built}) == 1


def test_thresholds(tmp_path: Path) -> None:
    for at in range(10):
        pixels = np.full((64, 64, 3), 100, np.uint8)
        pixels[5:25, 5 + at : 21 + at] = (210, 30, 30)
        pixels[40:45, 5 + at : 9 + at] = (30, 200, 30)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{at}.png")
    everything, decided = main_of("thresholds.py")(str(tmp_path / "images"), str(tmp_path / "run"))
    assert sum(count["instances"] for count in everything.counts.values()) == 20
    # Bolts of 20 pixels score less than washers of 320, and less than the 0.3 that is asked of them.
    assert sum(count["instances"] for count in decided.counts.values()) == 10
    assert read_index(tmp_path / "run" / "dataset")["per_class"]["bolt"]["rejected"] == {"confidence": 10}
    assert len(list((tmp_path / "run" / "labels").glob("part-*.parquet"))) == 1


def test_score_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = mushrooms(tmp_path / "gold", 4, 5)
    data = json.loads((gold / coco.ANNOTATIONS).read_text())
    rows = [{key: one[key] for key in ("image_id", "category_id", "segmentation")} for one in data["annotations"]]
    (tmp_path / "results.json").write_text(json.dumps([{**row, "score": 0.8} for row in rows[:2]]))
    report = main_of("score_results.py")(str(gold), str(tmp_path / "results.json"))
    # Two of four found, both right: precision 1 up to a recall of one half, 51 of COCO's 101 points.
    assert report.mask["ap"] == pytest.approx(51 / 101)
    assert "Mushroom: AP" in capsys.readouterr().out


@pytest.mark.train
def test_predict_folder(speaking_run: Path, tmp_path: Path) -> None:
    images = mushrooms(tmp_path / "images", 3, 6)
    main = main_of("predict_folder.py")
    counts = main(str(speaking_run), str(images), str(tmp_path / "out"), confidence=0.05)
    assert set(counts) == {"6-0.png", "6-1.png", "6-2.png"} and min(counts.values()) > 0
    pairs = [[np.asarray(Image.open(folder / name)) for folder in (images, tmp_path / "out")] for name in counts]
    assert all(before.shape == after.shape and (before != after).any() for before, after in pairs)
    assert main(str(speaking_run), str(images), str(tmp_path / "none"), confidence=1.0) == dict.fromkeys(counts, 0)


@pytest.mark.train
def test_predict_video(speaking_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("trackers")
    from autodistill_rfdetr_seg.images.video_writer import VideoWriter

    images = mushrooms(tmp_path / "images", 1, 7)
    with VideoWriter(tmp_path / "clip.mp4", Fraction(5)) as writer:
        for _ in range(6):
            writer.write(open_image(images / "7-0.png").pixels)
    clip, out = str(tmp_path / "clip.mp4"), tmp_path / "out"
    seen = main_of("predict_video.py")(str(speaking_run), clip, str(out), confidence=0.1)
    # Nothing moves, so what is there is there in every frame, once the tracker is sure of it.
    assert seen and {name for name, _ in seen} <= {"ant", "bee"} and max(seen.values()) >= 4
    assert len((out / "clip.jsonl").read_text().splitlines()) == 6 and (out / "clip.mp4").is_file()


@pytest.mark.train
def test_next_round(speaking_run: Path, tmp_path: Path) -> None:
    images = mushrooms(tmp_path / "images", 3, 8)
    main = main_of("next_round.py")
    dataset = main(str(speaking_run), str(images), str(tmp_path / "all"), confidence=0.0, stability=0.0)
    assert dataset.classes.names == ("ant", "bee") and list(dataset.counts) == ["train"]
    rows = [row for told in coco.read_rows(dataset.root / "train").values() for row in told]
    assert rows and all(0 <= row["stability"] <= 1 for row in rows)
    sure = main(str(speaking_run), str(images), str(tmp_path / "sure"), confidence=1.0)
    assert sure.counts["train"] == {"images": 3, "instances": 0, "negatives": 3}


def test_import_corrections(tmp_path: Path) -> None:
    images = mushrooms(tmp_path / "images", 10, 9)
    run = tmp_path / "run"
    assert cli(["label", str(images), "--base", "threshold", "--class", "bright", "--output", str(run), "-q"]) == 0
    data = json.loads((run / "dataset" / "train" / coco.ANNOTATIONS).read_text())
    (image,) = (one["file_name"] for one in data["images"] if one["id"] == 1)
    data["annotations"] = [one for one in data["annotations"] if one["image_id"] != 1]
    (tmp_path / "corrected.json").write_text(json.dumps(data))
    before = read_index(run / "dataset")["counts"]["train"]["images"]
    summary = main_of("import_corrections.py")(str(run), str(tmp_path / "corrected.json"))
    assert (summary.imported, summary.unchanged) == (1, before - 1)
    assert [name for name, rows in coco.read_rows(run / "dataset" / "train").items() if not rows] == [image]


@pytest.mark.train
def test_export_bundle(speaking_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    images = mushrooms(tmp_path / "images", 1, 10)
    image, out = str(images / "10-0.png"), tmp_path / "bundle"
    found = main_of("export_bundle.py")(str(speaking_run), str(out), image, confidence=0.05)
    own = RFDETRSeg.from_checkpoint(checkpoint_of(speaking_run), device="cpu").predict(image, 0.05)
    assert [one["class_name"] for one in found] == list(own["class_name"]) and len(found) > 0
    assert np.allclose([one["score"] for one in found], own.confidence, atol=1e-3)
    assert (out / "requirements.txt").is_file() and "torch" not in (out / "requirements.txt").read_text()


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in tested
