"""The limit on pixels: safe where nothing is said, raised by one option wherever the image is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from autodistill_rfdetr_seg.core.config import InputsConfig
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.images import image_reader as images
from autodistill_rfdetr_seg.images.image_reader import allow_megapixels, most_bytes, open_rgb
from helpers.commands import finish, here
from helpers.lamps import arguments

LARGE = 96 * 112  # pixels, where the others have 2,688
LARGEST = "aerial.png"


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Pillow refuses what has twice as many.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LARGE // 4)
    yield
    allow_megapixels(InputsConfig().max_megapixels)


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


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_large_image_is_refused_with_a_hint_and_labelled_with_the_option(
    aerial: Path, tmp_path: Path, workers: str
) -> None:
    run = tmp_path / "run"
    code, _, err = here(arguments(aerial, run, "--max-megapixels", "0.004", "--workers", workers))
    assert code == 4
    assert f"{aerial / LARGEST} would decode to 10752 pixels: too many pixels to be safe." in err
    assert "Hint: If you trust it, and its 0.0 GB of pixels fit: --max-megapixels 1 (inputs.max_megapixels)." in err
    assert LARGEST not in labelled(run)
    code, _, err = here(arguments(aerial, run, "--max-megapixels", "0.02", "--workers", workers, "--resume"))
    assert (code, LARGEST in labelled(run)) == (0, True), err
    assert yaml.safe_load((run / "pipeline.yaml").read_text())["inputs"]["max_megapixels"] == 0.02
    # Later stages read it in the run's own file, whatever held in this process.
    allow_megapixels(0.001)
    assert here(["build", str(run), "--min-area", "5", "-q"])[0] == 0
    allow_megapixels(0.001)
    assert here(["review", str(run), "-q"])[0] == 0


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


def test_the_bytes_follow_the_pixels(tmp_path: Path) -> None:
    with (tmp_path / "raw.tif").open("wb") as file:
        file.write(b"II*\0")
        file.truncate(2**30 * 3 // 2)
    allow_megapixels(178)
    with pytest.raises(DataError, match=r"1\.5 GiB: too many to be an image\. Hint: .*--max-megapixels 202"):
        open_rgb(tmp_path / "raw.tif")
    before = most_bytes()
    allow_megapixels(356)
    assert most_bytes() - before == 8 * 178_000_000
    assert images.megapixels_allowed() == 356


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_a_limit_that_is_none(aerial: Path, tmp_path: Path, value: str) -> None:
    code, _, err = here(arguments(aerial, tmp_path / "run", f"--max-megapixels={value}"))
    assert (code, "max" in err) == (2, True), err
