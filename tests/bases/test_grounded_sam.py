"""GroundedSAM beside transformers 5: real classes, small random weights, the package's own loading code."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg.bases import groundingdino_compat
from autodistill_rfdetr_seg.bases.base_classes import identity_of
from autodistill_rfdetr_seg.bases.grounded_sam import CorrectedGroundedSAM, GroundedSAMBase, corrected
from autodistill_rfdetr_seg.bases.registry import BASES, create_base, find_base
from autodistill_rfdetr_seg.core.errors import DependencyError, MissingInputError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.pipeline.doctor import optional_parts
from autodistill_rfdetr_seg.system.versions import ReleaseRange
from helpers.commands import finish
from helpers.paths import ROOT, TESTS

pytestmark = pytest.mark.slow

if importlib.util.find_spec("autodistill_grounded_sam") is None:
    pytest.skip("autodistill-grounded-sam is not installed", allow_module_level=True)

HERE = TESTS
ONTOLOGY = {"a red dog": "dog", "puppy": "dog"}
# Wide and low: groundingdino scales to 1333 x 33 pixels, a small part of what it makes of other shapes.
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 160, 3), np.uint8)
# Random weights score anything: every box passes, and so does every token.
ALL = {"box_threshold": -1.0, "text_threshold": -1.0}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from helpers import tiny_grounded_sam

    tiny_grounded_sam.shrink_sam()
    return tiny_grounded_sam.save(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def loaded(home: Path) -> Iterator[Any]:
    """The package's own object, loaded as it loads itself."""
    from autodistill_grounded_sam import GroundedSAM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        yield GroundedSAM(ontology(), **ALL)


@pytest.fixture
def theirs(loaded: Any) -> Any:
    return copy.copy(loaded)


