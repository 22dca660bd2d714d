"""SAM 3 as a base, with transformers' own classes and random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology

from autodistill_rfdetr_seg.bases.base_classes import identity_of
from autodistill_rfdetr_seg.bases.registry import create_base, find_base
from autodistill_rfdetr_seg.bases.sam3 import Sam3
from autodistill_rfdetr_seg.core.errors import BaseModelError, UnknownNameError, UsageError
from autodistill_rfdetr_seg.core.types import Classes
from helpers.tiny_sam3 import PROMPTS, ontology, save_model

RNG = np.random.default_rng(5)
IMAGES = [
    np.kron(RNG.integers(0, 255, (3, 4, 3)), np.ones((20, 20, 1))).astype(np.uint8),
    np.kron(RNG.integers(0, 255, (5, 3, 3)), np.ones((14, 17, 1))).astype(np.uint8),
    np.full((40, 40, 3), (200, 120, 20), np.uint8),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("sam3"))


def base_of(folder: Path, *prompts: str, **options: Any) -> Sam3:
    return Sam3(ontology(*prompts), model=str(folder), **{"score_threshold": 0.0, "device": "cpu"} | options)


def same(one: sv.Detections, other: sv.Detections) -> None:
    np.testing.assert_array_equal(one.class_id, other.class_id)
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-5)
    np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-3)
    assert one.mask.shape == other.mask.shape and (one.mask != other.mask).mean() < 1e-3


def test_prompts_together_are_prompts_one_at_a_time(folder: Path) -> None:
    together = base_of(folder, prompts_per_pass=8).predict(IMAGES[0])
    assert sorted(set(together.class_id)) == [0, 1, 2]
    assert together.mask.dtype == bool and together.mask.shape[1:] == IMAGES[0].shape[:2]
    for at, prompt in enumerate(PROMPTS):
        alone = base_of(folder, prompt).predict(IMAGES[0])
        alone.class_id = np.full(len(alone), at)
        same(together[together.class_id == at], alone)
    # And the words matter.
    first, second = (together.confidence[together.class_id == at] for at in (0, 1))
    assert np.abs(first - second).max() > 1e-3


def test_images_together_are_images_one_by_one_and_each_is_encoded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of(folder, prompts_per_pass=4)
    one_by_one = [base.predict(image) for image in IMAGES]
    base.preferred_batch = 2
    seen: dict[str, list[int]] = {"images": [], "texts": [], "pairs": []}
    model = base._model
    vision, text, forward = model.get_vision_features, model.get_text_features, model.forward

    def looking(pixel_values: Any) -> Any:
        seen["images"].append(len(pixel_values))
        return vision(pixel_values=pixel_values)

    def reading(**given: Any) -> Any:
        seen["texts"].append(1)
        return text(**given)

    def asking(**given: Any) -> Any:
        seen["pairs"].append(len(given["attention_mask"]))
        return forward(**given)

    monkeypatch.setattr(model, "get_vision_features", looking)
    monkeypatch.setattr(model, "get_text_features", reading)
    monkeypatch.setattr(model, "forward", asking)
    for batch, alone in zip(base.predict_batch(IMAGES), one_by_one, strict=True):
        same(batch, alone)
    assert seen == {"images": [2, 1], "texts": [], "pairs": [4, 4, 1]}
    assert base.predict_batch([]) == []


def test_it_is_what_the_processor_makes_of_the_model(folder: Path) -> None:
    import torch
    from transformers import Sam3Model, Sam3Processor

    model, processor = Sam3Model.from_pretrained(folder).eval(), Sam3Processor.from_pretrained(folder)
    rgb = np.ascontiguousarray(IMAGES[0][..., ::-1])
    with torch.no_grad():
        out = model(**processor(images=rgb, text="a nut", return_tensors="pt"))
    [wanted] = processor.post_process_instance_segmentation(out, 0.2, 0.4, target_sizes=[rgb.shape[:2]])
    found = base_of(folder, "a nut", score_threshold=0.2, mask_threshold=0.4).predict(IMAGES[0])
    assert 0 < len(found) == len(wanted["scores"])
    np.testing.assert_allclose(found.confidence, wanted["scores"], atol=1e-6)
    np.testing.assert_allclose(found.xyxy, wanted["boxes"], atol=1e-3)
    np.testing.assert_array_equal(found.mask, wanted["masks"].numpy().astype(bool))


def test_masks_come_in_parts_where_the_image_is_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of(folder)
    whole = base.predict(IMAGES[1])
    monkeypatch.setattr("autodistill_rfdetr_seg.bases.sam3._PIXELS_AT_A_TIME", 2 * IMAGES[1].shape[0] * 51 + 1)
    np.testing.assert_array_equal(base.predict(IMAGES[1]).mask, whole.mask)


def test_thresholds(folder: Path) -> None:
    everything = base_of(folder).predict(IMAGES[0])
    least = float(np.median(everything.confidence))
    over = base_of(folder, score_threshold=least).predict(IMAGES[0])
    np.testing.assert_allclose(over.confidence, everything.confidence[everything.confidence > least], atol=1e-6)
    one = base_of(folder, score_threshold=1.0, thresholds={PROMPTS[1]: 0.0}).predict(IMAGES[0])
    assert len(one) == 6 and set(one.class_id) == {1}
    nothing = base_of(folder, score_threshold=1.0).predict_batch(IMAGES[:2])
    assert [n.mask.shape for n in nothing] == [(0, *image.shape[:2]) for image in IMAGES[:2]]
    assert [len(n) for n in nothing] == [0, 0]


def test_a_better_negative_drops_what_it_covers(folder: Path) -> None:
    wanted, unwanted = PROMPTS[0], PROMPTS[2]
    both = base_of(folder, wanted, unwanted).predict(IMAGES[0])
    mine, theirs = both[both.class_id == 0], both[both.class_id == 1]
    # At the model's size, as the base compares them; masks at image size are within a few points of it.
    shared, either = (f(mine.mask[:, None], theirs.mask[None]).sum((2, 3)) for f in (np.logical_and, np.logical_or))
    overlap = shared / either
    better = theirs.confidence[None] > mine.confidence[:, None]
    beaten = ((overlap >= 0.5) & better).any(1)
    assert 0 < beaten.sum() < len(mine)
    left = base_of(folder, wanted, negatives=unwanted).predict(IMAGES[0])
    np.testing.assert_allclose(left.confidence, mine.confidence[~beaten], atol=1e-6)
    assert set(left.class_id) == {0}
    assert len(base_of(folder, wanted, negatives=[unwanted], negative_iou=1.0).predict(IMAGES[0])) == len(mine)


def test_several_prompts_of_one_class_keep_apart_and_options_are_checked(folder: Path) -> None:
    classes = Classes.from_ontology({"a nut": "part", "a blue bolt": "part"})
    base = create_base("sam3", classes, {"model": str(folder), "score_threshold": 0.0, "device": "cpu"})
    assert set(base.predict(IMAGES[0]).class_id) == {0, 1}
    with pytest.raises(UnknownNameError, match="did you mean 'a nut'"):
        base_of(folder, thresholds={"a nutt": 0.1})
    for wrong in ({"score_threshold": 1.5}, {"negative_iou": 0}, {"prompts_per_pass": 0}, {"negatives": "a nut"}):
        with pytest.raises(UsageError):
            base_of(folder, **wrong)
    with pytest.raises(UsageError, match="longer than the 32 tokens"):
        base_of(folder, "x y " * 20)
    with pytest.raises(UnknownNameError, match="score_threshold"):
        create_base("sam3", classes, {"score_treshold": 0.5})


def test_the_identity_is_weights_and_thresholds(folder: Path, tmp_path: Path) -> None:
    entry = find_base("sam3")
    plain = identity_of(entry, {"model": str(folder), "device": "cuda", "dtype": "float16", "prompts_per_pass": 3})
    assert set(plain) == {"sha256", "score_threshold", "mask_threshold", "thresholds", "negatives", "negative_iou"}
    assert identity_of(entry, {"model": str(folder), "score_threshold": 0.5}) == plain
    assert identity_of(entry, {"model": str(folder), "negatives": ["cow"]}) != plain
    assert identity_of(entry, {}) | {"revision": "main"} == identity_of(entry, {"model": "facebook/sam3"})
    with pytest.raises(BaseModelError, match="could not be loaded"):
        (tmp_path / "config.json").write_text('{"model_type": "sam3"}')
        base_of(tmp_path)


def test_a_short_memory_costs_time_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    base = base_of(folder, prompts_per_pass=8)
    expected = base.predict(IMAGES[0])
    forward, asked = base._model.forward, []

    def narrow(**given: Any) -> Any:
        asked.append(len(given["attention_mask"]))
        if asked[-1] > 1:
            raise torch.OutOfMemoryError("too much")
        return forward(**given)

    monkeypatch.setattr(base._model, "forward", narrow)
    same(base.predict(IMAGES[0]), expected)
    assert asked == [3, 1, 1, 1]


def test_weights_within_those_of_the_video_model_load_too(folder: Path, tmp_path: Path) -> None:
    # As facebook/sam3 is published: the configuration of the video model, the detector a part of its weights.
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = {f"detector_model.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    detector = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam3_video", "detector_config": detector}))
    same(base_of(tmp_path).predict(IMAGES[0]), base_of(folder).predict(IMAGES[0]))


def test_lite_text_weights_are_known_by_their_configuration(tmp_path: Path) -> None:
    found = Sam3(CaptionOntology({"a nut": "nut"}), model=str(save_model(tmp_path, lite=True)), score_threshold=0.0)
    assert type(found._model).__name__ == "Sam3LiteTextModel"
    assert len(found.predict(IMAGES[0])) == 6
