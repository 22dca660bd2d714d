"""The limit on pixels: safe where nothing is said, raised by one option wherever the image is opened."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from autodistill_rfdetr_seg.core.config import InputsConfig
from autodistill_rfdetr_seg.core.errors import DataError, UsageError
from autodistill_rfdetr_seg.images.image_opening import max_file_bytes, open_rgb
from autodistill_rfdetr_seg.images.pillow_limit import pillow_accepts
from autodistill_rfdetr_seg.predict.image_prediction import predict_images
from autodistill_rfdetr_seg.readers import read_gold, repair
from helpers.commands import finish, here
from helpers.lamps import arguments

LARGE = 96 * 112  # pixels, where the others have 2,688
LARGEST = "aerial.png"


@pytest.fixture(autouse=True)
def low_limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> int:
    # Pillow refuses what has twice as many.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LARGE // 4)
    return LARGE // 4


@pytest.fixture
def aerial(photos: Path) -> Path:
    """Photos, and a large one that is written anew into a dataset."""
    pixels = np.full((96, 112, 3), 40, np.uint8)
    pixels[30:60, 20:90] = 200
    Image.fromarray(pixels).convert("RGBA").save(photos / LARGEST)
    return photos


def labelled(run: Path) -> set[str]:
    return set(json.loads((run / "dataset" / "dataset.json").read_text())["images"])


def test_the_default_is_under_pillows_own() -> None:
    assert InputsConfig().max_megapixels == 178
    assert 178e6 < 2 * 89_478_485


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_large_image_is_refused_with_a_hint_and_labelled_with_the_option(
    aerial: Path, tmp_path: Path, workers: str
) -> None:
    run = tmp_path / "run"
    code, _, err = here(arguments(aerial, run, "--max-megapixels", "0.004", "--workers", workers))
    assert code == 4
    assert f"{aerial / LARGEST} has 10752 pixels: over the limit of 0.004 megapixels." in err
    assert "Hint: If you trust it, and its 0.0 GB of pixels fit into memory: --max-megapixels 1 (inputs." in err
    assert LARGEST not in labelled(run)
    code, _, err = here(arguments(aerial, run, "--max-megapixels", "0.02", "--workers", workers, "--resume"))
    assert (code, LARGEST in labelled(run)) == (0, True), err
    assert yaml.safe_load((run / "pipeline.yaml").read_text())["inputs"]["max_megapixels"] == 0.02
    # Later stages read it in the run's own file.
    assert here(["build", str(run), "--min-area", "5", "-q"])[0] == 0
    assert here(["review", str(run), "-q"])[0] == 0
    assert "over the limit" not in (run / "review.html").read_text()


def test_the_option_holds_in_another_process_and_in_a_plan(aerial: Path, tmp_path: Path) -> None:
    command = arguments(aerial, tmp_path / "run", "--max-megapixels", "0.02", "--json")
    code, out, err = finish(["plan", *command[1:], "--count", "25"])
    assert (code, json.loads(out)["unreadable"], json.loads(out)["failures"]) == (0, 0, []), err


def test_a_prediction_has_the_limit_too(
    aerial: Path, speaking_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    command = ["predict", str(speaking_run), str(aerial / LARGEST), "-q", "--max-megapixels"]
    code, _, err = here([*command, "0.004"])
    assert (code, "--max-megapixels 1" in err) == (4, True), err
    assert here([*command, "0.02"])[0] == 0
    with pytest.raises(UsageError, match="must be above 0"):
        predict_images(speaking_run, aerial, max_megapixels=float("nan"))


def test_the_bytes_follow_the_pixels(tmp_path: Path) -> None:
    with (tmp_path / "raw.tif").open("wb") as file:
        file.write(b"II*\0")
        file.truncate(2**30 * 3 // 2)
    with pytest.raises(DataError, match=r"1\.5 GiB, which is too large for an image: over .* --max-megapixels 202"):
        open_rgb(tmp_path / "raw.tif")
    assert max_file_bytes(356) - max_file_bytes() == 8 * 178_000_000


def test_two_runs_in_one_process_have_a_limit_each(aerial: Path, tmp_path: Path) -> None:
    """The large image is in the dataset of the run that allows it alone, whichever run came before."""
    found = {}
    for name, limit in (("large", "0.02"), ("small", "0.004"), ("large again", "0.02")):
        run = tmp_path / name
        code, _, err = here(arguments(aerial, run, "--max-megapixels", limit))
        found[name] = (code, LARGEST in labelled(run))
        assert (code == 4) == ("over the limit of 0.004" in err)
    assert found == {"large": (0, True), "small": (4, False), "large again": (0, True)}
    # A run with another limit came between: the first one's own still holds.
    assert here(["build", str(tmp_path / "large"), "--min-area", "5", "-q"])[0] == 0
    assert LARGEST in labelled(tmp_path / "large")


@pytest.mark.slow
def test_a_run_with_a_larger_limit_leaves_none_behind(
    aerial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low_limit_of_pillow: int
) -> None:
    """Neither ours, which is the default where nobody gives one, nor Pillow's, at which other readers refuse."""
    raw = tmp_path / "raw.tif"
    with raw.open("wb") as file:
        file.write(b"II*\0")
        file.truncate(int(8e6 * 180) + 2**26)
    with pytest.raises(DataError, match="is not an image"):
        open_rgb(raw, max_megapixels=200)
    code, _, err = here(arguments(aerial, tmp_path / "run", "--max-megapixels", "400"))
    assert code == 0, err
    assert low_limit_of_pillow == Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match="too large for an image"):
        open_rgb(raw)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(aerial / LARGEST)