def run(home: Path, *arguments: Any) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a script in a process of its own with the small SAM, off the network."""
    nowhere = "http://127.0.0.1:9"
    paths = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {"HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths, "https_proxy": nowhere}
    return finish([*map(str, arguments)], environment, "helpers.tiny_grounded_sam")


def ontology() -> Any:
    from autodistill.detection import CaptionOntology

    return CaptionOntology(ONTOLOGY)


def named(detector: Any, *prompts: str) -> list[int]:
    """The prompt's index of each box, -1 where its best token is none of the prompt's, from the raw answers."""
    import torch

    found = []
    for index, prompt in enumerate(prompts):
        caption = prompt.lower() + "."
        with torch.no_grad():
            answer = detector.model(detector.preprocess_image(PIXELS)[None], captions=[caption])
        # The first token is [CLS], the last [SEP], with a full stop before it: no word is at either.
        outside = (0, len(detector.model.tokenizer(caption)["input_ids"]) - 1)
        found += [-1 if best in outside else index for best in answer["pred_logits"][0].argmax(1).tolist()]
    return found


def text_model(home: Path) -> tuple[Any, Any, Any]:
    """The mended wrapper, the BERT in it, and its tokenizer."""
    from groundingdino.models.GroundingDINO.bertwarper import BertModelWarper
    from groundingdino.util.get_tokenlizer import get_pretrained_language_model, get_tokenlizer

    bert = get_pretrained_language_model(str(home / "bert")).eval()
    return BertModelWarper(bert), bert, get_tokenlizer(str(home / "bert"))


def test_phrases_are_encoded_as_if_each_were_alone(home: Path) -> None:
    # What groundingdino's mask is for, computed without any mask: one phrase at a time.
    import torch
    from groundingdino.models.GroundingDINO.bertwarper import generate_masks_with_special_tokens_and_transfer_map

    warper, bert, tokenizer = text_model(home)
    tokens = tokenizer(["a red dog. cat. puppy.", "cat."], padding="longest", return_tensors="pt")
    assert tokens["input_ids"][0].tolist() == [101, 1100, 1101, 1102, 1012, 1104, 1012, 1103, 1012, 102]
    special = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"])
    mask, positions, _ = generate_masks_with_special_tokens_and_transfer_map(tokens, special, tokenizer)
    with torch.no_grad():
        found = warper(
            input_ids=tokens["input_ids"],
            token_type_ids=tokens["token_type_ids"],
            attention_mask=mask,
            position_ids=positions,
        )["last_hidden_state"]
        for row, start, stop in ((0, 0, 1), (0, 1, 5), (0, 5, 7), (0, 7, 9), (1, 1, 3)):
            alone = bert(input_ids=tokens["input_ids"][row : row + 1, start:stop])[0][0]
            assert torch.allclose(found[row, start:stop], alone, atol=1e-5)
        whole = bert(input_ids=tokens["input_ids"][:1], position_ids=positions[:1])[0][0]
        padded = warper(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])["last_hidden_state"]
        assert torch.allclose(padded[1, :4], bert(input_ids=tokens["input_ids"][1:, :4])[0][0], atol=1e-5)
    assert (found[0] - whole).abs().max() > 0.1


def test_the_additive_mask() -> None:
    import torch

    mask = torch.tensor([[[True, False], [True, True]]])
    low = torch.finfo(torch.float16).min
    assert groundingdino_compat.additive(mask, torch.float16).tolist() == [[[[0.0, low], [0.0, 0.0]]]]
    assert groundingdino_compat.additive(torch.tensor([[1, 0]]), torch.float16).tolist() == [[[[0.0, low]]]]


def test_transformers_is_left_alone(home: Path) -> None:
    from transformers import BertModel

    warper, _, _ = text_model(home)
    assert not any(hasattr(BertModel, name) for name in ("get_extended_attention_mask", "get_head_mask"))
    assert BertModel.forward.__module__.startswith("transformers.")
    # The checkpoint's names, each once.
    assert {name.partition(".")[0] for name in warper.state_dict()} == {"embeddings", "encoder", "pooler"}
    assert warper.half().embeddings.word_embeddings.weight.dtype is warper.run.__self__.dtype


def test_other_versions_of_transformers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groundingdino_compat, "TESTED", ReleaseRange("transformers", "5.1", "5.2"))
    with pytest.raises(DependencyError, match="has not been tested with transformers 5") as error:
        text_model(home)
    assert error.value.hint == "pip install 'transformers>=5.1,<5.2'"
    with pytest.raises(DependencyError, match="has not been tested"):
        create_base("grounded-sam", Classes.from_ontology(ONTOLOGY))


def test_prompts_masks_and_scores(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(home))
    base = create_base("grounded-sam", Classes.from_ontology(ONTOLOGY), ALL)
    found = base.predict(PIXELS)
    assert capsys.readouterr().out == ""
    assert found.class_id.tolist() == named(base._detector._model, *ONTOLOGY)
    assert (found.mask.shape, found.mask.dtype) == ((8, 4, 160), bool)
    # The detector's own numbers, of a prompt asked alone.
    alone = base._detector._model.predict_with_classes(image=PIXELS, classes=["puppy"], **ALL)
    assert np.array_equal(alone.xyxy, found.xyxy[4:8]) and np.array_equal(alone.confidence, found.confidence[4:8])
    assert not np.allclose(found.xyxy[:4], found.xyxy[4:8])
    made = base.segment(PIXELS, found.xyxy)
    assert np.array_equal(made.masks, found.mask)
    assert np.array_equal(made.scores, found.data["mask_score"])
    assert base.segment(PIXELS, np.zeros((0, 4))).masks.shape == (0, 4, 160)


def test_defaults_are_the_packages() -> None:
    import inspect

    from autodistill_grounded_sam import GroundedSAM

    theirs, ours = (inspect.signature(cls).parameters for cls in (GroundedSAM, GroundedSAMBase))
    assert {name: p.default for name, p in theirs.items()} == {name: p.default for name, p in ours.items()}
    args = {name: p.default for name, p in ours.items() if name != "ontology"}
    assert GroundedSAMBase.identity(args) == GroundedSAMBase.identity({})


def test_a_users_own_object_is_corrected_and_left_as_it_is(theirs: Any) -> None:
    before = dict(vars(theirs))
    source = BaseSource.from_model(theirs)
    assert isinstance(source.model, CorrectedGroundedSAM)
    assert source.provenance.base == "autodistill_grounded_sam.grounded_sam:GroundedSAM"
    assert source.provenance.args == ALL
    assert vars(theirs) == before and "set_image" not in vars(theirs.sam_predictor)

    # SAM sees RGB: by hand, from the pixels turned round.
    bgr = PIXELS[..., ::-1].copy()
    boxes = theirs.grounding_dino_model.predict_with_classes(image=bgr, classes=["puppy"], **ALL).xyxy
    given = source.model.predict(bgr)
    predictor = theirs.sam_predictor
    predictor.set_image(PIXELS)
    right = [predictor.predict(box=box, multimask_output=False)[:2] for box in boxes]
    predictor.set_image(bgr)
    wrong = [predictor.predict(box=box, multimask_output=False)[1][0] for box in boxes]
    assert np.array_equal(given.mask[4:], [masks[0] for masks, _ in right])
    assert np.array_equal(given.data["mask_score"][4:], [scores[0] for _, scores in right])
    assert not np.allclose(given.data["mask_score"][4:], wrong, atol=1e-5)


def test_what_is_tested_is_what_is_installed() -> None:
    tested = groundingdino_compat.TESTED
    assert f'"transformers{tested.requirement}"' in (ROOT / "pyproject.toml").read_text()
    assert f"from {tested.beyond} it is refused" in (ROOT / "docs" / "reference" / "bases.md").read_text()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(find_base("grounded-sam"), package="no_such_package")
    monkeypatch.setitem(BASES, "grounded-sam", entry)
    with pytest.raises(DependencyError, match="no_such_package") as error:
        create_base("grounded-sam", Classes.from_ontology(ONTOLOGY))
    assert error.value.hint == "pip install 'autodistill-rfdetr-seg[grounded-sam]'"
    assert not next(part for part in optional_parts() if part.name == "base grounded-sam").present


class Own:
    """A base that is none of theirs."""

    def predict(self, image: Any) -> Any:
        return image


def test_other_bases_stay() -> None:
    own = Own()
    assert corrected(own) is own


def test_no_boxes_and_boxes_without_a_word(theirs: Any) -> None:
    theirs.box_threshold = 2.0
    assert theirs.predict(PIXELS).mask.shape == (0,)
    theirs.sam_predictor.reset_image()
    found = corrected(theirs).predict(PIXELS)
    assert (len(found), found.mask) == (0, None)
    assert not theirs.sam_predictor.is_image_set

    # No token passes the text threshold: the package gives such boxes their prompt's class.
    theirs.box_threshold, theirs.text_threshold = -1, 2.0
    assert theirs.predict(PIXELS).class_id.tolist() == [0] * 4 + [1] * 4
    answer = BaseSource.from_model(theirs).adapter().ask(PIXELS)
    assert (answer.instances, answer.dropped) == ((), {"unknown_class": 8})


def test_what_no_word_was_found_for_is_not_in_autodistills_own_files(theirs: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.fromarray(PIXELS).save(tmp_path / "in" / f"{number}.png")
    theirs.box_threshold, theirs.text_threshold = -1, 2.0
    dataset = corrected(theirs).label(str(tmp_path / "in"), ".png", str(tmp_path / "out"))
    assert [len(found) for found in dataset.annotations.values()] == [0] * 2
    theirs.text_threshold = -1
    base = corrected(theirs)
    named_here = int((base.predict(PIXELS[..., ::-1].copy()).class_id >= 0).sum())
    dataset = base.label(str(tmp_path / "in"), ".png", str(tmp_path / "other"))
    assert [len(found) for found in dataset.annotations.values()] == [named_here] * 2 and named_here > 0


def test_a_prompt_found_in_part_keeps_its_box(theirs: Any) -> None:
    from autodistill.detection import CaptionOntology

    # groundingdino's tokenizer lowers the case: the phrase `cat` is not the prompt `Cat`, word for word.
    theirs.ontology = CaptionOntology({"cat": "cat", "Cat": "tom"})
    detector = theirs.grounding_dino_model
    assert detector.predict_with_classes(image=PIXELS, classes=["Cat"], **ALL).class_id.tolist() == [None] * 4
    found = corrected(theirs).predict(PIXELS)
    assert found.class_id.tolist() == named(detector, "cat", "Cat")
    assert {0, 1} <= set(found.class_id.tolist())
    assert np.array_equal(found.xyxy[:4], found.xyxy[4:])


def test_identity_and_missing_weights(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashlib import sha256

    entry = find_base("grounded-sam")
    monkeypatch.setenv("HOME", str(tmp_path))
    published = identity_of(entry, {"box_threshold": 0.2})
    assert published["box_threshold"] == 0.2
    assert sorted(published["weights"]) == sorted(
        Path(place).name for place, _ in entry.weights if place.startswith("~")
    )

    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(MissingInputError, match="could not be fetched") as error:
        create_base("grounded-sam", Classes.from_ontology(ONTOLOGY))
    cache = tmp_path / ".cache" / "autodistill"
    for path in (cache / "groundingdino/groundingdino_swint_ogc.pth", cache / "segment_anything/sam_vit_h_4b8939.pth"):
        assert str(path) in str(error.value.hint)

    monkeypatch.setenv("HOME", str(home))
    weights = identity_of(entry, {})["weights"]
    sam = home / ".cache/autodistill/segment_anything/sam_vit_h_4b8939.pth"
    assert weights["sam_vit_h_4b8939.pth"] == sha256(sam.read_bytes()).hexdigest()
    assert weights != published["weights"]


def test_from_the_command_line(home: Path, tmp_path: Path) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    for number in range(2):  # one to train on, one to validate with
        Image.fromarray(np.roll(PIXELS, number, axis=0)).save(images / f"{number}.png")
    command = ["label", images, "--base", "grounded-sam", "--class", "a red dog=dog", "--split", "0.5,0.5,0", "--json"]
    thresholds = [f"--base-arg={name}={value}" for name, value in ALL.items()]
    code, out, err = run(home, "autodistill_rfdetr_seg", *command, *thresholds, "--output", tmp_path / "r")
    assert code == 0, err
    assert json.loads(out)["failures"] == []
    coco = [json.loads(p.read_text()) for p in (tmp_path / "r/dataset").glob("*/_annotations.coco.json")]
    assert sum(len(one["images"]) for one in coco) == 2
    assert sum(len(one["annotations"]) for one in coco) > 0


OLD_SCRIPT = """
import sys
from autodistill_grounded_sam import GroundedSAM
from autodistill.detection import CaptionOntology
import autodistill_rfdetr_seg

base = GroundedSAM(ontology=CaptionOntology({"a red dog": "dog", "cat": "cat"}), box_threshold=-1, text_threshold=-1)
found = base.predict(sys.argv[1])
print("found", found.class_id.tolist(), found.mask.shape)
"""


def test_an_old_script(home: Path, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg")
    (tmp_path / "old.py").write_text(OLD_SCRIPT)
    code, out, err = run(home, tmp_path / "old.py", tmp_path / "x.jpg")
    assert code == 0, err
    assert out.splitlines()[-1] == "found [0, 0, 0, 0, 1, 1, 1, 1] (8, 4, 160)"
