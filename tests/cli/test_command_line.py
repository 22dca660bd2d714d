"""The command line: exit codes, messages, what is printed where. Runs in this process, but for what needs its own."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autodistill_rfdetr_seg.bases import groundingdino_compat
from autodistill_rfdetr_seg.bases.base_entries import BaseEntry
from autodistill_rfdetr_seg.bases.registry import BASES
from autodistill_rfdetr_seg.bases.segmenters.segmenter_registry import SEGMENTERS
from autodistill_rfdetr_seg.cli import command_line
from autodistill_rfdetr_seg.cli.command import Command
from autodistill_rfdetr_seg.cli.command_line import COMMANDS, build_parser, main
from autodistill_rfdetr_seg.cli.option_flags import ALL_OPTIONS
from autodistill_rfdetr_seg.core.config import PipelineConfig
from autodistill_rfdetr_seg.system.versions import ReleaseRange, importable
from helpers.commands import begin_new
from helpers.square_photos import ONTOLOGY, label_args, photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(10):
        photo(tmp_path / "photos" / f"{i}.png", 4 + 2 * i)
    return tmp_path / "photos"


@pytest.fixture
def labelled(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(label_args(photos, tmp_path / "run")) == 0
    capsys.readouterr()
    return tmp_path / "run"


def test_label_prints_the_result_and_only_that(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(label_args(photos, tmp_path / "run", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["counts"]["train"] == {"images": 8, "instances": 8, "negatives": 0}
    assert (tmp_path / "run" / "dataset" / "valid" / "_annotations.coco.json").is_file()
    saved = yaml.safe_load((tmp_path / "run" / "pipeline.yaml").read_text())
    assert (saved["base"]["name"], saved["ontology"]) == ("threshold", {"red": "square"})


def test_again_needs_a_word_and_then_does_nothing(
    photos: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(label_args(photos, labelled)) == 2
    assert "--resume" in capsys.readouterr().err
    args = [a for a in label_args(photos, labelled, "--resume") if a != "-q"]
    assert main(args) == 0
    err = capsys.readouterr().err
    assert "0 images labeled, 10 already had labels (nothing to do)" in err
    assert err.count("nothing to do") == 2


def test_build_with_other_thresholds(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(labelled), "--min-area", "0.9", "--json", "-q"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["kept"], result["rejected"]) == (0, {"too_small": 10})
    assert yaml.safe_load((labelled / "pipeline.yaml").read_text())["refine"]["min_area"] == 0.9
    assert main(["train", str(labelled), "-q"]) == 1
    err = capsys.readouterr().err
    assert "too_small 10" in err
    assert "Hint:" in err


def test_some_failed_is_exit_4_and_lists_them(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert main(label_args(photos, tmp_path / "run")) == 4
    out = capsys.readouterr().out
    assert "failed  broken.jpg:" in out
    assert "kept 10 labels" in out


BAD: list[tuple[list[str], int, str]] = [
    (["label", "gone", "--output", "x", "--ontology", ONTOLOGY, "--base", "threshold"], 3, "nothing at .*gone"),
    (["label", "empty", "--output", "x", "--ontology", ONTOLOGY, "--base", "threshold"], 3, "no image in .*empty"),
    (["label", "photos", "--output", "x", "--ontology", "{oops", "--base", "threshold"], 2, "not JSON"),
    (["label", "photos", "--output", "x", "--ontology", "{}", "--base", "threshold"], 2, "not a mapping"),
    (["label", "photos", "--output", "x", "--ontology", "[1]", "--base", "threshold"], 2, "not a mapping"),
    (["label", "photos", "--output", "x", "--ontology", '{"red": ""}', "--base", "threshold"], 2, "non-empty"),
    (["label", "photos", "--output", "x", "--base", "threshold"], 2, "--ontology or --class"),
    (["label", "photos", "--output", "x", "--class", "red", "--base", "treshold"], 2, "did you mean 'threshold'"),
    (["label", "photos", "--output", "x", "--class", "redd", "--base", "threshold"], 2, "did you mean 'red'"),
    (["label", "photos", "--output", "photos/run", "--class", "red", "--base", "threshold"], 2, "images' folder"),
    (["label", "photos", "--output", "full", "--class", "red", "--base", "threshold"], 2, "not empty"),
    (["label", "photos", "--output", "x", "--class", "red", "--base", "threshold", "--split", "1,1,1"], 2, "add up"),
    (["label", "photos", "--class", "red"], 2, "--output"),
    (
        ["label", "photos", "--output", "x", "--class", "red", "--base", "threshold", "--base-arg", "opennig=3"],
        2,
        "did you mean 'opening'",
    ),
    (["labell", "photos"], 2, "did you mean 'label'"),
    (["build", "photos"], 3, "not a run's folder"),
    (["train", "gone", "--size", "nanno"], 2, "'size'"),
    (["train", "gone"], 3, "gone"),
    (["train", "gone", "--set", "target.lrr=3"], 2, "did you mean 'lr'"),
    (["evaluate", "photos"], 3, "not a run's folder"),
    (["evaluate"], 2, "nothing to evaluate"),
    (["predict", "photos", "photos"], 3, "no checkpoint"),
    (["predict", "gone.pth", "photos", "--confidence", "7"], 2, "between 0 and 1"),
    (["run", "gone.yaml", "--output", "x"], 3, "no pipeline file"),
    (["run", "typo.yaml", "--output", "x"], 2, "did you mean 'ontology'"),
    (["run", "torn.yaml", "--output", "x"], 1, "not YAML"),
    (["run", "nogold.yaml", "--output", "x"], 3, "no gold set"),
    (["report", "photos"], 3, "not a run's folder"),
    (["validate", "gone"], 3, "gone"),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=[" ".join(case[0])[:70] for case in BAD])
def test_bad_input_is_one_sentence_and_leaves_nothing(
    args: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "typo.yaml").write_text("images: photos\nontologie: {red: square}\n")
    (tmp_path / "torn.yaml").write_text("images: [")
    gold = {"gold": ["nowhere.json"]}
    config = {"images": "photos", "ontology": {"red": "x"}, "base": {"name": "threshold"}, "evaluation": gold}
    (tmp_path / "nogold.yaml").write_text(yaml.safe_dump(config))
    before = sorted(p.as_posix() for p in tmp_path.rglob("*"))
    assert main(args) == code
    captured = capsys.readouterr()
    assert re.search(words, captured.err)
    assert "Traceback" not in captured.err
    assert captured.err.startswith("Error: ")
    assert captured.out == ""
    assert sorted(p.as_posix() for p in tmp_path.rglob("*")) == before


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not a run"):
        main(["report", str(tmp_path), "--debug"])


def test_every_option_is_a_key_of_the_configuration() -> None:
    for option in ALL_OPTIONS:
        owner: object = PipelineConfig.model_construct()
        for part in option.key.split("."):
            assert hasattr(owner, part), option
            owner = getattr(owner, part)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        build_parser().parse_args([command, "--help"])
    assert leaving.value.code == 0
    assert COMMANDS[command].split(";")[0].split(",")[0][1:20] in " ".join(capsys.readouterr().out.split())


def test_validate_finds_what_is_wrong(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(labelled / "dataset" / "train")]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    data = json.loads((labelled / "dataset" / "train" / "_annotations.coco.json").read_text())
    data["annotations"][0]["image_id"] = 999
    (tmp_path / "bad.json").write_text(json.dumps(data))
    assert main(["validate", str(tmp_path / "bad.json")]) == 1
    assert "999" in capsys.readouterr().out


def test_predictions_against_gold_without_a_run(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = labelled / "dataset" / "train" / "_annotations.coco.json"
    rows = json.loads(gold.read_text())["annotations"]
    kept = [{k: row[k] for k in ("image_id", "category_id", "segmentation", "score")} for row in rows[:4]]
    (tmp_path / "found.json").write_text(json.dumps(kept))
    args = ["evaluate", "--predictions", str(tmp_path / "found.json"), "--gold", str(gold)]
    assert main([*args, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mask"]["ap50"] == pytest.approx(0.505, abs=0.01)  # half of the 101 recall points
    assert report["per_class"]["square"]["recall"] == 0.5
    assert main(args) == 0
    assert "square" in capsys.readouterr().out


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"]["kind"] in ("cpu", "cuda", "mps")
    assert found["versions"]["rfdetr"]
    assert main(["doctor"]) == 0
    assert "base threshold" in capsys.readouterr().out


def test_bases_are_listed_with_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(BASES, "mine", BaseEntry("no_such_package.part:Mine", "mine", extra="mine", masks=False))

    def listed() -> dict[str, Any]:
        assert main(["bases", "--json"]) == 0
        return {one["name"]: one for one in json.loads(capsys.readouterr().out)}

    def here(name: str) -> list[bool]:
        return [weights["here"] for weights in listed()[name]["weights"]]

    found = listed()
    assert set(found) == {*BASES, *SEGMENTERS}
    assert all(one["licence"] and one["installed"] is not None for name, one in found.items() if name != "mine")
    assert (found["threshold"]["installed"], found["threshold"]["weights"]) == (True, [])
    assert (found["mine"]["kind"], found["mine"]["installed"]) == ("detector", False)
    assert found["sam3"]["weights"] == [{"place": "facebook/sam3", "bytes": 3_439_938_512, "here": False}]
    # What is still being fetched has no name in a snapshot yet.
    snapshot = tmp_path / "hub" / "models--facebook--sam3" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert here("sam3") == [False]
    (snapshot / "model.safetensors").write_bytes(b"x")
    # Weights of another commit than is meant are not what would be loaded.
    (tmp_path / "hub" / "models--facebook--sam3" / "refs").mkdir()
    for commit, there in (("abd", False), ("abc", True)):
        (tmp_path / "hub" / "models--facebook--sam3" / "refs" / "main").write_text(commit)
        assert here("sam3") == [there]
    model, _, commit = found["grounding-dino"]["weights"][0]["place"].partition("@")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    repository = tmp_path / "hub" / f"models--{model.replace('/', '--')}"
    shutil.copytree(tmp_path / "hub" / "models--facebook--sam3", repository)
    assert here("grounding-dino") == [False]
    (repository / "snapshots" / "abc").rename(repository / "snapshots" / commit)
    assert here("grounding-dino") == [True]
    assert here("grounded-sam-hf") == [True, False]
    dino = tmp_path / ".cache" / "autodistill" / "groundingdino" / "groundingdino_swint_ogc.pth"
    dino.parent.mkdir(parents=True)
    dino.write_bytes(b"x")
    assert here("grounded-sam") == [True, False, False]
    assert main(["bases"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"facebook/sam3 +3\.44 GB +here", out)
    assert re.search(r"detector mine +missing  → pip install 'autodistill-rfdetr-seg\[mine\]'", out)
    # The doctor tells of the same ones, from the same list.
    assert main(["doctor", "--json"]) == 0
    parts = {part["name"]: part for part in json.loads(capsys.readouterr().out)["parts"]}
    for name, one in found.items():
        assert parts[f"{one['kind']} {name}"]["present"] == one["installed"]
    # SAM's and BERT's weights, those of Grounding DINO being here; SAM 3's are here.
    assert parts["base grounded-sam"]["fetches_gb"] == round((2_564_550_879 + 440_449_768) / 1e9, 2)
    assert parts["base sam3"]["fetches_gb"] == parts["base threshold"]["fetches_gb"] == 0
    assert main(["doctor"]) == 0
    assert "3.01 GB, downloaded on first use" in capsys.readouterr().out


def test_a_base_that_would_be_refused_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not importable("autodistill_grounded_sam"):
        pytest.skip("autodistill-grounded-sam is not installed")
    monkeypatch.setattr(groundingdino_compat, "TESTED", ReleaseRange("transformers", "5.0", "5.0.1"))
    assert main(["doctor", "--json"]) == 0
    part = next(p for p in json.loads(capsys.readouterr().out)["parts"] if p["name"] == "base grounded-sam")
    assert not part["present"] and "has not been tested with transformers" in part["problem"]
    assert part["install"] == "pip install 'transformers>=5.0,<5.0.1'"
    for command in ("doctor", "bases"):
        assert main([command]) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("base grounded-sam "))
        assert "refused" in line and part["problem"] in line


def test_listing_bases_imports_none_of_them() -> None:
    code = """
