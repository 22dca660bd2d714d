from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import huggingface_hub
import numpy as np
import pytest
import supervision as sv
import torch
import transformers
from autodistill.detection import CaptionOntology, DetectionBaseModel

from autodistill_rfdetr_seg.bases import hub
from autodistill_rfdetr_seg.bases.grounding import grounding_cpu_speed as grounding_speed
from autodistill_rfdetr_seg.bases.grounding.grounding_dino import MODEL, REVISION, GroundingDino
from autodistill_rfdetr_seg.bases.registry import BASES, create_base
from autodistill_rfdetr_seg.core.config import BaseConfig
from autodistill_rfdetr_seg.core.errors import BaseModelError, MissingInputError, UnknownNameError, UsageError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from helpers.tiny_dino import save_tiny_dino

ONTOLOGY = {"a cat": "cat", "Red dog": "dog", "remote controls": "remote", "puppy": "dog"}
ALL = {"box_threshold": 0.0, "text_threshold": 0.0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_dino(tmp_path_factory.mktemp("weights") / "tiny-dino"))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    made = []
    for height, width in ((80, 100), (64, 64), (80, 100), (200, 120), (80, 100)):
        coarse = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        made.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))
    return made


class Plain:
    """transformers alone: its processor, its forward, its post-processing."""

    def __init__(self, weights: str) -> None:
        self.processor = transformers.AutoProcessor.from_pretrained(weights)
        self.model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(weights).eval()

    def ask(self, bgr: np.ndarray, text: str) -> tuple[Any, Any]:
        inputs = self.processor(images=bgr[:, :, ::-1].copy(), text=text, return_tensors="pt")
        with torch.no_grad():
            out = self.model(**inputs)
        # The marks between prompts have logits too, which are nobody's score.
        out.logits[..., torch.isin(inputs["input_ids"][0], torch.tensor([101, 102, 1012])).nonzero()[:, 0]] = -torch.inf
        return out, inputs["input_ids"]

    def detections(self, bgr: np.ndarray, prompt: str, threshold: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
        out, ids = self.ask(bgr, f"{prompt.lower()}.")
        (found,) = self.processor.post_process_grounded_object_detection(
            out, ids, threshold=threshold, text_threshold=0.0, target_sizes=[bgr.shape[:2]]
        )
        return found["boxes"].numpy(), found["scores"].numpy(), found["text_labels"]

    def by_prompt(self, bgr: np.ndarray, prompts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Of one caption of them all: scores (queries, prompts), tokens parted at 1012, and boxes in pixels."""
        out, ids = self.ask(bgr, "".join(f"{prompt.lower()}. " for prompt in prompts))
        scores = out.logits[0].sigmoid().numpy()
        ends = [0, *np.flatnonzero(ids[0].numpy() == 1012)]
        each = [scores[:, a + 1 : b].max(axis=1) for a, b in itertools.pairwise(ends)]
        cx, cy, w, h = out.pred_boxes[0].numpy().T
        boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
        return np.stack(each, axis=1), boxes * np.tile(bgr.shape[1::-1], 2)


@pytest.fixture(scope="module")
def plain(weights: str) -> Plain:
    return Plain(weights)


@pytest.fixture(scope="module")
def joint(weights: str) -> GroundingDino:
    return GroundingDino(ONTOLOGY, model=weights, device="cpu", **ALL)


@pytest.fixture(scope="module")
def exact(weights: str) -> GroundingDino:
    return GroundingDino(ONTOLOGY, model=weights, device="cpu", mode="exact", **ALL)


def assert_same(found: sv.Detections, other: sv.Detections, image: np.ndarray, tolerance: float = 1e-4) -> None:
    """The same boxes, relative to the image, and scores; in any order where scores are as good as equal."""
    assert len(found) == len(other) > 0
    size = np.tile(image.shape[1::-1], 2)
    rows = [
        np.column_stack([one.class_id, one.xyxy / size, one.confidence])[np.lexsort((one.xyxy[:, 0], one.class_id))]
        for one in (found, other)
    ]
    np.testing.assert_allclose(rows[0], rows[1], atol=tolerance)


def middle(scores: np.ndarray) -> float:
    """A threshold in the widest gap of the middle half, so that rounding decides nothing."""
    ranked = np.sort(scores)
    inner = ranked[len(ranked) // 4 : -len(ranked) // 4]
    at = int(np.diff(inner).argmax())
    return float(inner[at] + inner[at + 1]) / 2


def test_one_prompt_as_transformers_has_it(weights: str, plain: Plain, images: list[np.ndarray]) -> None:
    threshold = middle(plain.detections(images[0], "Red dog", 0.0)[1])
    boxes, scores, labels = plain.detections(images[0], "Red dog", threshold)
    assert 5 < len(scores) < 25 and set(labels) == {"red dog"}
    base = GroundingDino({"Red dog": "dog"}, model=weights, box_threshold=threshold, text_threshold=0.0)
    found = base.predict(images[0])
    order = np.argsort(-scores, kind="stable")
    np.testing.assert_allclose(found.xyxy, boxes[order], atol=1e-3)
    np.testing.assert_allclose(found.confidence, scores[order], atol=1e-5)
    assert found.xyxy.dtype == found.confidence.dtype == np.float32
    assert found.class_id.tolist() == [0] * len(scores) and found.mask is None
    # A model that were shown BGR as RGB would say something else.
    assert abs(plain.detections(images[0][:, :, ::-1], "Red dog", 0.0)[1].max() - scores.max()) > 1e-3


def test_exact_is_one_prompt_and_one_image_at_a_time(
    exact: GroundingDino, plain: Plain, images: list[np.ndarray]
) -> None:
    found = exact.predict_batch(images)
    for image, one in zip(images, found, strict=True):
        for index, prompt in enumerate(ONTOLOGY):
            boxes, scores, _ = plain.detections(image, prompt, 0.0)
            of_prompt = one[one.class_id == index]
            other = sv.Detections(xyxy=boxes, confidence=scores, class_id=np.full(len(scores), index))
            assert_same(of_prompt, other, image, 1e-5)


def test_exact_computes_the_features_of_an_image_once(
    exact: GroundingDino, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    compute = exact._features._compute
    monkeypatch.setattr(exact._features, "_compute", lambda *args: shown.append(len(args[0])) or compute(*args))
    exact.predict_batch(images)
    assert sum(shown) == len(images)
    assert exact._features._known == {}


def test_joint_gives_each_box_its_best_prompt(joint: GroundingDino, plain: Plain, images: list[np.ndarray]) -> None:
    scores, boxes = plain.by_prompt(images[0], list(ONTOLOGY))
    expected = sv.Detections(xyxy=boxes, confidence=scores.max(axis=1), class_id=scores.argmax(axis=1))
    assert len(set(expected.class_id)) > 1
    assert_same(joint.predict(images[0]), expected, images[0], 1e-5)


def test_a_batch_is_as_one_by_one(joint: GroundingDino, exact: GroundingDino, images: list[np.ndarray]) -> None:
    for base in (joint, exact):
        for image, found in zip(images, base.predict_batch(images), strict=True):
            assert_same(found, base.predict(image), image)
    assert joint.predict_batch([]) == []


def test_the_same_twice(exact: GroundingDino, images: list[np.ndarray]) -> None:
    first, second = exact.predict_batch(images), exact.predict_batch(images)
    assert all(np.array_equal(a.xyxy, b.xyxy) for a, b in zip(first, second, strict=True))


def test_a_hundred_classes_over_several_captions(weights: str, plain: Plain, images: list[np.ndarray]) -> None:
    prompts = [f"thing {n}" for n in range(100)]
    base = GroundingDino({prompt: prompt for prompt in prompts}, model=weights, **ALL)
    assert len(base._captions) == 2
    found = base.predict(images[1])
    parts = [sorted(set(caption.owners) - {-1}) for caption in base._captions]
    assert sorted(itertools.chain(*parts)) == list(range(100))
    expected = []
    for part in parts:
        scores, boxes = plain.by_prompt(images[1], [prompts[n] for n in part])
        class_id = np.array(part)[scores.argmax(axis=1)]
        expected.append(sv.Detections(xyxy=boxes, confidence=scores.max(axis=1), class_id=class_id))
    assert_same(found, sv.Detections.merge(expected), images[1], 1e-5)


def test_thresholds(weights: str, exact: GroundingDino, images: list[np.ndarray]) -> None:
    everything = exact.predict(images[0])
    scores = [everything.confidence[everything.class_id == n] for n in range(4)]
    general, own = middle(scores[0]), middle(scores[1])
    options = {"model": weights, "mode": "exact"}
    base = GroundingDino(ONTOLOGY, box_threshold=general, text_threshold=0, thresholds={"Red dog": own}, **options)
    floor = GroundingDino(ONTOLOGY, box_threshold=0, text_threshold=general, thresholds={"Red dog": own}, **options)
    expected = [int((s > (own if n == 1 else general)).sum()) for n, s in enumerate(scores)]
    assert expected[1] != int((scores[1] > general).sum())
    for one in (base, floor):
        assert np.bincount(one.predict(images[0]).class_id, minlength=4).tolist() == expected


def test_a_box_is_its_best_prompts_of_those_over_their_thresholds(
    weights: str, plain: Plain, images: list[np.ndarray]
) -> None:
    scores, boxes = plain.by_prompt(images[0], list(ONTOLOGY))
    # The prompt that has most boxes is asked for nothing: what it had goes to those it beat, or is below theirs too.
    winner = int(np.bincount(scores.argmax(axis=1)).argmax())
    rest = np.delete(scores, winner, axis=1).max(axis=1)
    limit = middle(rest)
    wanted = [1.0 if at == winner else limit for at in range(4)]
    thresholds = dict(zip(ONTOLOGY, wanted, strict=True))
    over = np.where(scores > wanted, scores, -1)
    keep = over.max(axis=1) > 0
    assert 0 < (keep & (scores.argmax(axis=1) == winner)).sum() < keep.sum()
    expected = sv.Detections(xyxy=boxes[keep], confidence=over.max(axis=1)[keep], class_id=over.argmax(axis=1)[keep])
    base = GroundingDino(ONTOLOGY, model=weights, thresholds=thresholds)
    assert_same(base.predict(images[0]), expected, images[0], 1e-5)


def test_one_prompt_said_twice_has_one_threshold(weights: str) -> None:
    twice = {"a cat": "cat", "A Cat.": "cat"}
    with pytest.raises(UsageError, match=r"'a cat' and 'A Cat\.' are the same to the model, but .* thresholds"):
        GroundingDino(twice, model=weights, thresholds={"a cat": 0.9, "A Cat.": 0.1})
    with pytest.raises(UsageError, match="thresholds"):
        GroundingDino(twice, model=weights, thresholds={"A Cat.": 0.1})
    both = {"a cat": 0.2, "A Cat.": 0.2}
    assert GroundingDino(twice, model=weights, thresholds=both).thresholds == both


@pytest.mark.parametrize("mode", ["joint", "exact"])
def test_what_a_negative_finds_better_is_dropped(
    weights: str, plain: Plain, images: list[np.ndarray], mode: Any
) -> None:
    negatives = ["a plush toy", "thing"]
    base = GroundingDino(ONTOLOGY, model=weights, mode=mode, negatives=negatives, **ALL)
    prompts = [*ONTOLOGY, *negatives]
    dropped = 0
    for image in images[:3]:
        # (box, score, prompt) of the best prompt and of the best negative of each query of each caption.
        found: dict[bool, list[sv.Detections]] = {False: [], True: []}
        for part in [list(range(6))] if mode == "joint" else [[n] for n in range(6)]:
            scores, boxes = plain.by_prompt(image, [prompts[n] for n in part])
            for negative, columns in ((False, [n for n in part if n < 4]), (True, [n for n in part if n >= 4])):
                if columns:
                    own = scores[:, [part.index(n) for n in columns]]
                    class_id = np.array(columns)[own.argmax(axis=1)]
                    found[negative].append(sv.Detections(xyxy=boxes, confidence=own.max(axis=1), class_id=class_id))
        positive, against = sv.Detections.merge(found[False]), sv.Detections.merge(found[True])
        better = (against.confidence[None] > positive.confidence[:, None]) & (
            sv.box_iou_batch(positive.xyxy, against.xyxy) >= 0.8
        )
        assert 0 < better.any(axis=1).sum() < len(positive)
        assert_same(base.predict(image), positive[~better.any(axis=1)], image, 1e-5)
        dropped += int(better.any(axis=1).sum())
    assert base.dropped_by_negatives == dropped


def test_one_negative_may_be_plain_text(weights: str) -> None:
    assert GroundingDino(ONTOLOGY, model=weights, negatives="a plush toy").negatives == ("a plush toy",)


def test_boxes_of_one_prompt_are_thinned_where_asked(
    weights: str, exact: GroundingDino, images: list[np.ndarray]
) -> None:
    everything = exact.predict(images[0])
    overlaps = sv.box_iou_batch(everything.xyxy, everything.xyxy)
    same = everything.class_id[:, None] == everything.class_id[None]
    iou = middle(np.unique(overlaps[same & (overlaps > 1e-6) & (overlaps < 0.99)]))
    found = GroundingDino(ONTOLOGY, model=weights, mode="exact", nms_iou=iou, **ALL).predict(images[0])
    assert_same(found, everything.with_nms(threshold=iou), images[0])
    assert len(found) < len(everything)


@pytest.mark.parametrize("mode", ["joint", "exact"])
def test_out_of_memory_halves_the_batch(
    weights: str, images: list[np.ndarray], mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = GroundingDino(ONTOLOGY, model=weights, mode=mode, **ALL)
    expected = base.predict_batch(images)
    forward, sizes, room = base._network.forward, [], 1

    def short(**inputs: Any) -> Any:
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > room:
            # After the backbone, as on a device.
            base._network.model.backbone(inputs["pixel_values"], torch.ones_like(inputs["pixel_values"][:, 0]))
            raise torch.OutOfMemoryError("out of memory")
        return forward(**inputs)

    monkeypatch.setattr(base._network, "forward", short)
    for image, found, other in zip(images, base.predict_batch(images), expected, strict=True):
        assert_same(found, other, image)
    assert max(sizes) > 1
    room = 0
    with pytest.raises(BaseModelError, match="too little memory for one image"):
        base.predict(images[0])
    room = 8
    assert_same(base.predict(images[0]), expected[0], images[0])


def test_half_precision_leaves_boxes_whole(weights: str, images: list[np.ndarray]) -> None:
    base = GroundingDino(ONTOLOGY, model=weights, mode="exact", dtype="bfloat16", device="cpu", **ALL)
    found = base.predict(images[0])
    assert len(found) == 120 and found.xyxy.dtype == np.float32
    # Coordinates of bfloat16 would be among a few hundred values.
    assert len(np.unique((found.xyxy[:, 0] + found.xyxy[:, 2]) / 2)) > 100
    with pytest.raises(UsageError, match="int8"):
        GroundingDino(ONTOLOGY, model=weights, dtype="int8")


def test_an_answer_that_is_no_number_is_an_error(weights: str, images: list[np.ndarray]) -> None:
    base = GroundingDino(ONTOLOGY, model=weights)
    with torch.no_grad():
        base._network.model.decoder.layer_norm.weight.fill_(torch.nan)
    with pytest.raises(BaseModelError, match="not a number"):
        base.predict(images[0])


def test_nothing_found(weights: str, images: list[np.ndarray]) -> None:
    found = GroundingDino(ONTOLOGY, model=weights, box_threshold=1.0).predict(images[0])
    assert found.xyxy.shape == (0, 4) and found.class_id.shape == found.confidence.shape == (0,)


def test_no_gradient_is_kept(exact: GroundingDino, images: list[np.ndarray]) -> None:
    base_output: list[Any] = []
    handle = exact._network.register_forward_hook(lambda _, __, output: base_output.append(output.logits))
    exact.predict(images[0])
    handle.remove()
    assert not any(logits.requires_grad for logits in base_output) and not exact._network.training


def test_mm_grounding_dino_works_too(tmp_path: Path, images: list[np.ndarray]) -> None:
    weights = str(save_tiny_dino(tmp_path, mm=True))
    base = GroundingDino(ONTOLOGY, model=weights, mode="exact", **ALL)
    boxes, scores, _ = Plain(weights).detections(images[0], "a cat", 0.0)
    found = base.predict(images[0])
    other = sv.Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(scores), dtype=int))
    assert_same(found[found.class_id == 0], other, images[0], 1e-5)


def test_it_is_an_autodistill_base(joint: GroundingDino, images: list[np.ndarray], tmp_path: Path) -> None:
    assert isinstance(joint, DetectionBaseModel)
    assert isinstance(joint.ontology, CaptionOntology)
    folder = tmp_path / "photos"
    folder.mkdir()
    for n, image in enumerate(images[:3]):
        cv2.imwrite(str(folder / f"{n}.png"), image)
    dataset = joint.label(str(folder), extension=".png", output_folder=str(tmp_path / "out"))
    assert dataset.classes == ["cat", "dog", "remote", "dog"]
    assert sorted(len(detections) for detections in dataset.annotations.values()) == [30, 30, 30]
    assert_same(joint.predict(folder / "0.png"), joint.predict(images[0]), images[0])


def test_wrong_options_are_refused(weights: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'joint'"):
        GroundingDino(ONTOLOGY, model=weights, mode="joined")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean 'Red dog'"):
        GroundingDino(ONTOLOGY, model=weights, thresholds={"red dogs": 0.3})
    with pytest.raises(UsageError, match=r"1\.2"):
        GroundingDino(ONTOLOGY, model=weights, box_threshold=1.2)
    with pytest.raises(UsageError, match="ontology is empty"):
        GroundingDino({}, model=weights)
    with pytest.raises(UsageError, match="not for the same class"):
        GroundingDino(ONTOLOGY, model=weights, negatives=["A cat."])
    with pytest.raises(UsageError, match="300 tokens long, and the model takes 253"):
        GroundingDino({"cat " * 300: "cat"}, model=weights)
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}')
    with pytest.raises(UsageError, match="are of the kind owlv2"):
        GroundingDino(ONTOLOGY, model=str(tmp_path))


def test_identity(weights: str, tmp_path: Path) -> None:
    plain = GroundingDino.identity({"model": weights, "device": "cuda:1"})
    assert json.loads(json.dumps(plain)) == plain
    assert plain == GroundingDino.identity({"model": weights, "box_threshold": 0.35, "negatives": []})
    assert plain["weights"] == {"sha256": plain["weights"]["sha256"]} and "device" not in plain
    changed = ({"mode": "exact"}, {"negatives": "toy"}, {"thresholds": {"a": 0.1}}, {"dtype": "float16"})
    assert all(GroundingDino.identity({"model": weights, **one}) != plain for one in changed)
    # A folder is known by what is in it, not by where it is.
    moved = Path(shutil.copytree(weights, tmp_path / "moved"))
    assert GroundingDino.identity({"model": str(moved)}) == plain
    other = save_tiny_dino(tmp_path / "other", seed=2)
    assert GroundingDino.identity({"model": str(other)}) != plain
    assert GroundingDino.identity({})["weights"] == {"model": MODEL, "revision": REVISION}
    assert GroundingDino.identity({"model": "me/mine"})["weights"] == {"model": "me/mine", "revision": "main"}
    with pytest.raises(MissingInputError):
        GroundingDino.identity({"model": "./nowhere"})


def test_it_is_in_the_registry(weights: str) -> None:
    classes = Classes.from_ontology(ONTOLOGY)
    base = create_base("grounding-dino", classes, {"model": weights, "mode": "exact"})
    assert isinstance(base, GroundingDino) and base.mode == "exact"
    assert BASES["grounding-dino"].weights[0][0] == f"{MODEL}@{REVISION}"
    with pytest.raises(UnknownNameError, match="did you mean 'negatives'"):
        create_base("grounding-dino", classes, {"negative": ["toy"]})
    with pytest.raises(UsageError, match="boxes without masks"):
        BaseSource.from_config(BaseConfig(name="grounding-dino"), classes)


def test_offline_it_keeps_to_the_hubs_cache(
    weights: str, images: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--me--tiny"
    shutil.copytree(weights, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    # What HF_HUB_OFFLINE=1 and HF_HUB_CACHE set when the hub's client is imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert len(GroundingDino(ONTOLOGY, model="me/tiny", **ALL).predict(images[0])) == 30
    with pytest.raises(BaseModelError, match=f"could not be loaded from {MODEL}") as caught:
        GroundingDino(ONTOLOGY)
    # What is missing is a commit, and that is what fills the cache.
    assert f"could not be loaded from {MODEL}, revision {REVISION}:" in caught.value.message
    assert f"`hf download {MODEL} --revision {REVISION}`" in str(caught.value.hint)
    assert "HF_HUB_OFFLINE" in str(caught.value.hint)


@pytest.mark.parametrize("mm", [False, True])
def test_the_quick_steps_are_transformers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mm: bool) -> None:
    folder = save_tiny_dino(tmp_path / "dino", mm=mm)
    theirs, quick = (transformers.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval() for _ in range(2))
    for network in (theirs, quick):
        for name, parameter in network.named_parameters():
            if name.endswith("proj.bias"):  # zero when they are made
                parameter.data = torch.linspace(-1, 1, len(parameter))
    # More parts than one, the last not full.
    monkeypatch.setattr(grounding_speed, "_QUERIES", 100)
    grounding_speed.quicken(quick)
    # Two captions and two images that are not of one size, so that both are padded.
    ids = torch.tensor([[101, 1103, 1012, 102, 0, 0], [101, 1100, 1104, 1105, 1012, 102]])
    seen = torch.ones(2, 64, 96, dtype=torch.int64)
    seen[1, :, 70:] = 0
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    given = {"pixel_values": pixels, "pixel_mask": seen, "input_ids": ids, "attention_mask": (ids > 0).long()}
    with torch.no_grad():
        expected, found = theirs(**given), quick(**given)
        other = theirs(**{**given, "input_ids": ids.flip(1)})
    for name in ("encoder_last_hidden_state_vision", "encoder_last_hidden_state_text", "pred_boxes"):
        assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-5)
    assert torch.allclose(found.logits[..., :4], expected.logits[..., :4], atol=1e-4)
    # The text reaches the image: a wrong fusion would show.
    difference = other.encoder_last_hidden_state_vision - expected.encoder_last_hidden_state_vision
    assert difference.abs().max() > 1e-2


@pytest.mark.parametrize("downloads", [False, True])
def test_loading_shows_no_bar_and_leaves_bars_as_they_were(
    weights: str, capfd: pytest.CaptureFixture[str], downloads: bool
) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    assert logging.is_progress_bar_enabled() and not are_progress_bars_disabled()
    transformers.AutoModelForZeroShotObjectDetection.from_pretrained(weights)
    assert "Loading weights" in capfd.readouterr().err
    try:
        if not downloads:
            disable_progress_bars()
        GroundingDino(ONTOLOGY, model=weights)
        with pytest.raises(BaseModelError):
            hub.load(transformers.AutoModelForZeroShotObjectDetection, str(Path(weights).parent))
        assert capfd.readouterr().err == ""
        assert (logging.is_progress_bar_enabled(), not are_progress_bars_disabled()) == (True, downloads)
        logging.disable_progress_bar()
        GroundingDino(ONTOLOGY, model=weights)
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.enable_progress_bar()
        enable_progress_bars()
