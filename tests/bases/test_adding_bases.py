"""A base or segmenter is added by one file and its row in the registry, or by another package's entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg import bases
from autodistill_rfdetr_seg.bases.base_entries import BaseEntry
from autodistill_rfdetr_seg.bases.registry import BASES
from autodistill_rfdetr_seg.bases.segmenters.segmenter_registry import SEGMENTERS
from helpers import commands
from helpers.lamps import scene

MODELS = '''
import numpy as np
import supervision as sv


class Bright:
    """Bright things.

    More of it.
    """

    def __init__(self, ontology, level=150):
        self.ontology, self.level = ontology, level

    @staticmethod
    def identity(args):
        return {"level": args.get("level", 150)}

    def predict(self, image):
        mask = (image[:, :, 1] > self.level)[None]
        return sv.Detections(xyxy=sv.mask_to_xyxy(mask).astype(float), mask=mask, class_id=np.array([0]),
                             confidence=np.array([0.75]))


class BrightBox(Bright):
    def predict(self, image):
        found = super().predict(image)
        found.mask = None
        return found


class WholeBox:
    """The box is the mask."""

    def segment(self, image, boxes_xyxy):
        from autodistill_rfdetr_seg.bases.contract import Masks

        masks = np.zeros((len(boxes_xyxy), *image.shape[:2]), dtype=bool)
        for mask, (left, top, right, bottom) in zip(masks, np.rint(boxes_xyxy).astype(int)):
            mask[top:bottom + 1, left:right + 1] = True
        return Masks(masks, np.full(len(masks), 0.5))


SEVEN = 7
'''
ENTRIES = """
from autodistill_rfdetr_seg import BaseEntry

LAMPS = BaseEntry("lamp_pack.models:Bright", "lamps that are on", license="MIT", weights=(("~/lamps.bin", 2_000_000),),
                  args={"level": 140})
BOXES = BaseEntry("lamp_pack.models:BrightBox", "boxes of lamps", masks=False)
"""
ENTRY_POINTS = """
[autodistill_rfdetr_seg.bases]
lamps = lamp_pack.entries:LAMPS
lamp-boxes = lamp_pack.entries:BOXES
bright = lamp_pack.models:Bright
broken = lamp_pack.no_such_module:Base
seven = lamp_pack.models:SEVEN
threshold = lamp_pack.models:Bright

[autodistill_rfdetr_seg.segmenters]
whole-box = lamp_pack.models:WholeBox
"""
RUN = """
import json, sys
from helpers.commands import here

if __name__ == "__main__":
    print(json.dumps([here(command) for command in json.loads(sys.argv[1])]))
