"""What the bases and segmenters on transformers' classes share: images, weights, versions, options."""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from autodistill.detection import DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg.bases import hub
from autodistill_rfdetr_seg.bases.grounded_sam_hf import GroundedSAMHF
from autodistill_rfdetr_seg.bases.grounding import grounding_cpu_speed as grounding_speed
from autodistill_rfdetr_seg.bases.grounding.grounding_dino import GroundingDino
from autodistill_rfdetr_seg.bases.registry import BASES
from autodistill_rfdetr_seg.bases.sam3 import Sam3
from autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters import Sam, Sam2
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import BaseModelError, DependencyError, MissingInputError, UsageError
from autodistill_rfdetr_seg.labels.label_account import read_account
from autodistill_rfdetr_seg.system.versions import ReleaseRange
from helpers import tiny_dino, tiny_sam, tiny_sam3
from helpers.paths import ROOT

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
    path = tmp_path / "photos" / "picture.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), cv2.resize(coarse, (100, 80), interpolation=cv2.INTER_NEAREST))
    return path


def given_as(picture: Path) -> list[Any]:
    """The same image in every form that a base takes."""
    return [cv2.imread(str(picture)), str(picture), picture, Image.open(picture)]


@pytest.mark.slow
def test_an_image_may_be_an_array_a_path_or_of_pil(weights: dict[str, str], picture: Path) -> None:
    detector = GroundingDino(ONTOLOGY, model=weights["dino"], **EVERYTHING)
    sam3 = Sam3({"a nut": "nut", "a red square": "square"}, model=weights["sam3"], score_threshold=0.0)
    whole = GroundedSAMHF(ONTOLOGY, model=weights["dino"], segmenter_model=weights["sam2"], **EVERYTHING)
    for base in (detector, whole, sam3):
        forms = given_as(picture)
        for expected, *others in ([base.predict(form) for form in forms], base.predict_batch(forms)):
            assert len(expected) > 5 and (expected.mask is None) == (base is detector)
            for other in others:
                np.testing.assert_allclose(other.xyxy, expected.xyxy, atol=1e-4)
                assert base is detector or (other.mask != expected.mask).mean() < 1e-3


def test_sam3_is_an_autodistill_base(weights: dict[str, str], picture: Path, tmp_path: Path) -> None:
    base = Sam3({"a nut": "part", "a red square": "part"}, model=weights["sam3"], score_threshold=0.0)
    assert isinstance(base, DetectionBaseModel) and base.ontology.prompts() == ["a nut", "a red square"]
    for number in range(4):
        shutil.copy(picture, picture.parent / f"{number}.png")
    dataset = base.label(str(picture.parent), extension=".png", output_folder=str(tmp_path / "out"))
    assert {len(found) for found in dataset.annotations.values()} == {len(base.predict(picture))}
    image = cv2.imread(str(picture))
    for wrong in (image.astype(np.float32), image[:, :, 0], np.dstack([image, image])):
        with pytest.raises(UsageError, match="not uint8"):
            base.predict(wrong)
    with pytest.raises(UsageError, match="ontology is empty"):
        Sam3({}, model=weights["sam3"])


@pytest.mark.parametrize("name", sorted(BASES))
def test_every_base_is_an_autodistill_base(name: str) -> None:
    module, _, attribute = BASES[name].target.rpartition(":")
    assert issubclass(getattr(importlib.import_module(module), attribute), DetectionBaseModel)


