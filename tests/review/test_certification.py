from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError, OutputExistsError, UsageError
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, ImageRecord, Instance
from autodistill_rfdetr_seg.pipeline.runs import label
from autodistill_rfdetr_seg.review.certification import Certificate, certificate_text, certify
from autodistill_rfdetr_seg.review.certification_checks import CheckOptions, Checks, draw_checks, read_checks
from autodistill_rfdetr_seg.review.certification_items import cells_of, grid_of, read_items
from autodistill_rfdetr_seg.review.certification_sample import divide_checks, draw_sample, label_strata
from autodistill_rfdetr_seg.review.certification_truth import judge_items
from autodistill_rfdetr_seg.system.files import read_json
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.shapes import detections, disc

# Image number i has discs at these places; the base labels places 0 to 2 and, in every fourth image, one where no disc
# is. The disc at place 3 is always missed.
PLACES = ((20, 20), (60, 20), (20, 60), (60, 60))
NOTHING = (40, 40)
IMAGES = 24


class DiscBase(DetectionBaseModel):
    def __init__(self) -> None:
        self.ontology = CaptionOntology({"a nut": "nut"})

    def predict(self, input: np.ndarray) -> sv.Detections:
        number = int(input[0, 0, 0])
        places = [*PLACES[:3], *([NOTHING] if number % 4 == 0 else [])]
        scores = [0.9 - 0.01 * at - 0.001 * number for at in range(3)] + [0.3] * (len(places) - 3)
        return detections(np.stack([disc(80, 80, x, y, 8) for x, y in places]), [0] * len(places), scores)


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("certify")
    (root / "images").mkdir()
    (root / "gold").mkdir()
    entries = []
    for number in range(IMAGES):
        name = f"{number:02d}.png"
        Image.fromarray(np.full((80, 80, 3), number, np.uint8)).save(root / "images" / name)
        shutil.copy(root / "images" / name, root / "gold" / name)
        found = tuple(Instance(0, masks.encode(disc(80, 80, x, y, 8)), 1.0) for x, y in PLACES)
        entries.append((name, ImageLabels(ImageRecord("", name, 80, 80, ""), found)))
    coco.write(root / "gold" / coco.ANNOTATIONS, entries, Classes(("nut",)), {})
    label(DiscBase(), root / "images", root / "run", split={"train": 1.0, "valid": 0, "test": 0}, progress=False)
    return root


