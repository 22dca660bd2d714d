"""The base `boxes`: boxes that people have already, of COCO and YOLO, each on its own image and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco, label
from autodistill_rfdetr_seg.bases.adapter import BaseAdapter
from autodistill_rfdetr_seg.bases.base_classes import identity_of
from autodistill_rfdetr_seg.bases.box_file import read_boxes
from autodistill_rfdetr_seg.bases.detector_and_segmenter import SegmentedBase
from autodistill_rfdetr_seg.bases.given_boxes import GivenBoxes
from autodistill_rfdetr_seg.bases.registry import find_base, own_ontology
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import BaseConfig
from autodistill_rfdetr_seg.core.errors import DataError, MissingInputError, UnknownNameError, UsageError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.label_account import read_failures

# Makes a mask of the whole of each box: what a box becomes can be told to the pixel.
SEGMENTER = """
import numpy as np
from autodistill_rfdetr_seg.bases.contract import Masks

class Filled:
    def segment(self, image, boxes_xyxy):
        made = np.zeros((len(boxes_xyxy), *image.shape[:2]), bool)
        for mask, (x0, y0, x1, y1) in zip(made, np.asarray(boxes_xyxy).round().astype(int)):
            mask[y0:y1, x0:x1] = True
        return Masks(made, np.full(len(made), 0.75))
