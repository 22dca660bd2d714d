"""What a class may be called, and where NAME=VALUE is parted, in the API and on the command line."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
import yaml

from autodistill_rfdetr_seg.cli.command_line import build_parser
from autodistill_rfdetr_seg.cli.labeling_arguments import ontology
from autodistill_rfdetr_seg.cli.option_flags import overrides
from autodistill_rfdetr_seg.cli.option_values import name_values
from autodistill_rfdetr_seg.core.config import parse
from autodistill_rfdetr_seg.core.errors import UsageError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.pipeline.runs import label
from helpers.commands import here
from helpers.square_photos import photo


def parsed(*arguments: str) -> dict[str, object]:
    return overrides(build_parser().parse_args(["label", "photos", "--output", "run", *arguments]))


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["--confidence", "0.2"], "refine.confidence", 0.2),
        (["--confidence", "a=0.2"], "refine.confidence", {"a": 0.2}),
        (["--confidence", "a=b=0.2"], "refine.confidence", {"a=b": 0.2}),
        (["--confidence", "a==0.2", "--confidence", "b=1"], "refine.confidence", {"a=": 0.2, "b": 1}),
        (["--confidence", " a = b = 0.2"], "refine.confidence", {"a = b": 0.2}),
        (["--base-arg", "query=a=b"], "base.args", {"query": "a=b"}),
        (["--base-arg", "folder=/data/x=1/"], "base.args", {"folder": "/data/x=1/"}),
        (["--segmenter-arg", "model=a==b"], "base.segmenter_args", {"model": "a==b"}),
        (["--set", "base.args.query=a=b"], "base.args.query", "a=b"),
    ],
)
def test_which_equals_sign_parts_name_and_value(arguments: list[str], key: str, value: object) -> None:
    assert parsed(*arguments)[key] == value


def test_a_gate_on_a_class_with_an_equals_sign() -> None:
    args = build_parser().parse_args(["evaluate", "run", "--gate", "target.mask.per_class.a=b.ap=0.5"])
    assert overrides(args)["evaluation.gates"] == {"target.mask.per_class.a=b.ap": 0.5}


@pytest.mark.parametrize("texts", [["a"], ["=0.2"], ["  =0.2"], ["a=[1"]])
@pytest.mark.parametrize("last", [True, False])
def test_what_is_no_pair_is_refused_in_a_sentence(texts: list[str], last: bool) -> None:
    with pytest.raises(UsageError, match=r"--flag '.*' (is not of the form NAME=VALUE|has no value)"):
        name_values(texts, "--flag", last=last)


def test_a_prompt_ends_at_the_first_equals_sign() -> None:
    args = build_parser().parse_args(
        ["label", "p", "--output", "r", "--class", "thing=a=b", "--class", "cat", "--class", " a dog = dog "]
    )
    assert ontology(args) == {"thing": "a=b", "cat": "cat", "a dog": "dog"}


def test_a_prompt_with_two_classes_is_refused() -> None:
    args = build_parser().parse_args(["label", "p", "--output", "r", "--class", "a=b", "--class", "a=c"])
    with pytest.raises(UsageError, match="the prompt 'a' two classes: 'b' and 'c'"):
        ontology(args)
    args = build_parser().parse_args(["label", "p", "--output", "r", "--class", "a=b", "--class", "a=b"])
    assert ontology(args) == {"a": "b"}


def test_space_around_a_name_is_no_part_of_it() -> None:
    classes = Classes.from_ontology({"a": " Bolt ", "b": "Bolt", "c": "\tNut\n"})
    assert classes == Classes(("Bolt", "Nut"), (("a", 0), ("b", 0), ("c", 1)))
    assert classes.ontology == {"a": "Bolt", "b": "Bolt", "c": "Nut"}


TWINS = [
    ("Bolt", "bolt"),
    (" Bolt ", "BOLT"),
    ("M8 bolt", "M8  bolt"),
    ("straße", "STRASSE"),
    (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")),
]


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_names_that_differ_by_case_or_space_alone_are_refused(one: str, other: str) -> None:
    with pytest.raises(UsageError, match="are the same except for case or space") as caught:
        Classes.from_ontology({"first": one, "second": "nut", "third": other})
    for told in (repr(one.strip()), repr(other.strip()), "'first'", "'third'"):
        assert told in caught.value.message


@pytest.mark.parametrize(("one", "other"), [("bolt", "bolts"), ("M8", "M 8"), ("a-b", "a b"), ("m2", "m²"), ("е", "e")])
def test_other_names_are_two_classes(one: str, other: str) -> None:
    assert Classes.from_ontology({"first": one, "second": other}).names == (one, other)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for at in range(4):
        photo(tmp_path / "photos" / f"{at}.png", 4 + 6 * at)
    return tmp_path / "photos"


@pytest.mark.parametrize("how", ["class", "ontology"])
def test_the_command_line_refuses_them_before_it_writes(photos: Path, tmp_path: Path, how: str) -> None:
    given = ["--class", "red=Bolt", "--class", "green=bolt"]
    if how == "ontology":
        given = ["--ontology", json.dumps({"red": " Bolt ", "green": "bolt"})]
    run = tmp_path / "run"
    code, _, err = here(["label", str(photos), "--base", "threshold", *given, "--output", str(run), "-q"])
    assert code == 2
    assert "Error: The classes 'Bolt' (of 'red') and 'bolt' (of 'green') are the same except for case or space." in err
    assert not run.exists()


def test_the_pipeline_refuses_them_too(photos: Path, tmp_path: Path) -> None:
    ontology = {"red": "Bolt", "green": "bolt"}
    with pytest.raises(UsageError, match="the same except for case or space"):
        label("threshold", photos, tmp_path / "run", ontology)


def test_a_name_is_stripped_all_through_a_run(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = ["label", str(photos), "--base", "threshold", "--ontology", '{"red": " a=b "}', "--split", "0.5,0.5,0"]
    assert here([*args, "--confidence", "a=b=0.1", "--output", str(run), "-q"])[0] == 0
    assert json.loads((run / "dataset" / "dataset.json").read_text())["classes"] == ["a=b"]
    (category,) = json.loads((run / "dataset" / "train" / "_annotations.coco.json").read_text())["categories"]
    assert category["name"] == "a=b"
    assert yaml.safe_load((run / "pipeline.yaml").read_text())["refine"]["confidence"] == {"a=b": 0.1}
    code, _, err = here(["build", str(run), "--confidence", "a=0.1", "-q"])
    assert code == 2 and "'a=b'" in err


def test_what_an_earlier_version_labelled_can_still_be_built(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = ["label", str(photos), "--base", "threshold", "--class", "red=Bolt", "--class", "green=nut"]
    assert here([*args, "--split", "0.5,0.5,0", "--output", str(run), "-q"])[0] == 0
    account = run / "labels" / "labels.json"
    account.write_text(account.read_text().replace('"nut"', '"bolt"'))
    assert here(["build", str(run), "-q"])[0] == 0
    assert json.loads((run / "dataset" / "dataset.json").read_text())["classes"] == ["Bolt", "bolt"]


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        (1.5, r"'refine\.confidence' in .*: input should be less than or equal to 1 \(got 1\.5\)"),
        ({"a=b": 1.5}, r"'refine\.confidence\.a=b' in .*: input should be less than or equal to 1 \(got 1\.5\)"),
        ({"a": "b"}, r"'refine\.confidence\.a' in .*: input should be a valid number.*\(got 'b'\)"),
        ([1], r"'refine\.confidence' in .*: input should be a valid number \(got \[1\]\)"),
    ],
)
def test_a_wrong_confidence_is_told_by_its_class(confidence: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse({"images": "x", "ontology": {"a": "a"}, "refine": {"confidence": confidence}})
