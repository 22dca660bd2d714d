"""What an evaluation leaves out is counted and said; gates; the options of `evaluate` for a file of predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.config import EvaluationConfig, options
from autodistill_rfdetr_seg.core.errors import DataError, GateError, UsageError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.evaluation import check_gates, evaluate
from autodistill_rfdetr_seg.evaluation.model_scores import evaluate_predictions
from helpers.result_rows import SIDE, annotation, as_results, gold_file, put


def changed(gold: Path, change: Any) -> Path:
    data = json.loads(gold.read_text())
    change(data)
    gold.write_text(json.dumps(data))
    return gold


def found(gold: Path) -> Any:
    truth = coco.read(gold)
    return coco.read_results(put(gold.parent, as_results(gold)), truth)


def crowds(data: dict[str, Any]) -> None:
    for row in data["annotations"]:
        row["iscrowd"] = 1


def test_a_gold_set_of_crowds_alone_is_told_and_can_be_scored(tmp_path: Path) -> None:
    gold = changed(gold_file(tmp_path, [1, 2], [1, 2]), crowds)
    report = evaluate(gold, found(gold))
    assert report.mask["ap"] is None
    assert report.coverage["crowds"] == 6 and report.coverage["all_crowds"]
    assert "All objects of the gold set (6) are crowd regions" in report.notes[0]
    assert "--crowds objects" in report.notes[0]
    scored = evaluate(gold, found(gold), crowds="objects")
    assert (scored.mask["ap"], scored.instances, scored.notes) == (pytest.approx(1), 6, ())


def test_some_crowds_are_counted(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2], [1])
    changed(gold, lambda data: data["annotations"][0].update(iscrowd=1))
    report = evaluate(gold, found(gold))
    assert (report.instances, report.coverage["crowds"], report.coverage["images_without_objects"]) == (5, 1, 0)
    assert report.notes[0].startswith("1 object of the gold set is a crowd region (iscrowd 1)")


def test_classes_that_the_model_lacks_are_named_with_counts(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2], [1, 2, 3])
    # The second image holds nothing but class 2, which the model lacks.
    changed(gold, lambda data: [row.update(category_id=3) for row in data["annotations"] if row["image_id"] == 2])
    truth = coco.align(coco.read(gold), Classes(("class 0", "class 1", "more")))
    predictions = coco.read_results(put(tmp_path, as_results(gold)[:2]), coco.read(gold))
    report = evaluate(gold, predictions, classes=Classes(("class 0", "class 1", "more")))
    assert report.coverage["classes_lacking"] == {"class 2": 4}
    assert report.coverage["images_of_classes_lacking"] == 1
    assert report.notes[0].startswith(
        "The model lacks 1 class of the gold set (class 2: 4): 4 objects of them are not scored. 1 image has no "
    )
    assert report.coverage["images_without_objects"] == 1
    assert report.mask["ap"] == pytest.approx(1)
    assert truth.images[1].instances == ()


def test_two_gold_classes_that_are_one_of_the_model_are_told(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2], [1, 2])
    names = ("Nut", "nut ")
    changed(gold, lambda data: [row.update(name=name) for row, name in zip(data["categories"], names, strict=True)])
    report = evaluate(gold, (), classes=Classes(("nut",)))
    assert report.coverage["classes_folded"] == {"nut": ("Nut", "nut")}
    assert "'Nut', 'nut' count as 'nut'" in report.notes[0]
    with pytest.raises(DataError, match=r"'Nut' of the gold set matches each of \['nut', 'NUT'\]"):
        evaluate(gold, (), classes=Classes(("nut", "NUT")))


def test_false_alarms_on_images_without_objects_are_counted(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1])
    rows = as_results(gold)
    kept = [row for row in json.loads(gold.read_text())["annotations"] if row["image_id"] != 2]
    changed(gold, lambda data: data.update(annotations=kept))
    truth = coco.read(gold)
    report = evaluate(truth, coco.read_results(put(tmp_path, rows), truth))
    assert report.coverage["images_without_objects"] == 1
    assert report.coverage["false_alarms_without_objects"] == 3
    said = "1 of 3 gold images has no object: 3 false alarms there at a confidence of 0.45 or more."
    assert report.notes == (said,)


def test_detections_of_classes_without_objects_are_counted(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2], [1, 2])
    rows = as_results(gold)
    kept = [row for row in json.loads(gold.read_text())["annotations"] if row["category_id"] == 1]
    changed(gold, lambda data: data.update(annotations=kept))
    truth = coco.read(gold)
    report = evaluate(truth, coco.read_results(put(tmp_path, rows), truth))
    assert report.coverage["detections_without_objects"] == 3
    assert report.notes == ("The gold set has no object of 1 class (class 1): 3 detections of it are not scored.",)


def test_objects_over_the_limit_cannot_be_found_and_it_is_said(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2], [1])
    extra = [annotation(100 + at, 1, 1, 27, 2 * at) for at in range(4)]
    changed(gold, lambda data: data["annotations"].extend(extra))
    truth = coco.read(gold)
    report = evaluate(truth, found(gold), max_detections=5)
    facts = {key: report.coverage[key] for key in ("images_over_limit", "objects_over_limit", "most_objects")}
    assert facts == {"images_over_limit": 1, "objects_over_limit": 2, "most_objects": 7}
    assert report.coverage["detections_over_limit"] == 2
    assert "2 objects cannot be found, and 2 detections there are not scored. `--max-detections 7`" in report.notes[0]
    assert evaluate(truth, found(gold), max_detections=7).notes == ()


# gates


def test_a_gate_of_a_report_is_named_with_or_without_target() -> None:
    report = {"mask": {"ap50": 0.5, "ap_small": None}, "per_class": {"a.b c": {"ap": 0.25}}}
    check_gates({"mask.ap50": 0.5, "target.mask.ap50": 0.5, "per_class.a.b c.ap": 0.25}, report)
    for gate in ("mask.ap50", "target.mask.ap50"):
        with pytest.raises(GateError, match=rf"{gate} >= 0.51 was not met: it is 0\.500"):
            check_gates({gate: 0.51}, report)
    with pytest.raises(GateError, match=r"mask\.ap_small >= 0 .*undefined; the gate per_class\.a\.b c\.ap >= 0\.3 "):
        check_gates({"mask.ap_small": 0.0, "per_class.a.b c.ap": 0.3}, report)
    with pytest.raises(UsageError, match="'mask' names no metric"):
        check_gates({"mask": 0.0}, report)


def test_a_gate_on_a_model_that_was_not_scored_fails() -> None:
    with pytest.raises(GateError, match="undefined"):
        check_gates({"base.mask.ap": 0.1}, {"base": None, "target": {"mask": {"ap": 1.0}}})
    with pytest.raises(UsageError, match="finite"):
        options(EvaluationConfig, {"gates": {"mask.ap": float("nan")}}, "the options")


# the command line


def evaluated(gold: Path, results: Path, *more: str) -> int:
    return main(["evaluate", "-q", "--predictions", str(results), "--gold", str(gold), *more])


def test_every_option_is_obeyed_with_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = gold_file(tmp_path, [0, 4, 9], [0, 1])
    results = put(tmp_path, as_results(gold, score=lambda row: 0.2 if row["image_id"] == 4 else 0.005))
    assert evaluated(gold, results, "--gate", "mask.ap=0.99", "--gate", "target.mask.ap50=0.99") == 0
    # Without being asked for a floor the whole file counts; with one, 1 of 5 and 2 of 4: (21 + 51) / 202.
    assert evaluated(gold, results, "--score-floor", "0.1", "--gate", "mask.ap=0.5") == 5
    assert "it is 0.356" in capsys.readouterr().err
    assert evaluated(gold, results, "--max-detections", "1", "--gate", "mask.ap=0.99") == 5
    assert evaluated(gold, results, "--gate", "mask.ap_small=0.99") == 0
    changed(gold, lambda data: [row.update(area=50_000) for row in data["annotations"]])
    assert evaluated(gold, results, "--gate", "mask.ap_small=0.0") == 5
    assert "undefined" in capsys.readouterr().err
    assert evaluated(gold, results, "--area-from", "mask", "--gate", "mask.ap_small=0.99") == 0
    changed(gold, crowds)
    assert evaluated(gold, results, "--gate", "mask.ap=0.0") == 5
    assert evaluated(gold, results, "--crowds", "objects", "--gate", "mask.ap=0.99") == 0
    capsys.readouterr()
    assert evaluated(gold, results, "--json") == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["crowds"] == 9


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--look-alikes", "3"], "--look-alikes has no meaning"),
        (["--set", "evaluation.samples=3"], "evaluation.samples has no meaning"),
        (["--set", "target.epochs=3"], "target.epochs has no meaning"),
        (["--gold", "other.json"], "exactly one --gold, not 2"),
        (["--gate", "mask.app=0.1"], "names no metric"),
        (["--gate", "mask.ap"], "not of the form NAME=VALUE"),
        (["a-run"], "without a run"),
    ],
)
def test_what_predictions_cannot_obey_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    gold = gold_file(tmp_path, [1, 2], [1])
    assert evaluated(gold, put(tmp_path, as_results(gold)), *more) == 2
    assert said in capsys.readouterr().err


def test_predictions_in_the_python_api(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [5, 3], [1])
    results = put(tmp_path, as_results(gold, score=lambda row: 0.2, bbox=lambda row: [0, 0, SIDE, SIDE]))
    assert evaluate_predictions(results, gold).mask["ap"] == pytest.approx(1)
    assert evaluate_predictions(results, gold, score_floor=0.3).mask["ap"] == 0


def test_a_base_is_scored_from_the_floor_on_several_gold_sets(tmp_path: Path) -> None:
    from autodistill.detection import CaptionOntology

    from autodistill_rfdetr_seg import ThresholdBase, evaluate_model
    from autodistill_rfdetr_seg.evaluation.model_scores import evaluate_model_on_sets
    from helpers.square_photos import photo

    files = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        # The objects are not those of the photo: only the detections are counted here.
        files.append(gold_file(folder, [1], [1], [f"{name}.png"]))
        photo(folder / f"{name}.png")
        changed(files[-1], lambda data: data["images"][0].update(height=64, width=64))
        changed(files[-1], lambda data: data.update(annotations=[], categories=[{"id": 4, "name": "Red"}]))
    base = ThresholdBase(ontology=CaptionOntology({"red": "red"}))
    alarms = "false_alarms_without_objects"
    reports = evaluate_model_on_sets(base, files, progress=False)
    assert {name: (one.images, one.coverage[alarms]) for name, one in reports.items()} == {
        "": (2, 2),
        "gold-1": (1, 1),
        "gold-2": (1, 1),
    }
    assert evaluate_model(base, files[0], score_floor=1.0, progress=False).coverage[alarms] == 0
