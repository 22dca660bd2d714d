"""Other weights at the same path are another base; whatever else its arguments say is kept as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from autodistill.detection import CaptionOntology

from autodistill_rfdetr_seg.bases.weight_hashes import weights_sha256, with_hashes
from autodistill_rfdetr_seg.core.config import BaseConfig
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.system.config_files import load
from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.system.files import fingerprint

CLASSES = Classes.from_ontology({"a dog": "dog"})


def named(**args: Any) -> BaseSource:
    return BaseSource.from_config(BaseConfig(name="mine.py:Mine", args=args), CLASSES)


def test_arguments_that_name_no_file_are_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A prompt or a number is none because something happens to be called so.
    (tmp_path / "dog").write_text("x")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"x")
    args = {"prompt": "dog", "level": 0.5, "many": [1, "dog"], "none": None, "gone": "a/b.onnx", "folder": "pictures"}
    args |= {"long": "x/" * 5000, "zero": "a/\0.pt"}
    assert with_hashes(args) == args
    source = named(**args)
    # So that labels of a base without weights are not labelled again after an upgrade.
    assert source.provenance.fingerprint == fingerprint("mine.py:Mine", args, ["a dog"])


def test_files_of_weights_count_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.onnx").write_bytes(b"first")
        (tmp_path / folder / "config.json").write_text("{}")
    told = named(weights="one/net.onnx", more=[{"at": "two/net.onnx"}]).provenance
    sha256 = {"sha256": file_sha256(Path("one/net.onnx"))}
    assert told.args == {"weights": sha256, "more": [{"at": sha256}]}
    assert named(weights="two/net.onnx").provenance == named(weights=str(tmp_path / "one" / "net.onnx")).provenance
    folder = named(model="one").provenance.fingerprint
    assert folder == named(model="./two/").provenance.fingerprint
    # Another config beside the same weights is another base, and so are other weights.
    (tmp_path / "one" / "config.json").write_text("{ }")
    assert named(model="one").provenance.fingerprint != folder
    before = named(weights="two/net.onnx").provenance.fingerprint
    (tmp_path / "two" / "net.onnx").write_bytes(b"second")
    assert named(weights="two/net.onnx").provenance.fingerprint != before


@pytest.mark.parametrize("beside", ["net.onnx.data", "net.onnx_data", "net.data"])
def test_data_beside_an_onnx_file_counts(beside: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"graph")
    (tmp_path / "other.onnx.data").write_bytes(b"of another")
    assert weights_sha256(file) == file_sha256(file)
    (tmp_path / beside).write_bytes(b"first")
    first = weights_sha256(file)
    (tmp_path / beside).write_bytes(b"second")
    assert len({file_sha256(file), first, weights_sha256(file)}) == 3


def test_a_base_that_is_handed_over_shows_its_weights(tmp_path: Path) -> None:
    class Mine:
        def __init__(self, weights: Path) -> None:
            self.ontology = CaptionOntology({"a dog": "dog"})
            self.weights, self.level = str(weights), 3

        def predict(self, input: Any) -> Any:
            raise NotImplementedError

    file = tmp_path / "net.pt"
    file.write_bytes(b"first")
    first = BaseSource.from_model(Mine(file)).provenance
    assert first.args == {"level": 3, "weights": {"sha256": file_sha256(file)}}
    file.write_bytes(b"second")
    assert BaseSource.from_model(Mine(file)).provenance.fingerprint != first.fingerprint


def test_a_base_of_a_file_is_counted_from_the_pipeline_file_s_folder(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "mine.py").write_text("")
    names = {
        "../bases/mine.py:Mine": f"{tmp_path / 'bases' / 'mine.py'}:Mine",
        f"{tmp_path / 'bases' / 'mine.py'}:Mine": f"{tmp_path / 'bases' / 'mine.py'}:Mine",
        # One that is not there is left as it is, and refused where it is needed; a module is no path.
        "../bases/other.py:Mine": "../bases/other.py:Mine",
        "package.module:Class": "package.module:Class",
        "threshold": "threshold",
    }
    for given, found in names.items():
        file = tmp_path / "pipelines" / "p.yaml"
        file.write_text(f"images: x\nontology: {{a: b}}\nbase: {{name: '{given}'}}\n")
        assert load(file).base.name == found
