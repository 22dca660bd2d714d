"""Gold images that look like images the target was trained or selected on do not count as held out."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import parse
from autodistill_rfdetr_seg.core.errors import MissingInputError, UsageError
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, Instance
from autodistill_rfdetr_seg.evaluation.gold_look_alikes import sentences
from autodistill_rfdetr_seg.evaluation.gold_sets import read_gold
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.images.perceptual_hash import nearest
from autodistill_rfdetr_seg.labels.base_source import source_of
from autodistill_rfdetr_seg.pipeline.stages import build_stage, label_stage
from autodistill_rfdetr_seg.system.config_files import save_run_config
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.tiny_pipeline import TINY

SIDE = 96


def scene(seed: int) -> np.ndarray[Any, Any]:
    """A picture of its own, with a bright red square."""
    rng = np.random.default_rng(seed)
    pixels = cv2.resize(rng.integers(0, 90, (6, 6, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    pixels[20:50, 30:70] = (250, 30, 30)
    return pixels


def save(path: Path, pixels: np.ndarray[Any, Any], side: int = SIDE, quality: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((side, side)).save(path, quality=quality)
    return path


def write_gold(folder: Path, images: dict[str, Path], first_id: int = 1) -> Path:
    """A gold set of the square in each of the images, whose ids count down from 100 and whose category id is 7."""
    entries = []
    for name, path in images.items():
        record = open_image(path, name).record
        mask = np.zeros((record.height, record.width), bool)
        scale = record.height / SIDE
        mask[int(20 * scale) : int(50 * scale), int(30 * scale) : int(70 * scale)] = True
        entries.append((name, ImageLabels(record, (Instance(0, masks.encode(mask), 1.0),))))
    path = folder / "gold.json"
    coco.write(path, entries, Classes(("square",)), {})
    data = json.loads(path.read_text())
    for row in data["annotations"]:
        row |= {"image_id": 100 - first_id - row["image_id"], "category_id": 7}
    for row in data["images"]:
        row["id"] = 100 - first_id - row["id"]
    data["categories"][0]["id"] = 7
    path.write_text(json.dumps(data))
    return path


def config_of(root: Path, gold: list[Path], **evaluation: Any) -> dict[str, Any]:
    return {
        "images": str(root / "photos"),
        "ontology": {"red": "square"},
        "base": {"name": "threshold"},
        "split": {"train": 0.7, "valid": 0.3, "test": 0.0},
        "target": TINY,
        "evaluation": {"gold": [str(path) for path in gold], **evaluation},
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFolder]:
    """Ten photos, and a run that has labelled and split them."""
    root = tmp_path_factory.mktemp("held-out")
    for seed in range(10):
        save(root / "photos" / f"{seed}.png", scene(seed))
    config, run = parse(config_of(root, [])), RunFolder(root / "run")
    label_stage(config, run, source_of(config), progress=False)
    build_stage(config, run, progress=False)
    save_run_config(run, config)
    return root, run


def saved_again(folder: Path, count: int, others: int) -> dict[str, Path]:
    """`count` of the run's photos, saved again and resized; and other pictures."""
    images = {f"{seed}.jpg": save(folder / f"{seed}.jpg", scene(seed), 64 + 40 * seed) for seed in range(count)}
    for seed in range(others):
        images[f"other-{seed}.jpg"] = save(folder / f"other-{seed}.jpg", scene(100 + seed))
    return images


def test_photos_saved_again_do_not_count_as_held_out(built: tuple[Path, RunFolder], tmp_path: Path) -> None:
    root, run = built
    path = write_gold(tmp_path, saved_again(tmp_path, 4, 3))
    gold = read_gold(parse(config_of(root, [path])), run)
    assert [image.image_id for image in gold.truth.images] == ["other-2.jpg", "other-1.jpg", "other-0.jpg"]
    assert len(gold.whole.truth.images) == 7
    assert gold.held_out is not None and (gold.held_out.images, gold.held_out.total) == (3, 7)
    split_of = {f"{at}.png": split for split in ("train", "valid") for at in range(10)
                if (run.dataset / split / f"{at}.png").is_file()}  # fmt: skip
    found = {one.image: one.like for one in gold.held_out.look_alikes}
    assert found == {f"{at}.jpg": f"{split_of[f'{at}.png']}/{at}.png" for at in range(4)}
    said = sentences(gold.held_out, 0.75)
    assert said[0].startswith("4 of 7 gold images look like images the target was trained on (first: ")
    assert said[0].endswith("These scores leave them out; with them the target's mask AP is 0.750.")


