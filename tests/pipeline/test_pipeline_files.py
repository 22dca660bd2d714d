"""What lies in `pipelines/` runs: the files with what their comments say to change, a tiny target, and drawn images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.bases.registry import find_base
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, Instance
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.system.config_files import load, read_run_config
from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.system.files import read_json
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from autodistill_rfdetr_seg.targets import vendor
from helpers.paths import TESTS
from helpers.pipeline_scripts import PIPELINES, script
from helpers.shapes import disc
from helpers.square_photos import config_of, filled, photo, scenes, written
from helpers.tiny_pipeline import TINY

pytestmark = pytest.mark.train


def tiny(changes: Mapping[str, Any]) -> list[str]:
    """`--set` for each change, and for a tiny target in place of the published weights."""
    own = {f"target.{key}": TINY[key] for key in ("epochs", "batch_size", "grad_accum_steps", "model", "train")}
    own |= {"target.size": "nano"}
    if not any(key.startswith("evaluation.") for key in changes):
        own["evaluation"] = {"max_detections": 300}
    return [
        f"--set={key}={yaml.safe_dump(value, default_flow_style=True, sort_keys=False)}"
        for key, value in {**own, **changes}.items()
    ]


def run_file(name: str, output: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    assert main(["run", str(PIPELINES / name), "--output", str(output), "-q", *tiny(changes)]) == 0
    metrics: dict[str, Any] = json.loads((output / "evaluation" / "metrics.json").read_text())
    return metrics


def boxes(run: Path, split: str) -> dict[str, list[tuple[float, ...]]]:
    """The boxes of each image of a run's dataset."""
    found = coco.read(run / "dataset" / split).images
    return {image.image_id: [masks.bbox_xywh(i.rle) for i in image.instances] for image in found}


def test_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from autodistill_rfdetr_seg.images.video_writer import VideoWriter

    with VideoWriter(tmp_path / "belt.mp4", Fraction(10)) as writer:
        for at in range(100):
            pixels = np.full((64, 160, 3), 90, np.uint8)
            pixels[20:44, at : at + 32] = (220, 30, 30)
            writer.write(pixels)
    folder = scenes(tmp_path, 3)
    changes = {
        "images": str(tmp_path / "belt.mp4"),
        "ontology": {"red": "Square"},
        "base.name": "threshold",
        "evaluation": {"gold": [str(folder / "gold.json")]},
    }
    metrics = run_file("video.yaml", tmp_path / "run", changes)
    # Ten seconds, two frames of each; no share for a test split, and the gold is none of the frames.
    places = [entry["split"] for entry in read_json(tmp_path / "run" / "dataset" / "dataset.json")["images"].values()]
    assert len(places) == 20 and places.count("valid") >= 2 and "test" not in places
    assert (metrics["images"], metrics["images_left_out"], metrics["reference"]) == (3, 0, "gold")
    assert metrics["base"]["mask"]["ap50"] == pytest.approx(1)
    for found in boxes(tmp_path / "run", "train").values():
        ((_, y, width, height),) = found
        assert np.allclose((y, width, height), (20, 32, 24), atol=2)


def test_aerial_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth: dict[str, list[tuple[int, int]]] = {}
    (tmp_path / "aerial").mkdir()
    for number in range(6):
        pixels = rng.integers(70, 90, (300, 450, 3), np.uint8)
        # One on the seam of tiles of 160 with an overlap of a quarter, the rest where they fall; none touches another.
        truth[f"{number}"] = [(117 + 2 * number, 30), *((60 * i + 20, int(rng.integers(60, 280))) for i in range(6))]
        for x, y in truth[f"{number}"]:
            pixels[y : y + 12, x : x + 14] = (230, 225, 240)
        Image.fromarray(pixels).save(tmp_path / "aerial" / f"{number}.png")
    changes = {
        "images": str(tmp_path / "aerial"),
        "ontology": {"bright": "roof"},
        "base.name": "threshold",
        "base.args": {"min_area": 20},
        "base.tiles": 160,
        "split": {"train": 0.6, "valid": 0.2, "test": 0.2, "near_duplicates": None},
    }
    metrics = run_file("aerial-tiles.yaml", tmp_path / "run", changes)
    assert (metrics["reference"], metrics["max_detections"]) == ("base labels", 300)
    saved = load(tmp_path / "run" / "pipeline.yaml").base
    assert (saved.tiles, saved.overlap) == (160, 0.25)
    for name, found in boxes(tmp_path / "run", "train").items():
        corners = sorted((x, y) for x, y, _, _ in found)
        assert len(corners) == 7 and np.allclose(corners, sorted(truth[Path(name).stem]), atol=2)
        assert np.allclose([box[2:] for box in found], (14, 12), atol=2)