def test_an_older_transformers_is_refused(
    weights: dict[str, str], picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # The release that the package asks for is the one that was run.
    needs = (ROOT / "pyproject.toml").read_text()
    assert f'"transformers>={hub.TESTED.oldest},<6"' in needs
    monkeypatch.setattr(hub, "TESTED", ReleaseRange("transformers", "6.0", "6.1"))
    run = ["label", str(picture.parent), "--class", "a cat=cat", "--output", str(tmp_path / "run")]
    detector = ["--base", "grounding-dino", "--base-arg", f"model={weights['dino']}", "--segmenter", "sam2"]
    for base in (detector, ["--base", "sam3", "--base-arg", f"model={weights['sam3']}"]):
        assert main([*run, *base]) == 1
        assert "need transformers 6.0 or newer. Hint: pip install" in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(DependencyError, match=r"6\.0 or newer"):
        Sam2(weights["sam2"])


def test_a_newer_transformers_is_left_as_it_is(
    weights: dict[str, str], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = GroundingDino(ONTOLOGY, model=weights["dino"], device="cpu")
    monkeypatch.setattr(hub, "TESTED", ReleaseRange("transformers", "5.0", "5.12"))
    theirs = GroundingDino(ONTOLOGY, model=weights["dino"], device="cpu")
    # Its inner parts are replaced only where they are known to be what the replacement is for.
    layers = [base._network.model.decoder.layers[0].encoder_attn.attn for base in (quick, theirs)]
    assert [layer.forward is grounding_speed.sampled for layer in layers] == [True, False]
    np.testing.assert_allclose(quick.predict(str(picture)).xyxy, theirs.predict(str(picture)).xyxy, atol=1e-3)


def test_pixels_go_to_the_device_whatever_made_them(
    weights: dict[str, str], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = GroundingDino(ONTOLOGY, model=weights["dino"], device="cpu")
    processor = base._processor
    # As transformers' slow image processors: they take a device, say so, and stay where they are.
    monkeypatch.setattr(base, "_processor", lambda device, **given: processor(**given))
    monkeypatch.setattr(base, "_device", "meta")
    assert base._prepared(cv2.imread(str(picture))).device.type == "meta"


def test_a_mistyped_folder_of_weights_is_told_at_once(
    weights: dict[str, str], picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w" / "deep").mkdir(parents=True)
    shutil.copytree(weights["sam"], tmp_path / "facebook" / "sam")

    def ask(*names: str) -> tuple[int, str]:
        run = ["label", "photos", "--class", "a cat=cat", "--output", "run", "--base", "grounding-dino", "-q"]
        code = main([*run, "--base-arg", f"model={weights['dino']}", "--segmenter", "sam", "--segmenter-arg", *names])
        return code, capsys.readouterr().err.replace("\n", " ")

    # No name of the hub has two slashes; and who has a folder `w` does not mean somebody called w there.
    for wrong in ("w/nope", "w/deep/nope", "nowhere/deep/nope", str(tmp_path / "nope"), "./nope", "~/nope/w"):
        code, said = ask(f"model={wrong}")
        assert (code, f"There is no folder of weights {wrong}." in said) == (3, True), said
    assert not (tmp_path / "run").exists()
    with pytest.raises(MissingInputError):
        Sam3(tiny_sam3.ontology(), model="w/nope")
    # A name stays one, though a folder is called as its owner, where it is ours or its weights are here.
    assert Sam.identity({})["model"] == "facebook/sam-vit-huge"
    with pytest.raises(MissingInputError):
        hub.weights_identity("facebook/sam-vit-base")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--facebook--sam-vit-base"
    shutil.copytree(weights["sam"], repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert hub.weights_identity("facebook/sam-vit-base")["model"] == "facebook/sam-vit-base"


class Room:
    """A device with room for `items`: work that is given more fails as torch does."""

    def __init__(self, items: int) -> None:
        self.items, self.passes, self.failed = items, 0, 0

    def take(self, count: int) -> None:
        self.passes += 1
        if count > self.items:
            self.failed += 1
            raise torch.OutOfMemoryError("out of memory")

    def around(self, work: Any, count: Any) -> Any:
        def tight(*args: Any, **given: Any) -> Any:
            self.take(count(args[0] if args else given))
            return work(*args, **given)

        return tight


@pytest.mark.slow
def test_what_the_device_has_room_for_is_remembered(
    weights: dict[str, str], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cv2.imread(str(picture))
    images = [np.roll(image, shift, axis=1) for shift in range(8)]
    boxes = [np.array([[10.0, 10, 60, 60]] * 8)] * 8
    detector = GroundingDino(ONTOLOGY, model=weights["dino"], device="cpu", **EVERYTHING)
    segmenter = Sam2(weights["sam2"], device="cpu", boxes_per_pass=8)
    segmenter._images_per_pass = 8
    sam3 = Sam3(tiny_sam3.ontology(), model=weights["sam3"], device="cpu", prompts_per_pass=8)
    sam3.preferred_batch = 8
    places = [
        (detector._network, "forward", lambda given: len(given["pixel_values"])),
        (segmenter._model, "get_image_embeddings", len),
        (segmenter._model.prompt_encoder, "_embed_boxes", lambda given: given.shape[1]),
        (sam3._model, "get_vision_features", lambda given: len(given["pixel_values"])),
        (sam3._model, "forward", lambda given: len(given["attention_mask"])),
    ]
    rooms = []
    for module, name, count in places:
        rooms.append(Room(2))
        monkeypatch.setattr(module, name, rooms[-1].around(getattr(module, name), count))
    for turn in range(3):
        detector.predict_batch(images)
        sam3.predict_batch(images)
        segmenter.segment_batch([np.roll(one, turn * 10, axis=0) for one in images], boxes)
    # 8, then 4, did not fit; from then on it is two at a time.
    assert [room.failed for room in rooms] == [2] * 5
    assert [room.passes - room.failed for room in rooms] == [12, 12, 96, 12, 36]


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
    with contextlib.nullcontext() if kind is None else pytest.raises(BaseModelError, match=" code "):
        made[0](*made[1:], model=str(folder))
    assert not marker.exists()


def test_a_segmenter_named_with_grounded_sam_hf_is_its_own(
    weights: dict[str, str], picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["label", str(picture.parent), "--class", "a cat=cat", "--base", "grounded-sam-hf", "-q", "--split", "1,0,0"]
    run += ["--base-arg", f"model={weights['dino']}", "--base-arg", "box_threshold=0.3"]
    sam = [*run, "--segmenter", "sam", "--segmenter-arg", f"model={weights['sam']}"]
    # Its default, SAM 2, is neither here nor wanted.
    assert main([*sam, "--segmenter-arg", "boxes_per_pass=2", "--output", str(tmp_path / "run")]) == 0
    args = read_account(tmp_path / "run" / "labels").args
    assert args["segmenter"] == {"name": "sam", **Sam.identity({"model": weights["sam"]})}
    assert set(args) == {"detector", "segmenter"}
    # Said in whichever way, these are the same labels.
    said = ["segmenter=sam", f"segmenter_model={weights['sam']}"]
    own = [word for one in said for word in ("--base-arg", one)]
    assert main([*run, *own, "--output", str(tmp_path / "other")]) == 0
    assert (
        read_account(tmp_path / "other" / "labels").fingerprint == read_account(tmp_path / "run" / "labels").fingerprint
    )
    # Its default, with arguments; and both ways at once.
    default = [*run, "--segmenter-arg", f"model={weights['sam2']}", "--output", str(tmp_path / "default")]
    assert main(default) == 0
    assert read_account(tmp_path / "default" / "labels").args["segmenter"]["name"] == "sam2"
    assert main([*sam, "--base-arg", "segmenter=sam2", "--output", str(tmp_path / "both")]) == 2
    assert "segmenter of 'grounded-sam-hf' is given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("base", "option", "said"),
    [
        ("dino", "thresholds=0.3", "thresholds is 0.3, not numbers by prompt"),
        ("dino", "thresholds={a cat: high}", "thresholds of 'a cat' is 'high', which is not a number from 0 to 1"),
        ("dino", "negatives=3", "negatives is 3, which is not text"),
        ("dino", "negatives={a: b}", "which is not text"),
        ("dino", "box_threshold=high", "box_threshold is 'high', which is not a number from 0 to 1"),
        ("sam3", "score_threshold=high", "score_threshold is 'high', which is not a number from 0 to 1"),
        ("sam3", "thresholds=0.3", "thresholds is 0.3, not numbers by prompt"),
        ("sam3", "negatives=3", "negatives is 3, which is not text"),
        ("sam3", "negative_iou=0", "negative_iou is 0"),
        ("sam3", "prompts_per_pass=few", "prompts_per_pass is 'few'"),
        ("sam3", "model=3", "arguments of the base cannot be used"),
    ],
)
def test_an_option_of_another_type_is_one_sentence(
    weights: dict[str, str], picture: Path, tmp_path: Path, capsys: Any, base: str, option: str, said: str
) -> None:
    name = {"dino": ["grounding-dino", "--segmenter", "sam"], "sam3": ["sam3"]}[base]
    run = ["label", str(picture.parent), "--class", "a cat=cat", "--output", str(tmp_path / "run"), "--base", *name]
    run += ["--base-arg", f"model={weights[base]}"] if not option.startswith("model") else []
    run += ["--segmenter-arg", f"model={weights['sam']}"] if base == "dino" else []
    assert main([*run, "-q", "--base-arg", option]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_weights_of_another_model_are_refused(weights: dict[str, str]) -> None:
    for made, of, known in ((Sam2, "sam", "sam2, sam2_video"), (Sam, "sam2", "sam"), (Sam, "dino", "sam")):
        with pytest.raises(UsageError, match=f"are of the kind {of.replace('dino', 'grounding-dino')}") as caught:
            made(weights[of])
        assert caught.value.hint == f"Known: {known}."
    with pytest.raises(UsageError, match="are of the kind sam2"):
        Sam3(tiny_sam3.ontology(), model=weights["sam2"])


PLAIN_SEGMENTER = """
import numpy as np
from autodistill_rfdetr_seg.bases.contract import Masks

class Filled:
    def segment(self, image, boxes_xyxy):
        masks = np.zeros((len(boxes_xyxy), *image.shape[:2]), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes_xyxy.round().astype(int)):
            mask[y0:y1, x0:x1] = True
        return Masks(masks, np.full(len(masks), 0.5))
"""


def test_a_segmenter_of_ones_own_needs_only_segment(weights: dict[str, str], picture: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(PLAIN_SEGMENTER)
    run = ["label", str(picture.parent), "--class", "a cat=cat", "--output", str(tmp_path / "run"), "--split", "1,0,0"]
    run += ["--base", "grounding-dino", "--base-arg", f"model={weights['dino']}", "--base-arg", "box_threshold=0.3"]
    assert main([*run, "--segmenter", f"{tmp_path / 'own.py'}:Filled", "-q"]) == 0
    coco = json.loads((tmp_path / "run" / "dataset" / "train" / "_annotations.coco.json").read_text())
    assert {one["mask_score"] for one in coco["annotations"]} == {0.5}
