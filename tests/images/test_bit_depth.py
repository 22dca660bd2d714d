"""Images of more than 8 bits: how they are made 8, and that base and dataset see the same."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.images.bit_depth import to_8_bits
from autodistill_rfdetr_seg.images.image_opening import open_image, open_rgb
from helpers.commands import here
from helpers.lamps import BASE, arguments


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # The smallest of 8, 10, 12, 14 and 16 bits that holds the maximum.
        ([0, 100, 255], [0, 100, 255]),
        ([0, 256, 511], [0, 63, 127]),
        ([1, 512, 1023], [0, 127, 255]),
        ([0, 1024, 4095], [0, 63, 255]),
        ([0, 4096, 16383], [0, 63, 255]),
        ([0, 256, 65535], [0, 0, 255]),
        ([257, 514, 16384], [1, 2, 63]),
        # Whole numbers that no depth holds, by their range.
        ([-1000, 0, 1000], [0, 128, 255]),
        ([100_000, 150_000, 200_000], [0, 128, 255]),
        ([70_000, 70_000, 70_000], [0, 0, 0]),
        # Floats: in 0..1 by 255, others by their range; what is no number is black, and has no say in the range.
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.2, 0.4, 0.4], [51, 102, 102]),
        ([280.0, 290.0, 320.0], [0, 64, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([np.nan, 10.0, 20.0], [0, 0, 255]),
        ([-np.inf, np.inf, 0.5], [0, 255, 128]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
    ],
    ids=str,
)
def test_what_becomes_of_values(values: list[float], expected: list[int]) -> None:
    kinds = [np.float32, np.float64] if isinstance(values[1], float) else [np.int32, np.int64]
    if kinds[0] is np.int32 and min(values) >= 0 and max(values) < 2**16:
        kinds += [np.dtype("<u2"), np.dtype(">u2")]
    for kind in kinds:
        made = to_8_bits(np.array([values], kind))
        assert (made.dtype, made.tolist()) == (np.uint8, [expected]), kind


def lamp(depth: int) -> np.ndarray:
    """Grey HW uint16 of so many bits: 40 and 220 of 255."""
    grey = np.full((48, 56), 40, np.uint32)
    grey[10:25, 12:40] = 220
    return (grey * (2**depth - 1) // 255).astype(np.uint16)


def write(folder: Path, depth: int) -> None:
    """The lamp in every kind of file that holds so many bits."""
    folder.mkdir(parents=True)
    grey = lamp(depth)
    colours = np.dstack([grey, grey, grey])
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey).save(folder / "grey.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(grey))).save(folder / "turned.png", exif=exif)
    assert cv2.imwrite(str(folder / "colours.png"), colours)
    assert cv2.imwrite(str(folder / "colours.tif"), colours)
    assert cv2.imwrite(str(folder / "alpha.png"), np.dstack([colours, np.full_like(grey, 65535)]))
    Image.fromarray(grey.astype(np.float32) / (2**depth - 1)).save(folder / "share.tif")
    degrees = grey.astype(np.float32) * 2 - 300
    degrees[47, 55] -= np.ptp(degrees) / 4  # else the ground were black
    Image.fromarray(degrees).save(folder / "float.tif")


@pytest.mark.parametrize("depth", [10, 12, 14, 16])
def test_deep_images_are_labelled_as_what_they_show(tmp_path: Path, depth: int) -> None:
    (tmp_path / "base.py").write_text(BASE)
    write(tmp_path / "photos", depth)
    assert here(arguments(tmp_path / "photos", tmp_path / "run", "--split", "1,0,0"))[0] == 0
    index = json.loads((tmp_path / "run" / "dataset" / "dataset.json").read_text())["images"]
    names = {entry["file_name"]: path for path, entry in index.items()}
    images = coco.read(tmp_path / "run" / "dataset" / "train").images
    assert len(images) == 8
    for image in images:
        name = names[image.path.name]
        seen = open_rgb(tmp_path / "photos" / name)
        there = np.asarray(Image.open(image.path).convert("RGB"))
        assert np.array_equal(there, seen), name
        assert np.array_equal(cv2.imread(str(image.path))[:, :, ::-1], seen), name
        if name != "float.tif":
            assert abs(seen.astype(int) - [[[40]] * 56] * 48)[lamp(8) == 40].max() <= 1, name
            assert abs(seen.astype(int)[lamp(8) == 220] - 220).max() <= 1, name
        assert np.array_equal(masks.decode(image.instances[0].rle), lamp(8) == 220), name


def test_colours_of_few_bits_keep_their_hue_and_are_no_link(tmp_path: Path) -> None:
    bgr = np.zeros((4, 5, 3), np.uint16)
    bgr[1, 2] = (1023, 2047, 4095)
    assert cv2.imwrite(str(tmp_path / "few.png"), bgr)
    few = open_image(tmp_path / "few.png")
    assert (few.pixels[1, 2].tolist(), few.pixels.sum(), few.link_suffix) == ([255, 127, 63], 445, None)
    assert cv2.imwrite(str(tmp_path / "full.png"), bgr * 16)
    full = open_image(tmp_path / "full.png")
    # As every other reader has it.
    assert (full.pixels[1, 2].tolist(), full.link_suffix) == ([255, 127, 63], ".png")
    assert np.array_equal(full.pixels, cv2.imread(str(tmp_path / "full.png"))[:, :, ::-1])


def test_a_damaged_deep_image_is_refused(tmp_path: Path) -> None:
    from autodistill_rfdetr_seg.core.errors import DataError

    noise = np.random.default_rng(0).integers(0, 4096, (64, 64, 3)).astype(np.uint16)
    assert cv2.imwrite(str(tmp_path / "noise.png"), noise)
    whole = (tmp_path / "noise.png").read_bytes()
    (tmp_path / "noise.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be decoded"):
        open_rgb(tmp_path / "noise.png")