def test_a_gold_set_of_look_alikes_alone_is_called_not_held_out(built: tuple[Path, RunFolder], tmp_path: Path) -> None:
    root, run = built
    path = write_gold(tmp_path, saved_again(tmp_path, 3, 0))
    gold = read_gold(parse(config_of(root, [path])), run)
    assert len(gold.truth.images) == 3 and gold.held_out is not None
    assert sentences(gold.held_out, None)[0].endswith(": these scores are not held out.")
    # Those who know better may ask for equal content only.
    gold = read_gold(parse(config_of(root, [path], look_alikes=None)), run)
    assert gold.held_out is not None and (gold.held_out.images, gold.held_out.look_alikes) == (3, ())
    assert "were not searched for" in sentences(gold.held_out, None)[0]


def test_a_run_without_hashes_says_that_it_could_not_compare(built: tuple[Path, RunFolder], tmp_path: Path) -> None:
    root, run = built
    shutil.copytree(run.dataset, tmp_path / "run" / "dataset")
    path = write_gold(tmp_path, saved_again(tmp_path, 2, 0))
    gold = read_gold(parse(config_of(root, [path])), RunFolder(tmp_path / "run"))
    assert gold.held_out is not None and gold.held_out.problem is not None
    assert len(gold.truth.images) == 2
    assert sentences(gold.held_out, None) == (
        "Gold images were not compared with training images by how they look: the run has no label store with their "
        "hashes (it is a joined dataset).",
    )


