"""The audit of a run, on a tiny target trained for a handful of steps."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import parse
from autodistill_rfdetr_seg.labels.base_source import source_of
from autodistill_rfdetr_seg.pipeline.label_audit import folded_labels
from autodistill_rfdetr_seg.pipeline.stages import build_stage, label_stage
from autodistill_rfdetr_seg.system.config_files import read_run_config, save_run_config
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.square_photos import config_of, scenes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = scenes(tmp_path_factory.mktemp("audited"))
    config, run = parse(config_of(folder, split={"near_duplicates": None})), RunFolder(folder / "run")
    save_run_config(run, config)
    label_stage(config, run, source_of(config), progress=False)
    build_stage(config, run, progress=False)
    return run


@pytest.mark.train
def test_an_audit_and_the_same_again(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", str(run.root), "--order", "audit", "-q"]) == 1
    assert "has not been audited" in capsys.readouterr().err
    assert main(["audit", str(run.root), "--json", "-q"]) == 0
    data = json.loads(capsys.readouterr().out)
    # Students of a handful of steps know nothing, and say nothing.
    assert [one["images"] for one in data["students"]] == [6, 6]
    assert not any(one["classes"]["square"]["known"] for one in data["students"])
    assert {one["kind"] for one in data["items"]} == {None} and len(data["items"]) == 12
    assert "score and stability alone" in data["notes"][2]
    students = [run.audit / f"fold_{fold}" for fold in (0, 1)]
    seen = [{path.name for path in one.glob("dataset/*/*.png")} for one in students]
    asked = [set(json.loads((one / "predictions.json").read_text())["images"]) for one in students]
    assert seen[0] | asked[0] == seen[1] | asked[1] == {f"{at}.png" for at in range(12)}
    assert not seen[0] & asked[0] and not seen[1] & asked[1] and asked[0] == seen[1]
    made = [one / "training" / "run.json" for one in students] + [one / "predictions.json" for one in students]
    before = [file.stat().st_mtime_ns for file in made]
    assert main(["audit", str(run.root), "--csv", "-q"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["annotation_id"] for row in rows] == [str(one["annotation_id"]) for one in data["items"]]
    assert [file.stat().st_mtime_ns for file in made] == before
    assert main(["review", str(run.root), "--order", "audit", "--json", "-q"]) == 0
    shown = json.loads(capsys.readouterr().out)["labels"]
    assert [one["annotation_id"] for one in shown] == [one["annotation_id"] for one in data["items"]]


@pytest.mark.train
def test_what_students_find_is_in_the_order_and_on_the_page(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    if not run.audit_file.is_file():
        pytest.skip("needs the audit of the test before")
    # As if the students found every square but one, and one more object in an image.
    labels = folded_labels(read_run_config(run, {}), run, 2)
    held_out = {image.image_id: image for image in labels.truth.images}
    for fold in (0, 1):
        file = run.audit / f"fold_{fold}" / "predictions.json"
        stored = json.loads(file.read_text())
        for name in stored["images"]:
            (one,) = held_out[name].instances
            mask = {"size": [64, 64], "counts": one.rle.counts.decode()}
            row = {"class_id": 0, "score": 0.8, "segmentation": mask}
            stored["images"][name] = [] if name == "5.png" else [row]
            if name == "0.png":
                corner = {"size": [64, 64], "counts": masks.encode(np.pad(np.ones((10, 10)), (50, 4))).counts.decode()}
                stored["images"][name].append({"class_id": 0, "score": 0.9, "segmentation": corner})
        file.write_text(json.dumps(stored))
    assert main(["audit", str(run.root), "--count", "3", "-q"]) == 0
    printed = capsys.readouterr().out
    first = [line.split() for line in printed.splitlines()[1:4]]
    assert (first[0][1], first[0][-1]) == ("spurious", "5.png")
    # Before it or after it is the label with the lowest score.
    assert [line[-1] for line in first if line[1] == "missed"] == ["0.png"]
    assert "is no probability of an error" in " ".join(printed.split())
    page = (run.root / "review.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3 and "missed" in page


@pytest.mark.train
def test_other_labels_need_another_audit(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    if not run.audit_file.is_file():
        pytest.skip("needs the audit of the first test")
    assert main(["build", str(run.root), "--max-area", "0.01", "-q"]) == 0
    assert main(["review", str(run.root), "--order", "audit", "-q"]) == 1
    assert "have changed since the audit" in capsys.readouterr().err
    assert main(["audit", str(run.root), "-q"]) == 1
    assert "no labels to audit" in capsys.readouterr().err
    assert main(["audit", str(run.root), "--folds", "1", "-q"]) == 2