"""
HEIGHT, WIDTH = 40, 60


def images(folder: Path, *names: str, seed: int = 0) -> Path:
    for at, name in enumerate(names):
        pixels = np.random.default_rng(seed + at).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return folder


def document(rows: dict[str, list[tuple[int, list[Any]]]], **more: Any) -> dict[str, Any]:
    """A COCO document: image name → (category id, bbox xywh)."""
    listed = [{"id": 7 + at, "file_name": name, "height": HEIGHT, "width": WIDTH} for at, name in enumerate(rows)]
    found = [
        {"image_id": 7 + at, "category_id": category, "bbox": bbox}
        for at, boxes in enumerate(rows.values())
        for category, bbox in boxes
    ]
    annotations = [{"id": 100 + at, "iscrowd": 0, **one} for at, one in enumerate(found)]
    categories = [{"id": 3, "name": "nut"}, {"id": 90, "name": "bolt"}]
    return {"images": listed, "annotations": annotations, "categories": categories, **more}


def written(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@pytest.fixture
def segmenter(tmp_path: Path) -> str:
    return f"{written(tmp_path / 'filled.py', SEGMENTER)}:Filled"


def labelled(tmp_path: Path, segmenter: str, file: Path, *more: str) -> int:
    args = ["label", str(tmp_path / "photos"), "--base", "boxes", "--base-arg", f"file={file}", "--split", "1,0,0"]
    return main([*args, "--segmenter", segmenter, "--output", str(tmp_path / "run"), "-q", *more])


def kept(run: Path) -> dict[str, list[tuple[str, tuple[float, ...], float]]]:
    """Image → (class, box XYWH of the mask, score) of each object in the dataset, the best score first."""
    truth = coco.read(run / "dataset" / "train")
    rows = coco.read_rows(run / "dataset" / "train")
    return {
        image.image_id: [
            (truth.classes.names[i.class_index], masks.bbox_xywh(i.rle), row["score"])
            for i, row in zip(image.instances, rows[image.image_id], strict=True)
        ]
        for image in truth.images
    }


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_boxes_of_a_coco_file(workers: str, tmp_path: Path, segmenter: str, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path / "photos", "a.png", "sub/b.png", "empty.png", "unlisted.png")
    data = document(
        {
            "a.png": [(90, [10, 5, 20, 10]), (3, [0, 0, 8, 8]), (3, [50, 30, 40, 40]), (3, [5, 5, 0, 9])],
            "sub/b.png": [(3, [30.4, 20.2, 10, 10]), (3, [70, 5, 5, 5]), (3, [2, 2, 9, 9])],
            "empty.png": [],
            "gone.png": [(3, [1, 1, 5, 5]), (3, [1, 1, 9, 9])],
        }
    )
    data["annotations"][0]["score"] = 0.25
    data["annotations"][6]["iscrowd"] = 1
    data["annotations"][1] |= {"segmentation": "rubbish that is not looked at", "area": None}
    file = written(tmp_path / "boxes.json", data)
    assert labelled(tmp_path, segmenter, file, "--workers", workers) == 4
    told = capsys.readouterr()
    assert "In boxes.json 1 of 4 rows have no image here; their 2 boxes are not used: gone.png." in told.err
    assert read_failures(tmp_path / "run" / "labels") == [
        {"path": "unlisted.png", "reason": "unlisted.png: there is no row for this image in boxes.json."}
    ]
    # Without --class every class of the file, by its name; a box that reaches out is cut; one without a score has 1.
    assert kept(tmp_path / "run") == {
        "a.png": [("nut", (0, 0, 8, 8), 1.0), ("nut", (50, 30, 10, 10), 1.0), ("bolt", (10, 5, 20, 10), 0.25)],
        "empty.png": [],
        "sub__b.png": [("nut", (30, 20, 10, 10), 1.0)],
    }
    rows = [row for told in coco.read_rows(tmp_path / "run" / "dataset" / "train").values() for row in told]
    assert {row["mask_score"] for row in rows} == {0.75}
    assert main(["label", *_again(tmp_path, segmenter, file), "--json", "-q"]) == 4
    reasons = json.loads(capsys.readouterr().out)
    assert reasons["failures"][0]["path"] == "unlisted.png"


def _again(tmp_path: Path, segmenter: str, file: Path) -> list[str]:
    base = ["--base", "boxes", "--base-arg", f"file={file}", "--split", "1,0,0", "--resume"]
    return [str(tmp_path / "photos"), *base, "--segmenter", segmenter, "--output", str(tmp_path / "run")]


def test_what_is_left_out_is_counted(tmp_path: Path, segmenter: str, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path / "photos", "a.png")
    boxes = [(3, [0, 0, 9, 9]), (90, [9, 9, 9, 9]), (3, [5, 5, 0, 9]), (3, [60, 5, 5, 5]), (3, [-9, 0, 9, 9])]
    data = document({"a.png": [*boxes, (3, [0, 0, 30, 30])]})
    data["annotations"][-1]["iscrowd"] = 1
    file = written(tmp_path / "boxes.json", data)
    assert labelled(tmp_path, segmenter, file, "--class", "nut=part") == 0
    told = capsys.readouterr().out
    assert "kept 1 labels, rejected 5" in told and "box_outside_image 2" in told and "crowd_box 1" in told
    assert kept(tmp_path / "run") == {"a.png": [("part", (0, 0, 9, 9), 1.0)]}
    source = BaseSource.from_config(
        BaseConfig(name="boxes", args={"file": str(file)}, segmenter=segmenter), Classes.from_ontology({"nut": "part"})
    )
    from autodistill_rfdetr_seg.images.image_opening import open_image

    opened = open_image(tmp_path / "photos" / "a.png", "a.png")
    answer = source.adapter().start([opened.pixels], [opened.record])[0]()
    wanted = {"box_without_area": 1, "box_outside_image": 2, "crowd_box": 1, "class_left_out": 1}
    assert answer.dropped == wanted


@pytest.mark.parametrize(
    ("listed", "given", "found"),
    [
        # Folders that only one side has.
        (["train/a.png", "b.png"], ["a.png", "deep/er/b.png"], {"a.png": "train/a.png", "deep/er/b.png": "b.png"}),
        (["images\\a.png"], ["a.png"], {"a.png": "images\\a.png"}),
        # The same name in two folders is two images.
        (["x/a.png", "y/a.png"], ["x/a.png", "y/a.png"], {"x/a.png": "x/a.png", "y/a.png": "y/a.png"}),
        (["x/a.png", "y/a.png"], ["a.png"], {"a.png": None}),
        (["a.png"], ["x/a.png", "y/a.png"], {"x/a.png": None, "y/a.png": None}),
        (["a.png"], ["a.png", "y/a.png"], {"a.png": None, "y/a.png": None}),
        # Not by a part of a name.
        (["a.png"], ["ba.png"], {"ba.png": None}),
        (["a.png"], ["a.jpg"], {"a.jpg": None}),
    ],
)
def test_which_row_is_an_image_s(
    listed: list[str], given: list[str], found: dict[str, str | None], tmp_path: Path, segmenter: str
) -> None:
    images(tmp_path / "photos", *given)
    # Each row has a box of its own width.
    rows = {name: [(3, [0, 0, 10 + at, 10])] for at, name in enumerate(listed)}
    file = written(tmp_path / "elsewhere" / "boxes.json", document(rows))
    code = labelled(tmp_path, segmenter, file)
    some = {name for name, row in found.items() if row is not None}
    assert code == (0 if len(some) == len(found) else 4 if some else 1)
    failed = {one["path"] for one in read_failures(tmp_path / "run" / "labels")}
    assert failed == set(found) - some
    if some:
        widths = {name: boxes[0][1][2] for name, boxes in kept(tmp_path / "run").items()}
        assert widths == {name.replace("/", "__"): 10 + listed.index(str(found[name])) for name in some}


def test_a_renamed_image_is_known_by_its_content(tmp_path: Path, segmenter: str) -> None:
    images(tmp_path / "set", "one.png", "two.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "renamed.png").write_bytes((tmp_path / "set" / "two.png").read_bytes())
    data = document({"one.png": [(3, [0, 0, 11, 10])], "two.png": [(3, [0, 0, 12, 10])]})
    file = written(tmp_path / "set" / "boxes.json", data)
    assert labelled(tmp_path, segmenter, file) == 0
    assert kept(tmp_path / "run") == {"renamed.png": [("nut", (0, 0, 12, 10), 1.0)]}


def test_copies_have_each_their_own_row(tmp_path: Path, segmenter: str) -> None:
    images(tmp_path / "photos", "a.png")
    for name in ("b.png", "c.png"):
        (tmp_path / "photos" / name).write_bytes((tmp_path / "photos" / "a.png").read_bytes())
    data = document({"b.png": [(3, [0, 0, 11, 10])], "c.png": []})
    # `a` comes first, and its failure is not the others'.
    assert labelled(tmp_path, segmenter, written(tmp_path / "boxes.json", data)) == 4
    assert [one["path"] for one in read_failures(tmp_path / "run" / "labels")] == ["a.png"]
    # The dataset holds a content twice as it did before, under both names.
    assert {name: len(boxes) for name, boxes in kept(tmp_path / "run").items()} == {"b.png": 1, "c.png": 0}


def test_a_row_of_another_size_fails(tmp_path: Path, segmenter: str) -> None:
    images(tmp_path / "photos", "a.png", "b.png")
    data = document({"a.png": [(3, [0, 0, 11, 10])], "b.png": [(3, [0, 0, 11, 10])]})
    data["images"][0] |= {"height": WIDTH, "width": HEIGHT}
    del data["images"][1]["height"]
    assert labelled(tmp_path, segmenter, written(tmp_path / "boxes.json", data)) == 4
    (failure,) = read_failures(tmp_path / "run" / "labels")
    assert failure["path"] == "a.png" and "says 40x60 (width x height), and the image is 60x40" in failure["reason"]


def test_other_boxes_are_labelled_again(tmp_path: Path, segmenter: str) -> None:
    images(tmp_path / "photos", "a.png")
    file = written(tmp_path / "boxes.json", document({"a.png": [(3, [0, 0, 11, 10])]}))
    assert labelled(tmp_path, segmenter, file) == 0
    written(file, document({"a.png": [(3, [0, 0, 12, 10])]}))
    assert labelled(tmp_path, segmenter, file, "--resume") == 0
    assert kept(tmp_path / "run")["a.png"] == [("nut", (0, 0, 12, 10), 1.0)]


def yolo(root: Path, labels: dict[str, str], names: str = "[nut, bolt]", splits: str = "train: images/train") -> Path:
    for name, text in labels.items():
        written(root / "labels" / name, text)
    return written(root / "data.yaml", f"names: {names}\n{splits}\n")


def test_boxes_of_yolo(tmp_path: Path, segmenter: str) -> None:
    root = tmp_path / "set"
    images(root / "images" / "train", "a.jpg", "b.png", "no_label.png")
    images(tmp_path / "photos", "images/train/a.jpg", "images/train/b.png", "images/train/no_label.png")
    labels = {"train/a.txt": "1 0.5 0.5 0.2 0.5 0.3\n\n0.0 0.1 0.1 0.2 0.2\n", "train/b.txt": ""}
    file = yolo(root, labels, "{0: nut, 1: bolt}")
    assert labelled(tmp_path, segmenter, file) == 0
    found = kept(tmp_path / "run")
    # Of 60x40: a box of shares of each side. An empty label file is a negative, and so is none, as everywhere in YOLO.
    assert found["images__train__a.jpg"] == [("nut", (0, 0, 12, 8), 1.0), ("bolt", (24, 10, 12, 20), 0.3)]
    assert found["images__train__b.png"] == [] and found["images__train__no_label.png"] == []


def test_forms_of_a_data_yaml(tmp_path: Path) -> None:
    labels = {"train/a.txt": "0 .5 .5 .1 .1", "val/b.txt": "1 .5 .5 .1 .1"}
    root = tmp_path / "set"
    images(root / "images", "train/a.png", "val/b.png")
    for splits in (
        "train: images/train\nval: images/val",
        "train: [images/train, images/val]\nval: images/val",
        "path: .\ntrain: images/train\nval: images/val",
        "train: ../images/train\nvalid: ../images/val",
    ):
        file = read_boxes(yolo(root, labels, splits=splits))
        assert [row.name for row in file.rows] == ["images/train/a.png", "images/val/b.png"]
        assert file.rows[0].xyxy.tolist() == [pytest.approx([27, 18, 33, 22])] and file.rows[0].size == (40, 60)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.1", "line 2: the row has 4 numbers"),
        ("0 30 20 10 10", "line 2: the box 30, 20, 10, 10"),
        ("0 0.5 0.5 -0.1 0.1", "is not shares of the image"),
        ("0 1.4 0.5 0.1 0.1", "is not shares of the image"),
        ("0 nan 0.5 0.1 0.1", "line 2: the row is not numbers"),
        ("2 0.5 0.5 0.1 0.1", "line 2: class 2 is not in `names`"),
        ("0.5 0.5 0.5 0.1 0.1", "line 2: the class must be a whole number"),
        ("-1 0.5 0.5 0.1 0.1", "line 2: class -1 is not in `names`"),
        ("nut 0.5 0.5 0.1 0.1", "line 2: the class must be a whole number, not 'nut'"),
    ],
)
def test_a_line_that_is_no_box_is_refused(line: str, says: str, tmp_path: Path) -> None:
    images(tmp_path / "images" / "train", "a.png")
    file = yolo(tmp_path, {"train/a.txt": f"0 0.5 0.5 0.1 0.1\n{line}\n"})
    with pytest.raises(DataError) as error:
        read_boxes(file)
    assert says in str(error.value) and "a.txt" in str(error.value)


@pytest.mark.parametrize(
    ("names", "splits", "says"),
    [
        ("[yes, no]", "train: images/train", "reads the name yes of class 0"),
        ("[a, a]", "train: images/train", "are both called 'a'"),
        (
            "[a]",
            "train: images/other",
            r"images/other, and there is no such folder or list.* contains data.yaml, images/",
        ),
        ("[a]", "train: /etc", "outside the dataset's folder"),
        ("[a]", "train: train.txt", r"train.txt, and there is no such folder or list"),
        ("[a]", "nothing: here", "declares no split"),
    ],
)
def test_a_data_yaml_that_cannot_be_followed(names: str, splits: str, says: str, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "set"
    images(root / "images" / "train", "a.png")
    with pytest.raises((DataError, MissingInputError), match=says):
        read_boxes(yolo(root, {"train/a.txt": "0 0.5 0.5 0.1 0.1"}, names, splits))


def broken(**changes: Any) -> dict[str, Any]:
    data = document({"a.png": [(3, [0, 0, 5, 5])]})
    for key, value in changes.items():
        table, _, column = key.partition("_")
        data[table][0][column] = value
    return data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (broken(annotations_bbox=[0, 0, -5, 5]), r"annotation id 100: `bbox` must be .* not \[0, 0, -5, 5\]"),
        (broken(annotations_bbox=[0, 0, 5]), "annotation id 100: `bbox`"),
        (broken(annotations_bbox=None), "annotation id 100: `bbox` must be .* not nothing"),
        (broken(annotations_bbox=[0, 0, float("inf"), 5]), "annotation id 100: `bbox`"),
        (broken(annotations_image_id=8), "annotation id 100: `image_id` 8 is not listed"),
        (broken(annotations_category_id=1), "annotation id 100: `category_id` 1 is not listed"),
        (broken(annotations_score=1.5), "annotation id 100: `score` must be a number from 0 to 1, not 1.5"),
        (broken(annotations_iscrowd=2), "annotation id 100: `iscrowd`"),
        (broken(images_id="x"), "annotation id 100: `image_id` 7 is not listed"),
        (broken(images_id=None), "the image at index 0 has no integer `id`"),
        (broken(images_width=0), "image id 7: `width` must be an integer"),
        (broken(categories_name=None), "`name` of category 3 must be text"),
        (broken(categories_name="bolt"), "share the name 'bolt'"),
        (broken(categories_id=90), "the category id 90 is used twice"),
        (document({"a/b.png": [], "a\\b.png": []}), "the image is listed twice"),
        ({"images": [], "annotations": []}, "`categories` is missing"),
        ([], "must be a JSON object"),
        ("{", "is not JSON"),
    ],
)
def test_a_coco_row_that_is_no_box_is_refused(data: Any, says: str, tmp_path: Path) -> None:
    file = written(tmp_path / "boxes.json", data)
    with pytest.raises(DataError, match=says) as error:
        read_boxes(file)
    assert str(file) in str(error.value)


def test_a_placeholder_category_is_no_class(tmp_path: Path) -> None:
    # Roboflow writes such a row first.
    data = document({"a.png": [(3, [0, 0, 5, 5])]})
    data["categories"] = [{"id": 0, "name": "parts"}, {"id": 3, "name": "nut", "supercategory": "parts"}]
    file = read_boxes(written(tmp_path / "boxes.json", data))
    assert (file.classes, file.rows[0].classes.tolist()) == (("nut",), [0])


def test_what_cannot_be_asked_is_refused_before_anything_is_written(
    tmp_path: Path, segmenter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "photos", "a.png")
    file = written(tmp_path / "boxes.json", document({"a.png": [(3, [0, 0, 5, 5])]}))
    for more in (["--tiles", "64"], ["--stability"]):
        assert labelled(tmp_path, segmenter, file, *more) == 2
        assert f"Leave out {more[0]}" in capsys.readouterr().err
    assert labelled(tmp_path, segmenter, file, "--class", "nutt") == 2
    assert "did you mean 'nut'" in capsys.readouterr().err
    assert labelled(tmp_path, segmenter, tmp_path / "no.json") == 3
    assert main(["label", str(tmp_path / "photos"), "--base", "boxes", "--output", str(tmp_path / "run"), "-q"]) == 2
    assert "--base-arg file=boxes.json" in capsys.readouterr().err
    args = ["label", str(tmp_path / "photos"), "--base", "boxes", "--base-arg", f"file={file}"]
    assert main([*args, "--output", str(tmp_path / "run"), "-q"]) == 2
    assert "gives boxes without masks" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_preview_matches_among_all_images(tmp_path: Path, segmenter: str, capsys: pytest.CaptureFixture[str]) -> None:
    # One row that two images could have is neither's, also where only one of them is looked at.
    images(tmp_path / "photos", "x/a.png", "y/a.png")
    file = written(tmp_path / "boxes.json", document({"a.png": [(3, [0, 0, 5, 5])]}))
    assert labelled(tmp_path, segmenter, file, "--preview", "1") == 1
    assert "fits 2 images" in capsys.readouterr().err


@pytest.mark.train
def test_a_gold_image_of_the_same_name_is_not_given_the_run_s_boxes(
    tmp_path: Path, segmenter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from helpers.square_photos import config_of, scenes
    from helpers.square_photos import written as pipeline_file

    run_images, gold = scenes(tmp_path / "run_images", 5), scenes(tmp_path / "gold", 2)
    for at in range(2):  # the same names, and other pixels
        pixels = np.asarray(Image.open(gold / "images" / f"{at}.png")).copy()
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(gold / "images" / f"{at}.png")
    base = {"name": "boxes", "args": {"file": str(run_images / "gold.json")}, "segmenter": segmenter}
    split = {"train": 0.6, "valid": 0.4, "test": 0}
    evaluation = {"gold": [str(gold / "gold.json")]}
    options = config_of(run_images, base=base, split=split, evaluation=evaluation, ontology={"Square": "square"})
    file = pipeline_file(tmp_path / "p.yaml", options)
    assert main(["run", str(file), "--output", str(tmp_path / "out"), "-q"]) == 0, capsys.readouterr().err
    assert "The base boxes is not scored: it has no boxes for 2 of 2 gold images" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "out" / "evaluation" / "metrics.json").read_text())
    assert metrics["base"] is None and metrics["target"]["images"] == 2


def test_in_python(tmp_path: Path, segmenter: str) -> None:
    images(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "photos" / "c.png").write_bytes((tmp_path / "photos" / "b.png").read_bytes())
    data = document({"a.png": [(3, [0, 0, 11, 10])], "b.png": [(90, [0, 0, 12, 10])], "c.png": []})
    file = written(tmp_path / "boxes.json", data)
    namespace: dict[str, Any] = {}
    exec(SEGMENTER, namespace)
    base = SegmentedBase(GivenBoxes({"nut": "nut", "bolt": "bolt"}, file), namespace["Filled"]())
    dataset = label(base, tmp_path / "photos", tmp_path / "run", split={"train": 1, "valid": 0, "test": 0})
    assert dataset.classes.names == ("bolt", "nut") or dataset.classes.names == ("nut", "bolt")
    assert {name: len(boxes) for name, boxes in kept(tmp_path / "run").items()} == {"a.png": 1, "b.png": 1, "c.png": 0}
    with pytest.raises(UsageError, match="Leave out"):
        label(base, tmp_path / "photos", tmp_path / "tiled", tiles=64)
    with pytest.raises(UsageError, match="needs the names of its images"):
        BaseAdapter(base, 2).ask(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UsageError, match="knows images by their names"):
        GivenBoxes({"nut": "nut"}, file).predict(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UnknownNameError, match="did you mean 'bolt'"):
        GivenBoxes({"bolts": "bolt"}, file)
    with pytest.raises(MissingInputError):
        GivenBoxes({"bolt": "bolt"}, tmp_path / "data.yaml")


def test_identity_and_classes_are_the_file_s(tmp_path: Path) -> None:
    one = written(tmp_path / "one" / "boxes.json", document({"a.png": [(3, [0, 0, 5, 5])]}))
    same = written(tmp_path / "same.json", document({"a.png": [(3, [0, 0, 5, 5])]}))
    entry = find_base("boxes")
    assert identity_of(entry, {"file": str(one)}) == identity_of(entry, {"file": str(same)})
    assert own_ontology(BaseConfig(name="boxes", args={"file": str(one)})) == {"nut": "nut", "bolt": "bolt"}
    images(tmp_path / "images" / "train", "a.png")
    file = yolo(tmp_path, {"train/a.txt": "0 .5 .5 .1 .1"})
    before = identity_of(entry, {"file": str(file)})
    written(tmp_path / "labels" / "train" / "a.txt", "0 .5 .5 .1 .2")
    assert identity_of(entry, {"file": str(file)}) != before
