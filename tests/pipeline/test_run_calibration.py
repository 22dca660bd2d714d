"""`calibrate` on a labeled run: what it saves, what the next build has, and bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autodistill_rfdetr_seg import calibrate, tune
from autodistill_rfdetr_seg.core.errors import DataError, UsageError
from helpers.commands import here
from helpers.square_photos import label_args, scenes

PHOTOS = 20


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of one red square each, the gold set of them, and a run with labels: all of them are right."""
    folder = scenes(tmp_path_factory.mktemp("labeled"), PHOTOS)
    assert here(label_args(folder / "images", folder / "run"))[0] == 0
    return folder


@pytest.fixture
def run(labeled: Path, tmp_path: Path) -> Path:
    shutil.copytree(labeled / "run", tmp_path / "run")
    return tmp_path / "run"


def confidence(run: Path) -> Any:
    return yaml.safe_load((run / "pipeline.yaml").read_text())["refine"]["confidence"]


def test_the_thresholds_are_what_the_next_build_reads(run: Path, labeled: Path) -> None:
    code, out, _ = here(["calibrate", str(run), "--gold", str(labeled / "gold.json"), "--target-precision", "0.8"])
    assert code == 0
    assert "square" in out and "next: autodistill-seg build" in out
    # Every image is a gold image, so the promise is for the mean, and all labels are right: nothing is dropped.
    assert confidence(run) == {"square": 0.0} and "on average" in out
    saved = json.loads((run / "evaluation" / "calibration.json").read_text())
    assert saved["classes"][0]["after"] == {"labels": PHOTOS, "precision": 1.0, "recall": 1.0}
    # The bound of labels that are all right is 0.05 ** (1 / 20) = 0.861, and lower as several thresholds are tried.
    assert 0.8 <= saved["classes"][0]["lower"] < 0.05 ** (1 / PHOTOS)
    assert here(["build", str(run), "-q"])[0] == 0


def test_a_class_without_a_promise_ends_with_the_code_of_a_gate(run: Path, labeled: Path) -> None:
    gold = ["--gold", str(labeled / "gold.json")]
    code, out, err = here(["calibrate", str(run), *gold, "--json", "--dry-run"])
    assert code == 5 and "No precision of 0.95 can be promised for 'square'" in err
    data = json.loads(out)
    # 59 independent labels are the least for 0.95.
    assert data["classes"][0]["missing_gold"] == 39 and not data["saved"]
    assert confidence(run) == 0.0 and not (run / "evaluation" / "calibration.json").exists()
    assert here(["calibrate", str(run), *gold, "--drop-failing", "-q"])[0] == 0
    assert confidence(run) == {"square": 1.0}


def test_gold_images_of_the_run_are_not_among_those_that_are_promised(run: Path, labeled: Path, tmp_path: Path) -> None:
    half = gold_with(labeled, tmp_path, lambda data: halved(data))
    found = calibrate(run, [half], target_precision=0.8, save=False, progress=False).calibration
    assert (found.images, found.future_images) == (PHOTOS // 2, PHOTOS // 2)
    # Half of the gold, and as much again for what the other half will show.
    assert found.failing == ("square",) and found.classes[0].missing_gold == 18


def halved(data: dict[str, Any]) -> None:
    data["images"] = data["images"][: PHOTOS // 2]
    ids = {image["id"] for image in data["images"]}
    data["annotations"] = [one for one in data["annotations"] if one["image_id"] in ids]


def gold_with(labeled: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads((labeled / "gold.json").read_text())
    change(data)
    shutil.copytree(labeled / "images", folder / "images")
    (folder / "gold.json").write_text(json.dumps(data))
    return folder / "gold.json"


def test_bad_input_is_told_in_a_sentence(run: Path, labeled: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no gold set"):
        calibrate(run, progress=False)
    crowds = gold_with(labeled, tmp_path, lambda data: [one.update(iscrowd=1) for one in data["annotations"]])
    with pytest.raises(DataError, match="no object of the run's classes"):
        calibrate(run, [crowds], progress=False)
    scored = calibrate(run, [crowds], target_precision=0.8, crowds="objects", save=False, progress=False)
    assert scored.calibration.failing == ()


def test_tune_takes_nothing_where_every_label_is_right(run: Path, labeled: Path) -> None:
    before = (run / "pipeline.yaml").read_text()
    code, out, _ = here(["tune", str(run), "--gold", str(labeled / "gold.json"), "--json", "-q"])
    data = json.loads(out)
    assert code == 0 and not data["saved"] and data["f1_before"] == data["f1_after"] == 1.0
    assert data["steps"][0][0]["rule"] == "confidence" and not any(one["taken"] for one in data["steps"][0])
    assert (run / "pipeline.yaml").read_text() == before and (run / "evaluation" / "tuning.json").is_file()


def test_tuned_rules_are_what_the_next_build_reads(run: Path, labeled: Path) -> None:
    config = yaml.safe_load((run / "pipeline.yaml").read_text())
    # Squares have 320 of 4096 pixels: this limit drops all of them.
    config["refine"]["max_area"] = 0.05
    (run / "pipeline.yaml").write_text(yaml.safe_dump(config))
    found = tune(run, [labeled / "gold.json"], progress=False)
    assert found.changed and found.gain.low > 0 and found.search.f1 == 1.0
    saved = yaml.safe_load((run / "pipeline.yaml").read_text())["refine"]
    assert saved["max_area"] != 0.05 and saved["nms_iou"] == config["refine"]["nms_iou"]
