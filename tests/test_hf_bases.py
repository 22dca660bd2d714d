"""What the bases and segmenters on transformers' classes share: images, weights, versions, options."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_dino
import tiny_sam
import tiny_sam3
from autodistill.detection import DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg.bases.grounded_sam_hf import GroundedSAMHF
from autodistill_rfdetr_seg.bases.grounding_dino import GroundingDino
from autodistill_rfdetr_seg.bases.sam3 import Sam3
from autodistill_rfdetr_seg.bases.segmenters import Sam2
from autodistill_rfdetr_seg.errors import BaseModelError

ONTOLOGY = {"a cat": "cat", "red dog": "dog"}
EVERYTHING = {"box_threshold": 0.0, "text_threshold": 0.0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("weights")
    made = {"dino": tiny_dino.save_tiny_dino(root / "dino"), "sam3": tiny_sam3.save_model(root / "sam3")}
    return {name: str(path) for name, path in (made | {k: tiny_sam.save(k, root / k) for k in ("sam", "sam2")}).items()}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    coarse = np.random.default_rng(3).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), cv2.resize(coarse, (100, 80), interpolation=cv2.INTER_NEAREST))
    return path


def given_as(picture: Path) -> list[Any]:
    """The same image in every form that a base takes."""
    return [cv2.imread(str(picture)), str(picture), picture, Image.open(picture)]


def test_an_image_may_be_an_array_a_path_or_of_pil(weights: dict[str, str], picture: Path) -> None:
    detector = GroundingDino(ONTOLOGY, model=weights["dino"], **EVERYTHING)
    whole = GroundedSAMHF(ONTOLOGY, model=weights["dino"], segmenter_model=weights["sam2"], **EVERYTHING)
    for base in (detector, whole):
        forms = given_as(picture)
        for expected, *others in ([base.predict(form) for form in forms], base.predict_batch(forms)):
            assert len(expected) > 10 and (expected.mask is None) == (base is detector)
            for other in others:
                np.testing.assert_allclose(other.xyxy, expected.xyxy, atol=1e-4)
                assert base is detector or (other.mask != expected.mask).mean() < 1e-3


EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import GroundingDinoConfig, BertTokenizer, GroundingDinoImageProcessor, Sam2Processor
from transformers import GroundingDinoForObjectDetection, Sam3Processor
class C(GroundingDinoConfig): model_type = "evil"
class T(BertTokenizer): pass
class I(GroundingDinoImageProcessor): pass
class P(Sam3Processor): pass
class M(GroundingDinoForObjectDetection): pass
"""
AUTO = {
    "AutoConfig": "evil.C",
    "AutoTokenizer": ["evil.T", "evil.T"],
    "AutoImageProcessor": "evil.I",
    "AutoProcessor": "evil.P",
    "AutoModel": "evil.M",
    "AutoModelForZeroShotObjectDetection": "evil.M",
}


@pytest.mark.parametrize("name", ["dino", "sam2", "sam3"])
@pytest.mark.parametrize("kind", [None, "evil"])
def test_code_among_the_weights_is_not_run(
    weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str | None
) -> None:
    folder, marker = Path(shutil.copytree(weights[name], tmp_path / "w")), tmp_path / "it ran"
    (folder / "evil.py").write_text(EVIL.format(marker=str(marker)))
    for file in folder.glob("*.json"):
        if "config" in file.name:
            said = json.loads(file.read_text()) | {"auto_map": AUTO}
            # Of a kind that transformers does not know, or of one that it does.
            file.write_text(json.dumps(said | ({"model_type": kind} if kind and file.name == "config.json" else {})))
    # What transformers asks at a terminal: "Do you wish to run the custom code? [y/N]".
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    made = {"dino": (GroundingDino, ONTOLOGY), "sam2": (Sam2,), "sam3": (Sam3, tiny_sam3.ontology())}[name]
    with contextlib.nullcontext() if kind is None or name == "sam2" else pytest.raises(BaseModelError, match=" code "):
        made[0](*made[1:], model=str(folder))
    assert not marker.exists()
