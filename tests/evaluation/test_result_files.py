"""Results files: ids of the gold file, names, stems, classes counted from 0, and COCO files with scores."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import evaluate
from helpers.coco_results import NAMES, same, theirs_evaluated
from helpers.result_rows import SIDE, as_results, gold_file, put, rle


def mask_ap(gold: Path, results: Path) -> float | None:
    truth = coco.read(gold)
    return evaluate(truth, coco.read_results(results, truth)).mask["ap"]


IDS = {
    "from 0": [0, 1, 2, 3],
    "gaps": [1, 2, 4, 5],
    "reversed": [9, 7, 5, 3],
    "19 digits": [7706992903151817197 + at for at in range(4)],
    "38 digits": [81645724526782010095170042166076916799 + at for at in range(4)],
    "negative": [-3, -1, 0, 2],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
@pytest.mark.parametrize("categories", [[1, 2], [0, 1], [1], [90, 1], [0]])
def test_a_file_against_itself_scores_1(tmp_path: Path, ids: list[int], categories: list[int]) -> None:
    gold = gold_file(tmp_path, ids, categories)
    assert mask_ap(gold, put(tmp_path, as_results(gold))) == pytest.approx(1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 10**18), min_size=5, max_size=5, unique=True),
    st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True),
    st.integers(0, 10**6),
)
def test_scores_are_those_of_pycocotools_with_the_files_own_ids(
    tmp_path: Path, ids: list[int], categories: list[int], seed: int
) -> None:
    gold = gold_file(tmp_path, ids, categories)
    rng = np.random.default_rng(seed)
    rows = []
    for row in as_results(gold):
        mask = np.roll(coco_mask.decode(row["segmentation"]), rng.integers(-3, 4, 2), (0, 1))
        if rng.random() < 0.8:
            moved = coco_mask.encode(np.asfortranarray(mask))
            segmentation = {"size": moved["size"], "counts": moved["counts"].decode()}
            # Three scores alone: which of equals goes first depends on the images' order, which is that of the ids.
            rows.append(row | {"segmentation": segmentation, "score": float(rng.integers(1, 4)) / 4})
    rng.shuffle(rows)  # type: ignore[arg-type]
    if not rows:
        return
    report = None
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(gold))
        truth = coco.read(gold)
        report = evaluate(truth, coco.read_results(put(tmp_path, rows), truth))
        for kind, found in (("segm", report.mask), ("bbox", report.box)):
            evaluator = theirs_evaluated(theirs, rows, kind)
            evaluator.summarize()
            expected = dict(zip(NAMES, evaluator.stats, strict=True))
            assert all(same(found[name], expected[name]) for name in NAMES), kind


def test_written_results_have_the_files_ids(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [30, 10, 20], [7, 3])
    truth = coco.align(coco.read(gold), Classes(("class 1", "new", "class 0")))
    found = [
        ImagePredictions(
            image.image_id, tuple(Instance(at, masks.encode(np.eye(SIDE, dtype=bool)), 0.5) for at in range(3))
        )
        for image in truth.images
    ]
    coco.write_results(tmp_path / "out.json", found, truth)
    rows = json.loads((tmp_path / "out.json").read_text())
    of_name = {row["file_name"]: row["id"] for row in json.loads(gold.read_text())["images"]}
    assert [row["image_id"] for row in rows[::3]] == [of_name[image.image_id] for image in truth.images]
    # A class that the file lacks has an id that the file does not use, and reads back.
    assert [row["category_id"] for row in rows[:3]] == [3, 8, 7]
    assert [one.instances for one in coco.read_results(tmp_path / "out.json", truth)] == [p.instances for p in found]


def test_a_gold_set_without_ids_reads_back_what_was_written_for_it(tmp_path: Path) -> None:
    # Numbers as names, in an order of their own: ids from 1 would be other images by their names.
    names = ("10.png", "2.png", "1.png")
    mask = masks.encode(np.eye(SIDE, dtype=bool))
    images = tuple(TruthImage(name, tmp_path / name, SIDE, SIDE, (TruthInstance(0, mask),)) for name in names)
    truth = GroundTruth(Classes(("a", "b")), images, "x")
    found = [ImagePredictions(name, (Instance(at % 2, mask, 0.25 + at / 4),)) for at, name in enumerate(names)]
    coco.write_results(tmp_path / "out.json", found, truth)
    assert [one.instances for one in coco.read_results(tmp_path / "out.json", truth)] == [p.instances for p in found]


def stem(row: dict[str, Any]) -> str:
    return f"frame_{row['image_id'] - 1:03}"


READINGS = {
    "stem": {"image_id": stem},
    "file name": {"image_id": lambda row: stem(row) + ".png"},
    "path of another tool": {"image_id": lambda row: "images\\val\\" + stem(row) + ".jpg"},
    "id as text": {"image_id": lambda row: str(row["image_id"])},
    "id as a float": {
        "image_id": lambda row: float(row["image_id"]),
        "category_id": lambda row: row["category_id"] / 1,
    },
    "file_name beside a number of its own": {"image_id": lambda _: 1, "file_name": lambda row: stem(row) + ".png"},
    "classes from 0": {"category_id": lambda row: row["category_id"] - 1},
    "class name": {"category_id": lambda row: f"Class  {row['category_id'] - 1}"},
    "category_name": {
        "category_id": lambda row: row["category_id"] + 5,
        "category_name": lambda row: f"class {row['category_id'] - 1}",
    },
}


@pytest.mark.parametrize("changes", READINGS.values(), ids=READINGS)
def test_results_keyed_otherwise_are_understood(tmp_path: Path, changes: dict[str, Any]) -> None:
    gold = gold_file(tmp_path, [1, 2, 3, 4], [1, 2])
    assert mask_ap(gold, put(tmp_path, as_results(gold, **changes))) == pytest.approx(1)


def test_the_number_of_a_stem(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1, 2], ["000100.png", "000101.png", "000102.png"])
    results = put(tmp_path, as_results(gold, image_id=lambda row: row["image_id"] + 99))
    assert mask_ap(gold, results) == pytest.approx(1)
    assert "100 is 000100.png" in caplog.text


def test_classes_from_1_of_a_file_that_counts_from_0(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [0, 1, 2])
    results = put(tmp_path, as_results(gold, category_id=lambda row: row["category_id"] + 1))
    assert mask_ap(gold, results) == pytest.approx(1)
    assert "counted from 1 (" in caplog.text


def test_what_can_be_read_two_ways_is_refused(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1, 30, 50])
    results = put(tmp_path, as_results(gold, category_id=lambda row: 1 + (row["category_id"] > 1)))
    with pytest.raises(DataError, match=r"from 0 or from 1.*category ids 1, 2; .*1, 30, 50"):
        coco.read_results(results, coco.read(gold))


def test_ids_count_before_numbers_in_names_and_it_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1], ["3.png", "2.png", "1.png"])
    assert mask_ap(gold, put(tmp_path, as_results(gold))) == pytest.approx(1)
    assert "is another image (1.png)" in caplog.text


def test_both_sides_are_shown_where_nothing_fits(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1, 2])
    truth = coco.read(gold)
    rows = as_results(gold, image_id=lambda row: f"photo-{row['image_id']}")
    with pytest.raises(DataError, match=r"'photo-1' of result 0.*'photo-2', 'photo-3'.*ids 1, 2, 3.*'frame_000.png'"):
        coco.read_results(put(tmp_path, rows), truth)
    rows = as_results(gold, image_id=lambda row: row["image_id"] if row["image_id"] == 1 else stem(row))
    with pytest.raises(DataError, match="cannot all be read in one way"):
        coco.read_results(put(tmp_path, rows), truth)
    rows = as_results(gold, category_id=lambda row: row["category_id"] + 70)
    with pytest.raises(DataError, match=r"category ids 71, 72; .*category ids 1, 2 and the classes 'class 0'"):
        coco.read_results(put(tmp_path, rows), truth)
    rows = as_results(gold, image_id=lambda row: None)
    with pytest.raises(DataError, match="`image_id` of result 0 must be"):
        coco.read_results(put(tmp_path, rows), truth)
    rows = [{key: value for key, value in row.items() if key != "segmentation"} for row in as_results(gold)]
    with pytest.raises(DataError, match="result 0"):
        coco.read_results(put(tmp_path, rows), truth)


def coco_predictions(gold: Path, **changes: Any) -> dict[str, Any]:
    """What `predict --output` writes: ids of its own, matched by file and class names."""
    data = json.loads(gold.read_text())
    for row in data["annotations"]:
        row |= {"image_id": 100 - row["image_id"], "category_id": 7 - row["category_id"], "score": 0.8}
    for row in data["images"]:
        row["id"] = 100 - row["id"]
    for row in data["categories"]:
        row["id"] = 7 - row["id"]
    return data | changes


def test_a_coco_file_with_scores_is_matched_by_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1, 2], ["a/1.png", "a/2.png", "3.png"])
    data = coco_predictions(gold)
    assert mask_ap(gold, put(tmp_path, data)) == pytest.approx(1)
    assert not caplog.records
    # The folder that was predicted was another, and held more; the last gold image was not in it.
    data["images"] = [row | {"file_name": row["file_name"].split("/")[-1]} for row in data["images"]]
    data["images"][2]["file_name"] = "other.png"
    data["categories"][0]["name"] = "CLASS 0"
    found = coco.read_results(put(tmp_path, data), coco.read(gold))
    assert [len(one.instances) for one in found] == [3, 3, 0]
    assert "1 of its 3 images are not in the gold set and are left out: 'other.png'" in caplog.text
    assert "1 of the 3 gold images are not in the file" in caplog.text


def test_a_coco_file_of_other_classes_or_without_scores(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1, 2])
    truth = coco.read(gold)
    data = coco_predictions(gold)
    data["categories"][1]["name"] = "zebra"
    found = coco.read_results(put(tmp_path, data), truth)
    assert {i.class_index for one in found for i in one.instances} == {0}
    assert "4 predictions are of classes that the gold set lacks" in caplog.text
    data["categories"] = [{"id": 5, "name": "zebra"}]
    with pytest.raises(DataError, match=r"'zebra' is in the gold set, which has 'class 0', 'class 1'"):
        coco.read_results(put(tmp_path, data), truth)
    plain = json.loads(gold.read_text())
    assert {i.score for one in coco.read_results(put(tmp_path, plain), truth) for i in one.instances} == {1.0}
    assert "no annotation has a `score`" in caplog.text
    plain["annotations"][0]["score"] = 0.5
    with pytest.raises(DataError, match="`score` of result 1"):
        coco.read_results(put(tmp_path, plain), truth)


def test_predictions_on_images_of_another_size_are_refused(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2], [1])
    data = coco_predictions(gold)
    data["images"][1] |= {"width": 2 * SIDE, "height": 3 * SIDE}
    for row in data["annotations"]:
        row["segmentation"] = [[2, 2, 20, 2, 20, 20]]
    with pytest.raises(DataError, match=r"'frame_001\.png' has 80 x 120 pixels, and the gold image .* 40 x 40"):
        coco.read_results(put(tmp_path, data), coco.read(gold))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": []}, "6 annotations are of an `image_id` that its `images` do not list"),
        ({"images": [{"id": 99, "file_name": "frame_000.png"}]}, r"3 annotations .* do not list \(98, 98, 98\)"),
        ({"categories": []}, "it has no class; the gold set has 'class 0'"),
    ],
)
def test_a_coco_file_that_lacks_a_list(
    tmp_path: Path, changes: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    gold = gold_file(tmp_path, [1, 2], [1])
    with pytest.raises(DataError, match=said):
        coco.read_results(put(tmp_path, coco_predictions(gold, **changes)), coco.read(gold))
    assert not caplog.records


@pytest.mark.parametrize("score", [None, "0.5", 1.0001, 90, -0.1])
def test_a_score_is_0_to_1_and_its_row_is_named(tmp_path: Path, score: object) -> None:
    gold = gold_file(tmp_path, [1, 2], [1])
    rows = as_results(gold)
    rows[4]["score"] = score
    with pytest.raises(DataError, match=r"results\.json, image id 2: `score` of result 4 must be a number from 0 to 1"):
        coco.read_results(put(tmp_path, rows), coco.read(gold))


def test_masks_in_the_forms_that_tools_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gold = gold_file(tmp_path, [1], [1], per_image=1)
    square = [2.0, 0.0, 14.0, 0.0, 14.0, 12.0, 2.0, 12.0]
    truth = coco.read(gold)
    for mask in (square, [[[2, 0], [14, 0], [14, 12], [2, 12]]], [rle(2, 0)]):
        rows = as_results(gold, segmentation=lambda row, mask=mask: mask)
        caplog.clear()
        (found,) = coco.read_results(put(tmp_path, rows), truth)
        assert found.instances[0].rle == truth.images[0].instances[0].rle
        assert "1 x mask is written in another form" in caplog.text
    caplog.clear()
    # Detections of an image that was made larger, whose polygons end outside of this one.
    rows = as_results(gold, segmentation=lambda row: [[5 * value for value in square]])
    coco.read_results(put(tmp_path, rows), truth)
    assert "1 x polygon extends beyond the image: cut off at its edge" in caplog.text


def test_a_folder_of_predictions_and_bare_annotations(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1, 2])
    (tmp_path / "predicted").mkdir()
    (tmp_path / "predicted" / "predictions.json").write_text(json.dumps(coco_predictions(gold)))
    assert mask_ap(gold, tmp_path / "predicted") == pytest.approx(1)
    assert mask_ap(gold, put(tmp_path, {"annotations": as_results(gold)})) == pytest.approx(1)


def test_paths_without_suffix_tell_images_of_one_name_apart(tmp_path: Path) -> None:
    names = ["day/1.png", "night/1.png", "night/2.png"]
    gold = gold_file(tmp_path, [8, 9, 10], [1], names)
    rows = as_results(gold, image_id=lambda row: names[row["image_id"] - 8].removesuffix(".png"))
    assert mask_ap(gold, put(tmp_path, rows)) == pytest.approx(1)
    rows = as_results(gold, image_id=lambda row: names[row["image_id"] - 8].split("/")[1])
    with pytest.raises(DataError, match=r"'1\.png' of result 0 is not in the gold set"):
        coco.read_results(put(tmp_path, rows), coco.read(gold))


def test_no_result_at_all_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gold = gold_file(tmp_path, [1], [1])
    assert mask_ap(gold, put(tmp_path, [])) == 0
    assert "has no result" in caplog.text


def test_boxes_of_results_count_as_pycocotools_has_them(tmp_path: Path) -> None:
    gold = gold_file(tmp_path, [1, 2, 3], [1])
    off = as_results(gold, bbox=lambda row: [30, 30, 5, 5])
    truth = coco.read(gold)
    report = evaluate(truth, coco.read_results(put(tmp_path, off), truth))
    assert (report.mask["ap"], report.box["ap"]) == (pytest.approx(1), 0)