import sys
from autodistill_rfdetr_seg.cli.command_line import main
main(["bases", "-q"])
print([m for m in ("torch", "transformers", "autodistill", "huggingface_hub", "rfdetr") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", "very-secret")
    assert main(["doctor", "--json"]) == 0
    assert "very-secret" not in capsys.readouterr().out


SLOW_BASE = """
import time
import supervision as sv
from autodistill.detection import DetectionBaseModel

class Slow(DetectionBaseModel):
    def __init__(self, ontology):
        self.ontology = ontology

    def predict(self, input):
        time.sleep(0.2)
        return sv.Detections.empty()
"""


@pytest.mark.slow
def test_interrupted_is_130_and_keeps_what_was_done(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_BASE)
    for i in range(20):
        photo(photos / f"more{i}.png", i)
    args = ["label", str(photos), "--base", f"{tmp_path / 'slow.py'}:Slow", "--class", "x", "--output", "run", "--json"]
    process = begin_new(args, cwd=tmp_path)
    assert process.stderr is not None
    seen = ""
    while "2/30" not in seen:
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert list((tmp_path / "run" / "labels").glob("part-*.parquet"))
    assert main([*args[:-3], "--output", str(tmp_path / "run"), "--resume", "-q"]) == 0


@pytest.mark.slow
def test_output_closed_early_is_no_error(labelled: Path) -> None:
    command = f"{sys.executable} -m autodistill_rfdetr_seg doctor --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr.strip()) == ("{", "")


@pytest.mark.parametrize("word", ["none", "null"])
def test_none_is_an_answer(word: str) -> None:
    from autodistill_rfdetr_seg.cli.command_line import build_parser
    from autodistill_rfdetr_seg.cli.option_flags import overrides

    parsed = build_parser().parse_args(["build", "run", "--near-duplicates", word, "--nms-iou", "0.5"])
    assert overrides(parsed) == {"split.near_duplicates": None, "refine.nms_iou": 0.5}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_arrives_while_objects_are_deleted_still_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    """What its handler raises there is not raised where the object was used."""
    shown = []

    class Deleted:
        def __init__(self, what: Callable[[], object]) -> None:
            self.what = what

        def __del__(self) -> None:
            self.what()

    def run(_: argparse.Namespace) -> int:
        for _at in range(3):
            Deleted(lambda: signal.raise_signal(number))
        # The signal that is sent again is lost too.
        Deleted(lambda: time.sleep(0.3))
        shown.append("deleted")
        time.sleep(30)
        return 0

    command = Command("doctor", "ends", 1, lambda _: None, run)
    monkeypatch.setattr(command_line, "known_commands", lambda: {"doctor": command})
    before, started = sys.unraisablehook, time.monotonic()
    try:
        assert main(["doctor"]) == code
        assert time.monotonic() < started + 20  # a call that waits is ended
        time.sleep(0.1)
    except KeyboardInterrupt:
        pytest.fail("the signal was sent once more than it was lost")
    assert capsys.readouterr().err == "Interrupted.\n" and shown == ["deleted"]
    assert sys.unraisablehook is before


def test_other_errors_of_deleted_objects_are_shown_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: shown.append(lost.exc_value))

    class Deleted:
        def __del__(self) -> None:
            raise ValueError("as before")

    def run(_: argparse.Namespace) -> int:
        Deleted()
        return 0

    command = Command("doctor", "ends", 1, lambda _: None, run)
    monkeypatch.setattr(command_line, "known_commands", lambda: {"doctor": command})
    assert main(["doctor"]) == 0
    assert [str(one) for one in shown] == ["as before"]