def test_flat_pictures_are_counted_and_not_compared(built: tuple[Path, RunFolder], tmp_path: Path) -> None:
    root, run = built
    black = save(tmp_path / "black.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    path = write_gold(tmp_path, {"black.png": black, **saved_again(tmp_path, 1, 0)})
    gold = read_gold(parse(config_of(root, [path])), run)
    assert gold.held_out is not None and (gold.held_out.images, gold.held_out.not_compared) == (1, 1)
    assert "1 gold image and 0 training images have almost no structure" in sentences(gold.held_out, None)[-1]


def test_frames_of_a_video_between_the_labelled_ones(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from fractions import Fraction

    from autodistill_rfdetr_seg.images.video_writer import VideoWriter

    frames = [np.roll(scene(3), 2 * at, 1) for at in range(24)]
    with VideoWriter(tmp_path / "clip.mp4", Fraction(12)) as writer:
        for pixels in frames:
            writer.write(pixels)
    between = {f"{at}.png": save(tmp_path / f"{at}.png", frames[at]) for at in (3, 9, 15)}
    path = write_gold(tmp_path, {**between, "other.jpg": save(tmp_path / "other.jpg", scene(50))})
    data = config_of(tmp_path, [path]) | {"images": str(tmp_path / "clip.mp4"), "inputs": {"every": 4}}
    config, run = parse(data), RunFolder(tmp_path / "run")
    label_stage(config, run, source_of(config), progress=False)
    build_stage(config, run, progress=False)
    gold = read_gold(config, run)
    assert gold.held_out is not None
    assert {one.image for one in gold.held_out.look_alikes} == set(between)
    assert [image.image_id for image in gold.truth.images] == ["other.jpg"]


@pytest.mark.slow
def test_real_frames_of_the_video_that_was_labelled(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    data = config_of(tmp_path, [shared_data / "bottles_gold"]) | {"ontology": {"bright": "bottle"}}
    data |= {"images": str(shared_data / "video" / "bottle-detection.mp4"), "inputs": {"every": 60}}
    config, run = parse(data), RunFolder(tmp_path / "run")
    label_stage(config, run, source_of(config), progress=False)
    build_stage(config, run, progress=False)
    held_out = read_gold(config, run).held_out
    assert held_out is not None and (len(held_out.look_alikes), held_out.images) == (25, 0)


def test_a_thousand_gold_images_and_fifty_thousand_photos_take_seconds() -> None:
    rng = np.random.default_rng(0)
    among = rng.integers(0, 2**63, 50_000, dtype=np.uint64).tolist()
    wanted = [value ^ 0b1011 for value in among[:1000]]
    started = time.perf_counter()
    assert nearest(wanted, among) == [(at, 3) for at in range(1000)]
    assert time.perf_counter() - started < 20


@pytest.mark.train
def test_a_whole_evaluation_without_and_with_look_alikes(
    built: tuple[Path, RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = built
    mixed = write_gold(tmp_path, saved_again(tmp_path, 2, 2))
    args = ["evaluate", str(run.root), "-q", "--gold", str(mixed)]
    assert main(["train", str(run.root), "-q"]) == 0
    save_run_config(run, parse(config_of(root, [])))
    assert main(args) == 0
    out = capsys.readouterr().out
    assert "2 held-out images" in out and "base, all images" in out
    assert "note: 2 of 4 gold images look like images the target was trained on (first: " in out
    metrics = json.loads((run.evaluation / "metrics.json").read_text())
    assert (metrics["images"], metrics["all"]["images"]) == (2, 4)
    assert metrics["all"]["base"]["mask"]["ap50"] == pytest.approx(1)
    assert [one["image"] for one in metrics["held_out"]["look_alikes"]] == ["1.jpg", "0.jpg"]
    # What is on disk has the gold file's own ids, so that anyone can score it.
    rows = json.loads((run.evaluation / "base.json").read_text())
    assert {(row["image_id"], row["category_id"]) for row in rows} == {(98 - at, 7) for at in range(4)}
    assert main(["evaluate", "--predictions", str(run.evaluation / "base.json"), "--gold", str(mixed), "-q"]) == 0
    assert main(["report", str(run.root), "-q"]) == 0
    page = run.report.read_text()
    assert "2 of 4 gold images look like images the target was trained on" in page
    assert "All images, including look-alikes of training images" in page and "not held out.</strong>" not in page
    # A gold file with other ids of the same images is not taken for the one before.
    write_gold(tmp_path, saved_again(tmp_path, 2, 2), first_id=40)
    assert main([*args, "--gate", "held_out.images=2"]) == 0
    rows = json.loads((run.evaluation / "base.json").read_text())
    assert {row["image_id"] for row in rows} == {59 - at for at in range(4)}
    assert main([*args, "--gate", "held_out.images=3"]) == 5
    assert main([*args, "--set", "target.epochs=3"]) == 2
    assert "does not read the option 'target.epochs'" in capsys.readouterr().err
    # Two sets with the same ids: a file of results each, with the ids of its own gold file.
    folder = tmp_path / "seen"
    seen = write_gold(folder, saved_again(folder, 2, 0), first_id=40)
    assert main([*args, "--gold", str(seen), "--set", "evaluation.gates={}"]) == 0
    assert sorted(path.name for path in run.evaluation.glob("base*.json")) == ["base-gold-1.json", "base-gold-2.json"]
    metrics = json.loads((run.evaluation / "metrics.json").read_text())
    assert metrics["sets"]["gold-2"] == {"base": None, "target": None}
    assert main(["report", str(run.root), "-q"]) == 0
    assert main(["evaluate", str(run.root), "-q", "--gold", str(seen), "--set", "evaluation.gates={}"]) == 0
    assert "these scores are not held out" in capsys.readouterr().out
    assert sorted(path.name for path in run.evaluation.glob("base*.json")) == ["base.json"]
    assert main(["report", str(run.root), "-q"]) == 0
    assert "not held out.</strong>" in run.report.read_text()


def test_a_gold_set_is_given_once(built: tuple[Path, RunFolder], tmp_path: Path) -> None:
    root, run = built
    path = write_gold(tmp_path, saved_again(tmp_path, 1, 1))
    with pytest.raises(UsageError, match="given twice"):
        read_gold(parse(config_of(root, [path, tmp_path / "." / path.name])), run)


def test_a_gold_set_that_is_not_there(built: tuple[Path, RunFolder], tmp_path: Path) -> None:
    root, run = built
    with pytest.raises(MissingInputError):
        read_gold(parse(config_of(root, [tmp_path / "none.json"])), run)