@pytest.fixture
def run(labeled: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(labeled / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


OPTIONS = CheckOptions(checks=24)


def page_answers(checks: Checks) -> dict[str, Any]:
    """What a person would answer."""
    right = {}
    for one in checks.label_items:
        x, y, width, height = masks.bbox_xywh(one.instance.rle)
        right[one.reference] = "wrong" if (round(x + width / 2), round(y + height / 2)) == (40, 40) else "right"
    regions = {one.reference: {"wrong": int(one.labels == 4), "missed": 1} for one in checks.region_items}
    return {"sample": checks.name, "labels": right, "regions": regions}


def test_the_page_and_corrected_annotations_give_the_same_bounds(run: RunFolder, labeled: Path, tmp_path: Path) -> None:
    checks = draw_checks(run, OPTIONS, progress=False)
    assert (len(checks.label_items), len(checks.region_items)) == (12, 12)
    assert len({one.reference for one in checks.label_items}) == 12
    answers = page_answers(checks)
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    by_page = certify(run, tmp_path / "answers.json")
    by_coco = certify(run, labeled / "gold")
    assert by_page == by_coco
    wrong = sum(value == "wrong" for value in answers["labels"].values())
    assert (by_page.labels, by_page.labels_checked, by_page.labels_wrong) == (78, 12, wrong)
    assert (by_page.regions_checked, by_page.region_missed) == (12, 12)
    # The truth: 72 of 78 labels are right, and 24 of 96 objects are missed.
    assert by_page.right_at_least is not None and 0.7 < by_page.right_at_least <= 72 / 78
    assert by_page.missed_at_most is not None and 24 / 96 <= by_page.missed_at_most < 0.6
    assert by_page.missed_estimate == pytest.approx(0.25, abs=0.05)
    assert read_json(run.human / f"certification-{checks.name}.json") == answers
    assert read_json(checks.folder / "certificate.json")["right_at_least"] == by_page.right_at_least


def test_checks_are_drawn_once_and_answers_belong_to_them(run: RunFolder, tmp_path: Path) -> None:
    checks = draw_checks(run, OPTIONS, progress=False)
    before = checks.page.stat().st_mtime_ns
    assert draw_checks(run, OPTIONS, progress=False).references == checks.references
    assert checks.page.stat().st_mtime_ns == before
    answers = page_answers(checks)
    other = dataclasses.replace(OPTIONS, seed=1)
    with pytest.raises(OutputExistsError, match="has checks already"):
        draw_checks(run, other, progress=False)
    drawn = draw_checks(run, other, overwrite=True, progress=False)
    assert drawn.references != checks.references
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    with pytest.raises(DataError, match="to other checks"):
        certify(run, tmp_path / "answers.json")


def test_an_unanswered_check_is_refused(run: RunFolder, labeled: Path, tmp_path: Path) -> None:
    answers = page_answers(draw_checks(run, OPTIONS, progress=False))
    del answers["labels"][next(iter(answers["labels"]))]
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(answers))
    with pytest.raises(DataError, match="1 of 24 checks have no answer"):
        certify(run, path)
    path.write_text(json.dumps({**answers, "labels": {"train:1": "maybe"}}))
    with pytest.raises(DataError, match="'right' or 'wrong'"):
        certify(run, path)
    region = next(iter(answers["regions"]))
    for value in ({"wrong": 9, "missed": 0}, {"wrong": 0}, 3, {"wrong": True, "missed": 0}):
        path.write_text(json.dumps({**answers, "regions": {region: value}}))
        with pytest.raises(DataError):
            certify(run, path)


def test_a_dataset_that_changed_is_refused(run: RunFolder, labeled: Path) -> None:
    draw_checks(run, OPTIONS, progress=False)
    file = run.dataset / "train" / coco.ANNOTATIONS
    document = json.loads(file.read_text())
    document["annotations"].pop()
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match="has changed since"):
        certify(run, labeled / "gold")


def test_more_missed_objects_than_assumed_leave_no_bound(run: RunFolder, tmp_path: Path) -> None:
    checks = draw_checks(run, OPTIONS, progress=False)
    answers = page_answers(checks)
    first = checks.region_items[0]
    answers["regions"][first.reference]["missed"] = 2 * (first.labels + 1) + 1
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    found = certify(run, tmp_path / "answers.json")
    assert found.missed_at_most is None
    assert found.right_at_least is not None
    assert "1 region had more than 2 missed objects" in certificate_text(found)
    more = certify(run, tmp_path / "answers.json", most_missed=3)
    assert more.missed_at_most is not None
    assert more.right_at_least == found.right_at_least
    with pytest.raises(UsageError, match="above 0"):
        certify(run, tmp_path / "answers.json", most_missed=0)


def test_percentages_are_rounded_so_that_they_stay_true() -> None:
    found = Certificate(5211, 0.95, 0.94999, 0.97, 0.07001, 0.03, 30, 1, 900, 30, 120, 2, 4, ("A note.",))
    lines = certificate_text(found).splitlines()
    assert lines[0] == "Of these 5,211 labels at least 94.9% are right (95% confidence; estimate 97.0%)."
    assert lines[1] == "At most 7.1% of the objects were missed (95% confidence; estimate 3.0%)."
    assert lines[-1] == "A note."


def test_a_dataset_without_labels_has_no_bound(run: RunFolder, tmp_path: Path) -> None:
    file = run.dataset / "train" / coco.ANNOTATIONS
    file.write_text(json.dumps({**json.loads(file.read_text()), "annotations": []}))
    checks = draw_checks(run, OPTIONS, progress=False)
    assert (len(checks.label_items), len(checks.region_items)) == (0, 12)
    (tmp_path / "answers.json").write_text(json.dumps(page_answers(checks)))
    found = certify(run, tmp_path / "answers.json")
    assert (found.right_at_least, found.missed_at_most) == (None, None)
    assert "neither bound is defined" in certificate_text(found)