def mushrooms(folder: Path, count: int, objects: int) -> Path:
    """Dark soil with bright caps, and a gold set whose `area` is the box's, as the real one's is."""
    entries = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels = rng.integers(40, 60, (400, 400, 3), np.uint8)
        found = []
        for at in rng.permutation(100)[:objects]:
            mask = disc(400, 400, int(20 + at % 10 * 40), int(20 + at // 10 * 40), 17)
            pixels[mask] = (225, 220, 210)
            found.append(Instance(0, masks.encode(mask), 1.0))
        path = folder / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        entries.append((path.name, ImageLabels(open_image(path, path.name).record, tuple(found))))
    coco.write(folder / coco.ANNOTATIONS, entries, Classes(("mushroom",)), {})
    data = json.loads((folder / coco.ANNOTATIONS).read_text())
    for one in data["annotations"]:
        one["area"] = one["bbox"][2] * one["bbox"][3]
    (folder / coco.ANNOTATIONS).write_text(json.dumps(data))
    return folder


def test_mushrooms(tmp_path: Path) -> None:
    photos, gold = mushrooms(tmp_path / "photos", 8, 40), mushrooms(tmp_path / "gold", 2, 60)
    changes = {"images": str(photos), "split.train": 0.75, "split.valid": 0.25, "evaluation.gold": [str(gold)]}
    metrics = run_file("mushrooms.yaml", tmp_path / "run", changes)
    assert (metrics["reference"], metrics["images"], metrics["instances"]) == ("gold", 2, 120)
    assert metrics["max_detections"] == 500
    # A cap is small by its mask (901 pixels), as the file wants it, and not by its box (35 by 35).
    mask = metrics["base"]["mask"]
    assert mask["ap50"] == pytest.approx(1) and mask["ap_small"] == pytest.approx(mask["ap"])
    assert all(len(found) == 40 for found in boxes(tmp_path / "run", "train").values())


def test_fixed_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("av", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    from autodistill_rfdetr_seg.images.video_writer import VideoWriter
    from helpers import tiny_onnx

    with VideoWriter(tmp_path / "bottles.mp4", Fraction(10)) as writer:
        for at in range(40):
            pixels = np.full((64, 160, 3), 90, np.uint8)
            pixels[20:44, 2 * at : 2 * at + 32] = (230, 20, 20)
            writer.write(pixels)
    # One bottle, all of the frame; the file's threshold takes it, and leaves out what scores less.
    tiny_onnx.save_detector(tmp_path / "models" / "detector.onnx", [[0, 0, 64, 64, 0.5, 39], [0, 0, 9, 9, 0.3, 39]])
    tiny_onnx.save_sam(tmp_path / "models")
    folder = scenes(tmp_path, 3)
    # Arguments of a base are counted from where it is called, its own file from the pipeline file's folder.
    monkeypatch.chdir(tmp_path)
    changes = {
        "images": str(tmp_path / "bottles.mp4"),
        "ontology": {"bottle": "Square"},
        "evaluation": {"gold": [str(folder / "gold.json")]},
    }
    metrics = run_file("fixed_camera.yaml", tmp_path / "run", changes)
    assert (metrics["images"], metrics["reference"]) == (3, "gold")
    saved = load(tmp_path / "run" / "pipeline.yaml").base
    assert saved.name == f"{PIPELINES.parent / 'examples' / 'own_base.py'}:OnnxDetector"
    found = boxes(tmp_path / "run", "train") | boxes(tmp_path / "run", "valid")
    assert len(found) == 16  # four seconds, four frames of each
    for ((_, y, width, height),) in found.values():
        assert np.allclose((y, width, height), (20, 32, 24), atol=3)
    account = read_json(tmp_path / "run" / "labels" / "labels.json")["args"]
    assert account["floor"] == 0.4 and account["weights"] == {"sha256": file_sha256(Path("models", "detector.onnx"))}


@pytest.mark.parametrize("name", sorted(path.name for path in PIPELINES.glob("*.yaml")))
def test_every_file_is_one_as_it_stands(name: str) -> None:
    config = load(PIPELINES / name)
    vendor.model_config(config.target.size, config.target.model)
    vendor.check_train_options(config.target.train)
    assert find_base(config.base.name) is not None


def test_grounded_sam_hf(tmp_path: Path) -> None:
    from helpers import tiny_dino, tiny_sam

    folder = scenes(tmp_path, 8)
    changes = {
        "images": str(folder / "images"),
        "ontology": {"a red cat": "cup", "a dog": "plate"},
        "base.args.model": str(tiny_dino.save_tiny_dino(tmp_path / "dino")),
        "base.args.segmenter_model": str(tiny_sam.save("sam2", tmp_path / "sam2")),
        # Random weights score anything.
        **{"base.args.box_threshold": 0.0, "base.args.text_threshold": 0.0, "base.args.thresholds": {"a dog": 0.0}},
        **{"base.args.negatives": ["a toy"], "base.args.device": "cpu"},
        **{"refine": {"confidence": {"cup": 0.0, "plate": 0.0}}, "split": {"train": 0.5, "valid": 0.25, "test": 0.25}},
    }
    metrics = run_file("grounded-sam-hf-small.yaml", tmp_path / "run", changes)
    assert metrics["classes"] == ["cup", "plate"] and metrics["reference"] == "base labels"
    rows = [row for told in coco.read_rows(tmp_path / "run" / "dataset" / "train").values() for row in told]
    assert rows and all("stability" in row and "mask_score" in row for row in rows)


def test_grounded_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("autodistill_grounded_sam")
    from helpers import tiny_grounded_sam

    tiny_grounded_sam.shrink_sam()
    monkeypatch.setenv("HOME", str(tiny_grounded_sam.save(tmp_path / "home")))
    # Low and wide: groundingdino makes the least of these.
    for at in range(4):
        pixels = np.random.default_rng(at).integers(0, 256, (8, 160, 3), np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{at}.png")
    changes = {
        "images": str(tmp_path / "photos"),
        "ontology": {"a red dog": "dog", "puppy": "dog"},
        # Random weights score anything.
        "base.args": {"box_threshold": -1.0, "text_threshold": -1.0},
        **{"refine": {"confidence": {"dog": 0.0}}, "split": {"train": 0.5, "valid": 0.25, "test": 0.25}},
    }
    metrics = run_file("grounded-sam-nano.yaml", tmp_path / "run", changes)
    assert metrics["classes"] == ["dog"] and metrics["reference"] == "base labels"
    assert load(tmp_path / "run" / "pipeline.yaml").base.name == "grounded-sam"


# What a person gives for a gold set: every image is filled by its object, as are the masks of a model made to speak.


def test_self_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from helpers.tiny_target import make_speak

    folder = scenes(tmp_path, 8)
    for at in range(4):
        photo(tmp_path / "a" / f"{at}.png", 30 + at)
        photo(tmp_path / "b" / f"{at}.png", 36 + at)
    gold = filled(tmp_path / "gold", 3)
    options = config_of(folder, evaluation={"gold": [str(gold)], "gates": {"target.mask.ap50": 0.9}})
    options["split"] = {"train": 0.75, "valid": 0.25, "test": 0}
    file = written(tmp_path / "p.yaml", options)
    out = tmp_path / "out"
    args = [str(file), "--output", str(out), "-q", "--set=target.device=cpu", "--new", str(tmp_path / "a")]
    module = script("self_training.py")

    # A person looks first, and corrects one image of what the first student, which finds nothing, has labelled.
    assert module.main([*args, "--look"]) == 0
    labelled = RunFolder(out / "round-2" / "labelled")
    assert not (out / "round-2" / "training").exists() and f"check {labelled.root}" in capsys.readouterr().out
    assert read_run_config(labelled).base.stability and read_run_config(labelled).ontology == {"square": "square"}
    data = json.loads((labelled.dataset / "train" / coco.ANNOTATIONS).read_text())
    assert data["annotations"] == [] and len(data["images"]) == 4
    rle = masks.encode(np.pad(np.ones((20, 16), bool), ((30, 14), (30, 18))))
    one = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [30, 30, 16, 20], "area": 320}
    data["annotations"] = [one | {"segmentation": {"size": [64, 64], "counts": rle.counts.decode()}}]
    (tmp_path / "edited.json").write_text(json.dumps(data))
    assert main(["import", str(labelled.root), str(tmp_path / "edited.json"), "-q"]) == 0

    # One epoch teaches nothing: the second student is made to find what the gold set has, a third to find nothing.
    def learn(config: Any, here: RunFolder, progress: bool) -> None:
        if real(config, here, progress=progress)[1]:
            make_speak(here.root, [-1.0, -9.0] if here.root.name == "round-2" else [-30.0, -30.0])

    real = module.train_stage
    monkeypatch.setattr(module, "train_stage", learn)
    capsys.readouterr()
    assert module.main(args) == 0, capsys.readouterr().err
    told = read_json(out / "rounds.json")
    assert told["rounds"][0]["mask_ap"] < told["rounds"][1]["mask_ap"]
    assert told["best"] == told["rounds"][1] and told["best"]["run"] == str(out / "round-2")
    assert f"best: {out / 'round-2'}" in capsys.readouterr().out
    joined = coco.read_rows(out / "round-2" / "dataset" / "train")
    assert [row["source"] for row in joined[f"2__{data['images'][0]['file_name']}"]] == ["human"]
    assert len([name for name in joined if name.startswith("1__")]) == 6 and len(joined) == 10
    metrics = read_json(out / "round-2" / "evaluation" / "metrics.json")
    assert metrics["base"]["mask"]["ap"] == told["rounds"][0]["mask_ap"]

    # Again, with more photos: what is done stays; the third student is worse, and nothing follows it.
    kept = file_sha256(Path(told["best"]["checkpoint"]))
    more = [*args, "--new", str(tmp_path / "b"), "--new", str(tmp_path / "b"), "--confidence=0", "--stability=0"]
    assert module.main(more) == 5
    captured = capsys.readouterr()
    assert f"not better than round 2: {out / 'round-2'} is kept" in captured.err
    assert read_json(out / "rounds.json")["best"] == told["best"]
    assert kept == file_sha256(Path(told["best"]["checkpoint"])) and not (out / "round-4").exists()
    assert len(coco.read_rows(out / "round-3" / "dataset" / "train")) == 14
    third = read_json(out / "round-3" / "labelled" / "dataset" / "dataset.json")
    assert third["kept"] > 0

    # A gold image among the new ones makes rounds incomparable: refused before anything is trained.
    (tmp_path / "c").mkdir()
    shutil.copy(gold / "0.png", tmp_path / "c" / "taken.png")
    assert module.main([*args[:-1], str(tmp_path / "c")]) == 1
    assert "not that of the round before" in capsys.readouterr().err
    assert kept == file_sha256(Path(told["best"]["checkpoint"]))


def test_everything_here_is_run() -> None:
    tested = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    for path in PIPELINES.iterdir():
        assert path.is_dir() or f'"{path.name}"' in tested
