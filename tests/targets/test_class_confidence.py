"""The confidence of each class: given by name, or the best of the last evaluation of that very model."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.cli.prediction_arguments import confidence_choice
from autodistill_rfdetr_seg.core.errors import DataError, UnknownNameError, UsageError
from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.targets import RFDETRSeg
from autodistill_rfdetr_seg.targets.inference.class_confidence import (
    ConfidenceChoice,
    best_confidences,
    resolve_confidence,
)
from autodistill_rfdetr_seg.targets.training.training_folder import checkpoint_of
from helpers.tiny_training import draw

NAMES = ("ant", "bee", "cat")


def evaluated(run: Path, folder: Path, ant: float | None, bee: float | None, whole: float | None = 0.45) -> Path:
    """A copy of a run with the record of an evaluation of its model, as far as it is read here."""
    shutil.copytree(run, folder)
    target = {"best_confidence": whole}
    target["per_class"] = {"ant": {"best_confidence": ant}, "bee": {"best_confidence": bee}}  # type: ignore[assignment]
    record = {"fingerprints": {"checkpoint_sha256": file_sha256(checkpoint_of(folder))}, "target": target}
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (0.3, 0.3),
        (1, 1.0),
        ({"bee": 0.2}, (0.5, 0.2, 0.5)),
        (ConfidenceChoice(0.7, {"cat": 0.0}), (0.7, 0.7, 0.0)),
    ],
)
def test_values_by_name_and_for_the_rest(given: Any, wanted: Any) -> None:
    assert resolve_confidence(given, NAMES, None) == wanted


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], ConfidenceChoice()),
        (["0.2"], ConfidenceChoice(0.2)),
        (["best", "bee=0.3"], ConfidenceChoice("best", {"bee": 0.3})),
        (["a=b=0.1", "best=0.4", "0.3", "0.6"], ConfidenceChoice(0.6, {"a=b": 0.1, "best": 0.4})),
    ],
)
def test_the_command_line_says_the_same(values: list[str], wanted: ConfidenceChoice) -> None:
    assert confidence_choice(values) == wanted


def test_what_is_no_confidence_is_refused() -> None:
    for value in (1.5, -0.1, float("nan"), {"bee": 7}):
        with pytest.raises(UsageError, match="between 0 and 1"):
            resolve_confidence(value, NAMES, None)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean 'bee'"):
        resolve_confidence({"bees": 0.2}, NAMES, None)
    with pytest.raises(UsageError, match="neither a number nor 'best'"):
        resolve_confidence("most", NAMES, None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the model has not been evaluated"):
        resolve_confidence("best", NAMES, None)
    for text in ("half", "bee=", "=0.x"):
        with pytest.raises(UsageError, match="is no number"):
            confidence_choice([text])


def test_best_is_of_the_same_weights_or_unknown(
    speaking_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert best_confidences(speaking_run) is None and best_confidences(tmp_path / "gone") is None
    run = evaluated(speaking_run, tmp_path / "run", 0.1, None)
    assert best_confidences(run) == best_confidences(checkpoint_of(run)) == {"ant": 0.1, "bee": 0.45}
    with caplog.at_level(logging.WARNING):
        assert resolve_confidence("best", NAMES, run) == (0.1, 0.45, 0.5)
    assert "No best confidence is known for cat: 0.5 is used" in caplog.text
    assert resolve_confidence(ConfidenceChoice("best", {"ant": 0.9, "cat": 0.2}), NAMES, run) == (0.9, 0.45, 0.2)
    metrics = run / "evaluation" / "metrics.json"
    metrics.write_text(metrics.read_text().replace("per_class", "classes"))
    with pytest.raises(DataError, match="not the record of an evaluation"):
        best_confidences(run)
    with checkpoint_of(run).open("ab") as file:  # trained again since
        file.write(b"\0")
    assert best_confidences(run) is None


def test_predictions_use_it_here_and_from_the_command_line(
    speaking_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from autodistill_rfdetr_seg.images.rgb_image import write_png

    image = draw(1)[0]
    write_png(tmp_path / "a.png", image)
    target = RFDETRSeg.from_checkpoint(checkpoint_of(speaking_run), device="cpu")
    (everything,) = target.predict_batch([image], 0.0)
    scores = {name: sorted(everything.confidence[everything["class_name"] == name]) for name in ("ant", "bee")}
    assert all(len(some) > 2 for some in scores.values())
    ant, bee = (float(some[len(some) // 2]) for some in scores.values())
    run = evaluated(speaking_run, tmp_path / "run", ant, bee)
    own = RFDETRSeg.from_checkpoint(checkpoint_of(run), device="cpu")
    keep_all: dict[str, Any] = {"nms_iou": None, "nms_iom": None, "agnostic_nms_iou": None}
    found = own.predict(image, "best", color="rgb", **keep_all)
    wanted = {"ant": sum(s > ant for s in scores["ant"]), "bee": sum(s > bee for s in scores["bee"])}
    assert {name: int((found["class_name"] == name).sum()) for name in wanted} == wanted and all(wanted.values())
    assert len(own.predict(image, {"ant": ant, "bee": 1.0}, color="rgb", **keep_all)) == wanted["ant"]
    off = ["--nms-iou", "none", "--nms-iom", "none", "--agnostic-nms-iou", "none", "--json", "-q"]

    def counted(run: Path, *arguments: str) -> Any:
        assert main(["predict", str(run), str(tmp_path / "a.png"), *arguments, *off]) == 0
        return json.loads(capsys.readouterr().out)["images"]["a.png"]

    assert counted(run, "--confidence", "best") == wanted
    assert counted(speaking_run, "--confidence", "best", "--thresholds", str(run)) == wanted
    named = counted(run, "--confidence", f"ant={ant!r}", "--confidence", "bee=1")
    assert named == {"ant": wanted["ant"], "bee": 0}
    for arguments, said in ((["best"], "has not been evaluated"), (["bees=0.5"], "did you mean 'bee'")):
        out = tmp_path / "out"
        command = ["predict", str(speaking_run), str(tmp_path / "a.png"), "--output", str(out), "--confidence"]
        assert main([*command, *arguments]) == 2
        assert said in capsys.readouterr().err and not out.exists()