"""
# The bright bar of a scene is 28 x 15 pixels.
AREA = 28 * 15


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(2):
        scene(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


def label(photos: Path, output: str, *more: str) -> list[str]:
    # The split gives each of two images a set of its own.
    split = ["--split", "0.5/0.5/0"]
    return ["label", str(photos), "--class", "a lamp=lamp", "--output", str(photos.parent / output), *split, *more]


def areas(photos: Path, output: str) -> list[float]:
    files = sorted((photos.parent / output / "dataset").rglob("*.coco.json"))
    return [row["area"] for path in files for row in json.loads(path.read_text("utf-8"))["annotations"]]


def account(photos: Path, output: str) -> dict[str, Any]:
    return dict(json.loads((photos.parent / output / "labels" / "labels.json").read_text("utf-8")))


@pytest.mark.slow
def test_another_package_adds_a_base_and_a_segmenter(photos: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "lamp_pack").mkdir(parents=True)
    for name, text in {"__init__": "", "models": MODELS, "entries": ENTRIES}.items():
        (site / "lamp_pack" / f"{name}.py").write_text(text)
    (site / "lamp_pack-1.2.dist-info").mkdir()
    (site / "lamp_pack-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lamp-pack\nVersion: 1.2\n")
    (site / "lamp_pack-1.2.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "run.py").write_text(RUN)
    calls = [
        ["bases", "--json"],
        ["bases"],
        label(photos, "lamps", "--base", "lamps"),
        label(photos, "bright", "--base", "bright", "--base-arg", "level=145", "--workers", "1"),
        label(photos, "boxes", "--base", "lamp-boxes", "--segmenter", "whole-box"),
        label(photos, "none", "--base", "lamp-boxes"),
        label(photos, "none", "--base", "lampz"),
        label(photos, "none", "--base", "lamp-boxes", "--segmenter", "whole-bix"),
        label(photos, "none", "--base", "broken"),
        label(photos, "none", "--base", "seven"),
        label(photos, "none", "--base", "lamps", "--base-arg", "levle=7"),
        label(photos, "ours", "--base", "threshold"),
    ]
    path = os.pathsep.join([str(site), *sys.path])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py"), json.dumps(calls)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    listed, table, lamps, bright, boxes, no_masks, unknown, segmenter, broken, seven, argument, ours = (
        (code, out, " ".join(err.split())) for code, out, err in json.loads(done.stdout)
    )

    found = {one["name"]: one for one in json.loads(listed[1])}
    assert {"lamps", "lamp-boxes", "bright", "broken", "seven", "whole-box"} == found.keys() - {*BASES, *SEGMENTERS}
    assert [found[name]["kind"] for name in ("lamps", "lamp-boxes", "whole-box")] == ["base", "detector", "segmenter"]
    assert (found["lamps"]["license"], found["lamps"]["added_by"]) == ("MIT", "lamp-pack 1.2")
    assert found["lamps"]["weights"] == [{"place": "~/lamps.bin", "bytes": 2_000_000, "here": False}]
    assert (found["bright"]["summary"], found["bright"]["problem"]) == ("Bright things.", "")
    assert "The base 'broken' of lamp-pack 1.2 cannot be loaded: ModuleNotFoundError" in found["broken"]["problem"]
    assert "neither a BaseEntry nor a class with `predict`" in found["seven"]["problem"]
    assert found["threshold"]["added_by"] == ""
    assert "    lamps that are on (MIT); added by lamp-pack 1.2\n" in table[1]
    # Said once a process, by the first call that looks.
    assert "The base 'threshold' of lamp-pack 1.2 is ignored: autodistill_rfdetr_seg has that name." in listed[2]
    assert "is ignored" not in table[2]

    assert (lamps[0], bright[0], boxes[0]) == (0, 0, 0), (lamps, bright, boxes)
    assert ours[0] == 2 and "#rrggbb" in ours[2], "it is ThresholdBase that refuses the prompt"
    for output in ("lamps", "bright", "boxes"):
        assert areas(photos, output) == [AREA, AREA]
    assert account(photos, "lamps")["base"] == "lamps"
    assert account(photos, "lamps")["args"] == {"level": 140}
    assert account(photos, "bright")["args"] == {"level": 145}
    assert account(photos, "boxes")["args"]["segmenter"] == "whole-box"

    assert no_masks[0] == 2 and "whole-box" in no_masks[2]
    assert unknown[0] == 2 and "did you mean 'lamps'" in unknown[2]
    assert (
        "Known: boxes, bright, broken, grounded-sam, grounded-sam-hf, grounding-dino, lamp-boxes, lamps" in unknown[2]
    )
    assert segmenter[0] == 2 and "did you mean 'whole-box'" in segmenter[2]
    assert broken[0] == 1 and "The base 'broken' of lamp-pack 1.2 cannot be loaded: ModuleNotFoundError" in broken[2]
    assert seven[0] == 1 and "its entry point is lamp_pack.models:SEVEN" in seven[2]
    assert argument[0] == 2 and "argument of base 'lamps': 'levle'" in argument[2]
    assert not (tmp_path / "none" / "labels" / "labels.json").exists()


def test_a_base_of_ours_is_one_file_and_its_row(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "added_lamp_base.py").write_text(MODELS)
    monkeypatch.setattr(bases, "__path__", [*bases.__path__, str(tmp_path / "folder")])
    module = f"{bases.__name__}.added_lamp_base"
    monkeypatch.setitem(BASES, "added-lamps", BaseEntry(f"{module}:Bright", "lamps that are on"))
    monkeypatch.setitem(SEGMENTERS, "added-boxes", BaseEntry(f"{module}:WholeBox", "whole boxes"))
    found = {one["name"]: one for one in json.loads(commands.here(["bases", "--json"])[1])}
    assert (found["added-lamps"]["kind"], found["added-boxes"]["kind"]) == ("base", "segmenter")
    assert commands.here(label(photos, "run", "--base", "added-lamps"))[0] == 0
    assert areas(photos, "run") == [AREA, AREA]
    assert account(photos, "run")["args"] == {"level": 150}
    code, _, said = commands.here(label(photos, "none", "--base", "added-lamp"))
    assert code == 2 and "did you mean 'added-lamps'" in said
    sys.modules.pop(module, None)
