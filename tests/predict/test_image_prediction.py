"""Predicting a folder: what was done survives whatever ends it, no image gets lost, nothing of the user's changes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from autodistill_rfdetr_seg import coco, predict_images
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import AutodistillSegError, UsageError
from helpers.commands import begin
from helpers.red_model import Reds
from helpers.tiny_training import draw


def photos_in(folder: Path, *names: str) -> Path:
    for at, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(at)[0]).save(path, quality=95)
    return folder


def lines_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text("utf-8").split("\n")[:-1]]


@pytest.fixture
def five(tmp_path: Path) -> Path:
    return photos_in(tmp_path / "photos", "a.png", "b.png", "c.png", "deep/d.png", "e.png")


def test_an_interruption_loses_nothing_and_the_result_is_the_same(five: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    told = predict_images(Reds(), five, whole, progress=False)
    assert list(told.counts) == ["a.png", "b.png", "c.png", "deep/d.png", "e.png"]
    with pytest.raises(KeyboardInterrupt):
        predict_images(Reds({3: KeyboardInterrupt()}), five, out, progress=False)
    assert [line["file_name"] for line in lines_of(out)] == ["a.png", "b.png", "c.png"]
    # A kill may tear the last line.
    with (out / "predictions.jsonl").open("a") as file:
        file.write('{"file_name":"deep/d.png","instan')
    model = Reds()
    again = predict_images(model, five, out, resume=True, progress=False)
    assert model.calls == 2
    assert again == told and list(again.counts) == list(told.counts)
    assert (out / "predictions.json").read_bytes() == (whole / "predictions.json").read_bytes()
    assert sum(len(image.instances) for image in coco.read(out / "predictions.json").images) == 5
    # Finished: only what is new or changed is asked about, and what is gone is left out.
    (five / "a.png").unlink()
    Image.fromarray(draw(6)[0]).save(five / "b.png")
    photos_in(five, "f.png")
    model = Reds()
    assert list(predict_images(model, five, out, resume=True, progress=False).counts) == [
        *("b.png", "c.png", "deep/d.png", "e.png", "f.png")
    ]
    assert model.calls == 2
    boxes = {i.image_id: i.instances[0].bbox_xywh for i in coco.read(out / "predictions.json").images}
    assert boxes["b.png"][:2] == draw(6)[1] and boxes["c.png"][:2] == draw(2)[1]


def test_another_confidence_or_model_or_a_new_beginning_asks_anew(five: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict_images(Reds(), five, out, progress=False)
    for options in ({"confidence": 0.4, "resume": True}, {"confidence": 0.4, "overwrite": True}):
        model = Reds()
        predict_images(model, five, out, progress=False, **options)
        assert model.calls == 5 and len(lines_of(out)) >= 5
    assert len(lines_of(out)) == 5

    class Others(Reds):
        class_names = ("bee", "ant")

    model = Others()
    assert predict_images(model, five, out, confidence=0.4, resume=True, progress=False).counts["a.png"] == {
        "bee": 0,
        "ant": 1,
    }
    assert model.calls == 5


def test_an_image_that_the_model_fails_on_is_listed_and_tried_again(five: Path, tmp_path: Path) -> None:
    import torch

    fails: dict[int, BaseException] = {1: torch.OutOfMemoryError("CUDA out of memory. Tried\nto"), 2: ValueError("odd")}
    found = predict_images(Reds(fails), five, tmp_path / "out", progress=False)
    assert list(found.counts) == ["a.png", "deep/d.png", "e.png"]
    assert list(found.failures) == ["b.png", "c.png"]
    assert "b.png" in found.failures["b.png"] and "CUDA out of memory" in found.failures["b.png"]
    model = Reds()
    assert predict_images(model, five, tmp_path / "out", resume=True, progress=False).failures == {}
    assert model.calls == 2 and len(coco.read(tmp_path / "out" / "predictions.json").images) == 5


def test_no_two_images_share_a_picture(tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos", "scene.jpg", "scene.png", "deep/scene.png")
    predict_images(Reds(), photos, tmp_path / "out", progress=False)
    pictures = tmp_path / "out" / "pictures"
    assert sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*.*")) == [
        *("deep/scene.png.png", "scene.jpg.png", "scene.png.png")
    ]
    drawn = np.asarray(Image.open(pictures / "scene.png.png"))
    assert drawn.shape == draw(1)[0].shape and (drawn[:, :, 0] != draw(0)[0][:, :, 0]).any()


@pytest.mark.parametrize("output", ["photos", "photos/found", "photos/deep", "link/found"])
def test_an_output_among_the_images_is_refused(five: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "link").symlink_to(five)
    before = sorted(five.rglob("*"))
    with pytest.raises(UsageError, match="among the images"):
        predict_images(Reds(), five, tmp_path / output, resume=True, progress=False)
    with pytest.raises(UsageError, match="among the images"):
        predict_images(Reds(), five / "a.png", five, overwrite=True, progress=False)
    assert sorted(five.rglob("*")) == before


def test_images_that_are_the_pictures_of_the_output_are_refused(five: Path, tmp_path: Path) -> None:
    predict_images(Reds(), five, tmp_path / "out", progress=False)
    with pytest.raises(UsageError, match="among the images"):
        predict_images(Reds(), tmp_path / "out" / "pictures", tmp_path / "out", resume=True, progress=False)
    # Beside one image, or around a folder of them, is no place where they are looked for.
    predict_images(Reds(), five / "a.png", tmp_path / "photos-found", progress=False)
    predict_images(Reds(), five, tmp_path, overwrite=True, progress=False)


@pytest.mark.parametrize("confidence", [50, -0.1, float("nan")])
def test_a_confidence_that_is_none_is_refused(five: Path, confidence: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        predict_images(Reds(), five, tmp_path / "out", confidence=confidence, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_model_that_gives_no_masks_is_a_failure(five: Path, tmp_path: Path) -> None:
    class Boxes(Reds):
        def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
            return [sv.Detections(np.array([[0.0, 0, 5, 5]]), class_id=np.array([0])) for _ in images]

    found = predict_images(Boxes(), five, tmp_path / "out", progress=False)
    assert found.counts == {} and len(found.failures) == 5


def test_a_folder_is_one_runs_at_a_time(five: Path, tmp_path: Path) -> None:
    class Nested(Reds):
        def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
            with pytest.raises(AutodistillSegError, match="Another process"):
                predict_images(Reds(), five, tmp_path / "out", resume=True, progress=False)
            return super().predict_batch(images, confidence)

    assert len(predict_images(Nested(), five, tmp_path / "out", progress=False).counts) == 5


@pytest.mark.train
def test_a_terminated_command_goes_on(speaking_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = photos_in(tmp_path / "photos", *(f"{at:03d}.png" for at in range(3)))
    for at in range(3, 60):
        os.link(photos / f"{at % 3:03d}.png", photos / f"{at:03d}.png")
    out = tmp_path / "out"
    args = ["predict", str(speaking_run), str(photos), "--output", str(out), "--confidence", "0.05", "--device", "cpu"]
    process = begin([*args, "-q"])
    until = time.monotonic() + 120
    while time.monotonic() < until and not ((out / "predictions.jsonl").is_file() and len(lines_of(out)) > 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    done = len(lines_of(out))
    assert 2 < done < 60 and not (out / "predictions.json").exists()
    assert main([*args, "--resume", "--json"]) == 0
    captured = capsys.readouterr()
    assert f"{done} of 60 images are predicted already" in captured.err
    assert len(json.loads(captured.out)["images"]) == 60
    data = json.loads((out / "predictions.json").read_text())
    assert len(data["images"]) == 60 and len(lines_of(out)) == 60
    assert len(list((out / "pictures").iterdir())) == 60
