"""A run's model as the base of the next round, through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg import label
from autodistill_rfdetr_seg.bases.base_classes import identity_of
from autodistill_rfdetr_seg.bases.registry import find_base, own_ontology
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.config import BaseConfig
from autodistill_rfdetr_seg.core.errors import MissingInputError, TrainingError, UnknownNameError, UsageError
from autodistill_rfdetr_seg.system.config_files import load
from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.targets import RFDETRSeg
from autodistill_rfdetr_seg.targets.student_base import StudentBase
from helpers.tiny_training import draw

pytestmark = pytest.mark.train
RULES = ("nms_iou", "nms_iom", "agnostic_nms_iou")


@pytest.fixture(scope="module")
def first(speaking_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a model of `ant` and `bee` in it, and photos beside."""
    home = tmp_path_factory.mktemp("student")
    shutil.copytree(speaking_run, home / "first")
    (home / "photos").mkdir()
    for at in range(6):
        Image.fromarray(draw(at)[0]).save(home / "photos" / f"{at}.png")
    return home / "first"


def test_the_whole_way(first: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(first.parent)
    args = ["label", "photos", "--base", "./first", "--output", "second", "--base-arg", "device=cpu", "-q"]
    assert main([*args, *(f"--set=refine.{rule}=null" for rule in RULES), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    saved = yaml.safe_load(Path("second/pipeline.yaml").read_text())
    assert saved["ontology"] == {"ant": "ant", "bee": "bee"}
    assert saved["base"]["name"] == str(first.resolve())
    for name in ("ant", "bee"):
        assert result["per_class"][name]["kept"] > 0
    # The build reads what is there, wherever it is called from.
    monkeypatch.chdir("/")
    assert main(["build", str(first.parent / "second"), "--confidence", "0.8", "-q", "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["kept"] < result["kept"]
    assert main(["build", str(first.parent / "second"), "--confidence", "0", "-q"]) == 0
    capsys.readouterr()
    assert main(["explain", str(first.parent / "second"), "train:1"]) == 0
    out = capsys.readouterr().out
    assert f"checkpoint_sha256 {file_sha256(first / 'training' / 'checkpoint_best_total.pth')}" in out
    assert "base        student" in out


def test_it_is_an_autodistill_base(first: Path, tmp_path: Path) -> None:
    base = StudentBase({"bee": "animal"}, first, confidence=0.3, device="cpu")
    assert isinstance(base, DetectionBaseModel)
    photos = first.parent / "photos"
    dataset = base.label(str(photos), extension=".png", output_folder=str(tmp_path / "out"))
    assert len(dataset.annotations) == 6
    for path, found in dataset.annotations.items():
        assert len(found) == len(base.predict(path)) == len(base.predict(Image.open(path)))
    assert sum(map(len, dataset.annotations.values())) > 0


def test_an_ontology_renames_and_leaves_out(first: Path) -> None:
    images = [draw(at)[0][..., ::-1] for at in range(3)]
    every = StudentBase(CaptionOntology({"ant": "ant", "bee": "bee"}), first, confidence=0.0, device="cpu")
    target = RFDETRSeg.from_checkpoint(first / "training" / "checkpoint_best_total.pth", device="cpu")
    (told,) = target.predict_batch([images[1][..., ::-1]], 0.0)
    said = every.predict(images[1])
    assert len(said) == len(told) and np.array_equal(said.class_id, told.class_id)
    assert np.array_equal(said.mask, told.mask) and np.array_equal(said.confidence, told.confidence)
    turned = StudentBase(CaptionOntology({"bee": "animal", "ant": "animal"}), first, confidence=0.0, device="cpu")
    assert np.array_equal(turned.predict(images[1]).class_id, 1 - told.class_id)
    bees = StudentBase(CaptionOntology({"bee": "animal"}), first, confidence=0.0, device="cpu")
    found = bees.predict_batch(images)
    assert len(found) == 3 and found[1].mask.shape == (int((told.class_id == 1).sum()), *images[1].shape[:2])
    assert set(found[1].class_id) <= {0}
    ants = StudentBase(CaptionOntology({"ant": "animal"}), first, confidence=0.0, device="cpu")
    assert len(ants.predict(images[1])) == int((told.class_id == 0).sum())
    with pytest.raises(UnknownNameError, match="did you mean 'bee'"):
        StudentBase({"bees": "animal"}, first, device="cpu")
    with pytest.raises(UnknownNameError, match="did you mean 'bee'"):
        StudentBase(CaptionOntology({"bees": "animal"}), first, device="cpu")
    with pytest.raises(UsageError, match="confidence"):
        StudentBase(CaptionOntology({"bee": "animal"}), first, confidence=1.5, device="cpu")


def test_workers_say_the_same(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for number, more in enumerate(([], ["--workers", "1", "--batch", "3"])):
        output = first.parent / f"workers{number}"
        args = ["label", str(first.parent / "photos"), "--base", str(first / "training"), "--class", "bee=animal"]
        assert main([*args, "--output", str(output), "--base-arg", "device=cpu", *more, "-q", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        outputs.append((result["counts"], result["kept"], result["rejected"]))
    assert outputs[0] == outputs[1] and outputs[0][1] > 0


def test_the_weights_are_the_identity_and_not_where_they_lie(first: Path, tmp_path: Path) -> None:
    folder, file = first / "training", tmp_path / "moved.pth"
    shutil.copy(folder / "checkpoint_best_total.pth", file)
    told = [identity_of(find_base(str(path)), {"device": "cpu"}) for path in (first, folder, file)]
    assert told[0] == told[1] == told[2] == {"checkpoint_sha256": file_sha256(file), "confidence": 0.05}
    # Of the file alone the model itself tells its classes; with a record of another file beside it, too.
    assert own_ontology(BaseConfig(name=str(file))) == {"ant": "ant", "bee": "bee"}
    record = json.loads((folder / "run.json").read_text()) | {"class_names": ["cow"], "checkpoint_sha256": "0"}
    (tmp_path / "run.json").write_text(json.dumps(record | {"checkpoint": "moved.pth"}))
    assert own_ontology(BaseConfig(name=str(file))) == {"ant": "ant", "bee": "bee"}
    assert own_ontology(BaseConfig(name="threshold")) is None


def test_a_run_may_not_label_with_the_model_in_its_own_folder(
    first: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(first.parent)
    checkpoint = first / "training" / "checkpoint_best_total.pth"
    for base, flag in (("./first", "--overwrite"), (str(checkpoint), "--overwrite"), ("first/training", "--resume")):
        assert main(["label", "photos", "--base", base, "--output", "first", flag, "-q"]) == 2
        err = capsys.readouterr().err
        assert "is inside the output folder" in err and "another --output" in err
    assert checkpoint.is_file()


def test_what_is_no_model_is_refused_before_anything_is_written(first: Path, tmp_path: Path) -> None:
    photos = first.parent / "photos"
    with pytest.raises(MissingInputError, match="no run or checkpoint"):
        label(str(tmp_path / "gone"), photos, tmp_path / "out", progress=False)
    with pytest.raises(MissingInputError, match="no checkpoint in") as caught:
        label(str(photos), photos, tmp_path / "out", {"ant": "ant"}, progress=False)
    assert "Train first" in str(caught.value.hint)
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(TrainingError, match="cannot be read"):
        label(str(tmp_path / "text.pth"), photos, tmp_path / "out", {"ant": "ant"}, progress=False)
    with pytest.raises(UnknownNameError, match="did you mean 'ant'"):
        label(str(first), photos, tmp_path / "out", {"aunt": "ant"}, progress=False)
    with pytest.raises(UnknownNameError, match="checkpoint"):
        options = BaseConfig(name=str(first), args={"checkpoint": "x"})
        label(options, photos, tmp_path / "out", {"ant": "ant"}, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_pipeline_file_may_name_a_run_beside_it(first: Path) -> None:
    file = first.parent / "next.yaml"
    file.write_text("images: photos\nontology: {bee: bee}\nbase: {name: ./first}\n")
    assert load(file).base.name == str(first.resolve())
    for name in ("threshold", "package.module:Class", "./gone", "bases/mine.py:Mine"):
        file.write_text(f"images: photos\nontology: {{bee: bee}}\nbase: {{name: '{name}'}}\n")
        assert load(file).base.name == name
