"""Folders of files of one size (BMP, raw TIFF): copies are found without reading all of it first, and that is shown."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg.images.image_discovery import discover, relative_paths
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.labeler import label_images
from helpers.commands import here
from helpers.lamps import BASE, arguments

COUNTED = Path("/proc/self/io")


def bytes_read() -> int:
    return int(COUNTED.read_text().split()[1])


class Reader(DetectionBaseModel):
    """Finds nothing, and notes how much had been read when it was asked."""

    def __init__(self) -> None:
        self.ontology = CaptionOntology({"a thing": "thing"})
        self._read: list[int] = []

    def predict(self, input: Any) -> sv.Detections:
        self._read.append(bytes_read())
        return sv.Detections.empty()


def bitmap(path: Path, number: int, side: int = 1000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(number).integers(30, 90, (10, 10, 3)).astype(np.uint8)
    Image.fromarray(small).resize((side, side)).save(path)


@pytest.mark.skipif(not COUNTED.is_file(), reason="this system does not tell what is read")
def test_the_first_image_does_not_wait_for_the_folder_to_be_read(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(30):
        bitmap(photos / f"{number:02d}.bmp", number)
    shutil.copyfile(photos / "03.bmp", photos / "copy.bmp")
    base = Reader()
    source = BaseSource.from_model(base)
    # What is loaded with the first labelling is no image's.
    bitmap(tmp_path / "one" / "one.bmp", 99)
    label_images(
        source, relative_paths(discover(tmp_path / "one"), tmp_path / "one"), tmp_path / "first", progress=False
    )
    base._read.clear()
    begun = bytes_read()
    items = relative_paths(discover(photos), photos)
    assert label_images(source, items, tmp_path / "labels", progress=False).labeled == 31
    assert len(base._read) == 30
    # The two that are alike, a handful that are decoded ahead, and a glance at each of the others: of 31.
    assert (base._read[0] - begun) / (photos / "00.bmp").stat().st_size < 10


def test_comparing_is_shown(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(BASE)
    for number in range(4):
        bitmap(tmp_path / "photos" / f"{number}.bmp", number, 40)
    command = [word for word in arguments(tmp_path / "photos", tmp_path / "run", "--split", "1,0,0") if word != "-q"]
    code, _, err = here(command)
    assert code == 0, err
    assert "Comparing:   0%" in err and "0/4" in err
    assert "Comparing" not in here([*command, "--overwrite", "-q"])[2]