def test_the_command_draws_and_answers(run: RunFolder, labeled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", str(run.root), "--checks", "24", "-q"]) == 0
    assert "12 labels to check one by one, of 78 labels" in capsys.readouterr().out
    assert main(["certify", str(run.root), "--answers", str(labeled / "gold"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == 78
    for more in (["--answers", str(labeled / "gold"), "--checks", "30"], ["--most-missed", "3"]):
        assert main(["certify", str(run.root), *more]) == 2
        assert "say" in capsys.readouterr().err
    page = (run.certification / "checks.html").read_text()
    assert page.count("<article") == 24
    assert 'data-sample="' + read_checks(run).name in page


def test_an_image_with_many_labels_is_cut_into_regions() -> None:
    assert [grid_of(labels) for labels in (0, 8, 9, 33, 10_000)] == [1, 1, 2, 3, 12]
    # Three columns and rows of 100 x 30: edges at 33, 67 and at 10, 20.
    boxes = [(0, 0, 2, 2), (32, 0, 2, 2), (31, 0, 2, 2), (98, 28, 2, 2), (40, 12, 4, 4)]
    assert cells_of(boxes, 100, 30, 3).tolist() == [0, 1, 0, 8, 4]
    assert cells_of([], 100, 30, 3).tolist() == []


def test_every_label_is_in_the_region_that_has_its_center(run: RunFolder) -> None:
    items = read_items(run)
    counts = np.bincount([one.region for one in items.labels], minlength=len(items.regions))
    assert counts.tolist() == [one.labels for one in items.regions]
    assert all(items.regions[one.region].image == one.image for one in items.labels)


def test_checks_are_divided() -> None:
    assert divide_checks(60, None, 500, 100) == (30, 30)
    assert divide_checks(60, 10, 500, 100) == (50, 10)
    assert divide_checks(60, None, 500, 12) == (30, 12)
    assert divide_checks(60, None, 7, 100) == (7, 30)
    for checks, regions in ((1, None), (10, 10), (10, 0)):
        with pytest.raises(UsageError):
            divide_checks(checks, regions, 500, 100)


def test_labels_are_drawn_from_two_strata() -> None:
    ranks = np.linspace(0, 1, 200)[::-1].tolist()
    sample = draw_sample(ranks, [4] * 50, 30, 10, seed=3)
    others, suspect = sample.strata
    assert sorted(suspect.tolist()) == list(range(150, 200))
    assert [len(one) for one in sample.labels] == [18, 12]
    assert set(sample.labels[1].tolist()) < set(suspect.tolist())
    assert set(sample.labels[0].tolist()) < set(others.tolist())
    again = draw_sample(ranks, [4] * 50, 30, 10, seed=3)
    assert all((a == b).all() for a, b in zip(sample.labels, again.labels, strict=True))
    # Equal scores tell nothing.
    assert len(label_strata([0.5] * 200, 30)) == 1


def test_every_label_of_a_stratum_is_drawn_equally_often() -> None:
    ranks = np.linspace(0, 1, 40).tolist()
    drawn = np.zeros(40)
    for seed in range(2000):
        for chosen in draw_sample(ranks, [1] * 5, 10, 2, seed).labels:
            drawn[chosen] += 1
    assert drawn[:10].mean() / 2000 == pytest.approx(0.4)
    assert np.abs(drawn[:10] / 2000 - 0.4).max() < 0.05
    assert np.abs(drawn[10:] / 2000 - 0.2).max() < 0.04


def test_annotations_judge_labels_as_cocoeval_does(run: RunFolder, labeled: Path) -> None:
    items = read_items(run)
    (image,) = (one for one in coco.read(labeled / "gold").images if one.image_id == "00.png")
    of_image = [one for one in items.labels if one.image == "00.png"]
    region = next(one.reference for one in items.regions if one.image == "00.png")
    judged = judge_items(items, {"00.png": image})
    assert sum(judged.right.values()) == 3
    assert (len(judged.right), judged.wrong[region], judged.missed) == (4, 1, {region: 1})
    # A crowd region makes no label wrong, and is not missed.
    crowds = tuple(dataclasses.replace(one, crowd=True) for one in image.instances)
    alone = judge_items(items, {"00.png": dataclasses.replace(image, instances=crowds)})
    assert (sum(alone.right.values()), alone.missed) == (3, {region: 0})
    # Without any annotation every label is wrong.
    empty = judge_items(items, {"00.png": dataclasses.replace(image, instances=())})
    assert (sum(empty.right.values()), empty.wrong[region], empty.missed) == (0, len(of_image), {region: 0})