def annotated(folder: Path, image: Path) -> Path:
    """A COCO file about the one image, without its size."""
    folder.mkdir()
    (folder / image.name).write_bytes(image.read_bytes())
    box = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[20, 30, 90, 30, 90, 60, 20, 60]], "iscrowd": 0}
    data = {"images": [{"id": 1, "file_name": image.name}], "categories": [{"id": 1, "name": "lamp"}]}
    (folder / "coco.json").write_text(json.dumps({**data, "annotations": [box]}))
    return folder / "coco.json"


def test_annotated_images_have_the_limit_of_the_call(aerial: Path, tmp_path: Path) -> None:
    gold = annotated(tmp_path / "gold", aerial / LARGEST)
    assert read_gold(gold, images="checked", max_megapixels=0.02).images[0].height == 96
    with pytest.raises(DataError, match=r"over the limit of 0\.004 megapixels"):
        read_gold(gold, images="checked", max_megapixels=0.004)
    assert repair(gold, tmp_path / "clean", max_megapixels=0.02, progress=False).left_out == 0
    with pytest.raises(DataError, match=r"over the limit of 0\.004 megapixels"):
        repair(gold, tmp_path / "none", max_megapixels=0.004, progress=False)


def test_a_limit_that_pillow_is_given_ends_with_the_last_block(tmp_path: Path, low_limit_of_pillow: int) -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with pillow_accepts(2.0):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with pillow_accepts(0.02):
        assert Image.MAX_IMAGE_PIXELS == 10_001
        thread.start()
        assert inside.wait(10) and Image.MAX_IMAGE_PIXELS == 1_000_001
    assert Image.MAX_IMAGE_PIXELS == 1_000_001
    leave.set()
    thread.join()
    assert low_limit_of_pillow == Image.MAX_IMAGE_PIXELS


def test_a_limit_that_somebody_else_sets_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with pillow_accepts(2.0):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert Image.MAX_IMAGE_PIXELS is None


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_a_limit_that_is_none(aerial: Path, tmp_path: Path, value: str) -> None:
    code, _, err = here(arguments(aerial, tmp_path / "run", f"--max-megapixels={value}"))
    assert (code, "max" in err) == (2, True), err
