"""coco: every form of mask in, every fault told, and files that other readers read right."""

from __future__ import annotations

import copy
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.coco import run_lengths
from autodistill_rfdetr_seg.coco import segmentation as segmentations
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError, MissingInputError
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, ImagePredictions, ImageRecord, Instance, Rle

HEIGHT, WIDTH = 12, 16
SQUARE = [2.0, 3.0, 8.0, 3.0, 8.0, 9.0, 2.0, 9.0]


def square_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[3:9, 2:8] = True
    return mask


def runs_of(mask: np.ndarray) -> list[int]:
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    row = {"id": number, "image_id": 7, "category_id": 90, "iscrowd": 0, "area": 36, "bbox": [2, 3, 6, 6]}
    return {**row, "segmentation": [list(SQUARE)], **changes}


def document(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "categories": [
            {"id": 90, "name": "zebra", "supercategory": "animal"},
            {"id": 0, "name": "animal", "supercategory": "none"},
            {"id": 1, "name": "unused", "supercategory": "none"},
        ],
        "images": [
            {"id": 7, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
            {"id": 3, "file_name": "sub/a.png", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": list(annotations) or [annotation(1)],
    }


def put(folder: Path, data: Any) -> Path:
    path = folder / coco.ANNOTATIONS
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def put_images(folder: Path) -> None:
    (folder / "sub").mkdir(exist_ok=True)
    for name in ("b.png", "sub/a.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)


def errors(problems: list[coco.Problem]) -> list[str]:
    return [problem.message for problem in problems if problem.severity == "error"]


# read


def test_every_form_of_mask_reads_as_the_same_pixels(tmp_path: Path) -> None:
    size = [HEIGHT, WIDTH]
    compressed = masks.encode(square_mask()).counts.decode()
    runs = runs_of(square_mask())
    split = [runs[0] - 2, 0, 2, *runs[1:]]  # legal: a run of zero pixels inside
    forms = [
        [list(SQUARE)],
        {"size": size, "counts": runs},
        {"size": size, "counts": compressed},
        {"size": size, "counts": split},
        [[2, 3, 5, 3, 5, 9, 2, 9], [5, 3, 8, 3, 8, 9, 5, 9]],
    ]
    rows = [annotation(number, segmentation=form) for number, form in enumerate(forms, start=1)]
    instances = coco.read(put(tmp_path, document(*rows)).parent).images[1].instances
    assert len(instances) == len(forms)
    for instance in instances:
        assert np.array_equal(masks.decode(instance.rle), square_mask())
    assert {instance.rle.counts for instance in instances} == {compressed.encode()}


def test_zero_runs_inside_do_not_upset_the_iou() -> None:
    full = segmentations.parse({"size": [4, 5], "counts": [0, 0, 0, 20]}, 4, 5)
    other = segmentations.parse({"size": [4, 5], "counts": [0, 10, 0, 0, 0, 10]}, 4, 5)
    assert masks.iou_matrix([full], [other])[0, 0] == 1.0


def test_classes_follow_category_ids_and_the_placeholder_is_dropped(tmp_path: Path) -> None:
    truth = coco.read(put(tmp_path, document()))
    assert truth.classes.names == ("unused", "zebra")
    assert [image.image_id for image in truth.images] == ["sub/a.png", "b.png"]
    assert truth.images[0].path == tmp_path / "sub" / "a.png"
    assert truth.images[0].instances == ()
    assert truth.images[1].instances[0].class_index == 1


def test_a_parent_that_is_used_and_a_class_called_none_stay(tmp_path: Path) -> None:
    data = document(annotation(1, category_id=0))
    data["categories"].append({"id": 4, "name": "none", "supercategory": "none"})
    assert coco.read(put(tmp_path, data)).classes.names == ("animal", "unused", "none", "zebra")


def test_area_box_and_crowd_are_kept_as_stated(tmp_path: Path) -> None:
    bare = {key: value for key, value in annotation(2).items() if key not in ("area", "bbox", "iscrowd")}
    rows = [annotation(1, area=40.5, bbox=[1.5, 2.5, 7, 7], iscrowd=1), bare, annotation(3, bbox=[2, 3, 8, 9])]
    first, second, third = coco.read(put(tmp_path, document(*rows))).images[1].instances
    assert (first.area, first.bbox_xywh, first.crowd) == (40.5, (1.5, 2.5, 7.0, 7.0), True)
    assert (second.area, second.bbox_xywh, second.crowd) == (None, None, False)
    # Corners in place of width and height are not the mask's box, which is computed instead.
    assert third.bbox_xywh is None


def test_the_fingerprint_names_the_content_alone(tmp_path: Path) -> None:
    data = document(annotation(1), annotation(2, image_id=3))
    first = coco.read(put(tmp_path, data)).fingerprint
    data["images"].reverse()
    data["info"] = {"description": "other"}
    assert coco.read(put(tmp_path, data)).fingerprint == first
    data["annotations"][1]["area"] = 37
    assert coco.read(put(tmp_path, data)).fingerprint != first


def test_a_missing_file_is_a_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"_annotations\.coco\.json"):
        coco.read(tmp_path)
    assert errors(coco.validate(tmp_path)) == [f"There is no COCO file in {tmp_path}, which contains nothing."]


@pytest.mark.parametrize(
    "name", ["../b.png", "sub/../../b.png", "/etc/b.png", "C:\\b.png", "a\\..\\..\\b.png", "", ".", "a\0.png", "\ud800"]
)
def test_a_file_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    data = document()
    data["images"][0]["file_name"] = name
    path = put(tmp_path, data)
    with pytest.raises(DataError) as error:
        coco.read(path)
    assert "image id 7" in str(error.value) and "file_name" in str(error.value) and str(path) in str(error.value)
    assert len(errors(coco.validate(path, check_images=False))) == 1


def crowded(count: object) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": count}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segmentation": [[1, 2, 3, 4]]}, "4 numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "7 numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "not finite"),
        ({"segmentation": [[1, 2, 3, 4, 5, 10**400]]}, "not finite"),
        ({"segmentation": [[1, 2, 3, 4, 5, 1e8]]}, "far outside"),
        ({"segmentation": [[1, 2, 3, 4, 5, "six"]]}, "not a number"),
        ({"segmentation": [SQUARE, 5]}, "list of polygons"),
        ({"segmentation": []}, "empty"),
        ({"segmentation": None}, "empty"),
        ({"segmentation": crowded([191.5, 0.5])}, "at least 0"),
        ({"segmentation": {"counts": [192]}}, "`size`"),
        ({"segmentation": {"counts": [192], "size": [WIDTH, HEIGHT]}}, "width before height; the format has [12, 16]"),
        ({"segmentation": crowded([100, 91])}, "add up to 191"),
        ({"segmentation": crowded([193, -1])}, "at least 0"),
        ({"segmentation": crowded("")}, "add up to 0"),
        ({"segmentation": crowded("PPP")}, "middle of a number"),
        ({"segmentation": crowded("o" * 40 + "0")}, "too large"),
        ({"segmentation": crowded("é")}, "no RLE has"),
        ({"segmentation": crowded("~")}, "no RLE has"),
        ({"segmentation": crowded(5)}, "text or a list"),
        ({"image_id": 4}, "`image_id` 4 is not listed"),
        ({"image_id": [7]}, "`image_id` must be an integer"),
        ({"category_id": 2}, "`category_id` 2 is not listed"),
        ({"category_id": True}, "`category_id` must be an integer"),
        ({"iscrowd": 2}, "`iscrowd`"),
    ],
)
def test_a_malformed_annotation_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = put(tmp_path, document(annotation(1), annotation(23, **changes)))
    with pytest.raises(DataError) as error:
        coco.read(path)
    assert said in str(error.value) and "annotation id 23" in str(error.value) and str(path) in str(error.value)
    problems = [problem for problem in coco.validate(path, check_images=False) if problem.severity == "error"]
    assert [(problem.annotation_id, said in problem.message) for problem in problems] == [(23, True)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object, not list"),
        ('{"images": [], "annotations": []}', "`categories` is missing"),
        ('{"categories": {}, "images": [], "annotations": []}', "`categories` must be a list"),
        ('{"categories": [], "images": [3], "annotations": []}', "`images[0]` must be an object"),
        ('{"categories": [{"id": 1}], "images": [], "annotations": []}', "`name`"),
        ('{"categories": [{"name": "a"}], "images": [], "annotations": []}', "no integer `id`"),
        ('{"categories": [{"id":1,"name":"a"},{"id":2,"name":"a"}],"images":[],"annotations":[]}', "share the name"),
        ("[" * 100_000, "too deep"),
        ("1" * 5000, "not JSON"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = put(tmp_path, text)
    with pytest.raises(DataError) as error:
        coco.read(path)
    assert said in str(error.value) and str(path) in str(error.value)
    assert said in " ".join(errors(coco.validate(path)))


def test_an_image_is_too_large_for_the_c_code(tmp_path: Path) -> None:
    data = document()
    data["images"][1]["height"] = 2**31
    with pytest.raises(DataError, match=r"image id 3: 'sub/a\.png' has a side of over 32768"):
        coco.read(put(tmp_path, data))


# align


def test_align_goes_by_name_whatever_its_case_and_space(tmp_path: Path) -> None:
    data = document(annotation(1), annotation(2, category_id=1))
    truth = coco.align(coco.read(put(tmp_path, data)), Classes(("cat", " ZEBRA  ", "dog")))
    assert truth.classes.names == ("cat", " ZEBRA  ", "dog")
    assert [[instance.class_index for instance in image.instances] for image in truth.images] == [[], [1]]


def test_align_refuses_classes_that_share_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\['unused', 'zebra'\].*\['cat'\].*Hint") as error:
        coco.align(coco.read(put(tmp_path, document())), Classes(("cat",)))
    assert error.value.hint


# write

RING = np.zeros((64, 48), dtype=bool)
RING[10:50, 5:40] = True
RING[20:40, 15:30] = False
PARTS = np.zeros((64, 48), dtype=bool)
PARTS[2:12, 2:12] = PARTS[30:60, 20:44] = True
BLOB = (np.mgrid[:64, :48][0] - 30) ** 2 / 400 + (np.mgrid[:64, :48][1] - 20) ** 2 / 200 < 1


def labels(*chosen: np.ndarray, name: str = "x.png") -> ImageLabels:
    found = tuple(Instance(i % 2, masks.encode(mask), 0.123456789) for i, mask in enumerate(chosen))
    return ImageLabels(ImageRecord("id", name, 64, 48, "0" * 64), found)


CLASSES = Classes(("ring", "none"))


def write_three(path: Path, **options: Any) -> dict[str, int]:
    for name in ("1.png", "2.png", "3.png"):
        Image.new("RGB", (48, 64)).save(path.parent / name)
    entries = [("1.png", labels(RING, PARTS, BLOB)), ("2.png", labels()), ("3.png", labels(BLOB))]
    return coco.write(path, iter(entries), CLASSES, {"description": "café"}, **options)


@pytest.mark.parametrize("form", ["rle", "polygon"])
def test_what_is_written_reads_back_everywhere(tmp_path: Path, form: str) -> None:
    import supervision as sv
    import torch
    from rfdetr.datasets.coco import CocoDetection

    path = tmp_path / coco.ANNOTATIONS
    assert write_three(path, segmentation=form) == {"images": 3, "instances": 4, "negatives": 1}
    assert coco.validate(tmp_path) == []
    expected = [RING, PARTS, BLOB]
    exact = 1.0 if form == "rle" else 0.97

    def close(found: np.ndarray, wanted: np.ndarray) -> bool:
        return bool((found & wanted).sum() / (found | wanted).sum() >= exact)

    ours = coco.read(tmp_path)
    assert ours.classes.names == CLASSES.names
    assert all(close(masks.decode(i.rle), mask) for i, mask in zip(ours.images[0].instances, expected, strict=True))
    theirs = COCO(str(path))
    assert all(close(theirs.annToMask(theirs.anns[i + 1]).astype(bool), mask) for i, mask in enumerate(expected))
    dataset = sv.DetectionDataset.from_coco(str(tmp_path), str(path), force_masks=True)
    seen = dataset.annotations[str(tmp_path / "1.png")]
    assert seen.class_id.tolist() == [0, 1, 0] and dataset.classes == list(CLASSES.names)
    assert np.array_equal(seen.mask[:2], np.stack(expected[:2]))  # holes and parts stay RLE in both forms
    trained = CocoDetection(tmp_path, path, None, include_masks=True, remap_category_ids=True)
    target = trained[0][1]
    assert target["labels"].tolist() == [0, 1, 0] and torch.equal(target["masks"][0], torch.from_numpy(RING))
    assert all(close(found.numpy(), mask) for found, mask in zip(target["masks"], expected, strict=True))
    assert len(trained) == 3 and trained[1][1]["labels"].tolist() == []


def test_ids_area_box_and_score_of_a_written_file(tmp_path: Path) -> None:
    path = tmp_path / coco.ANNOTATIONS
    write_three(path)
    data = json.loads(path.read_text(encoding="ascii"))
    assert [row["id"] for row in data["annotations"]] == [1, 2, 3, 4]
    assert [row["image_id"] for row in data["annotations"]] == [1, 1, 1, 3]
    assert [row["category_id"] for row in data["annotations"]] == [1, 2, 1, 1]
    assert [row["id"] for row in data["images"]] == [1, 2, 3] and [row["id"] for row in data["categories"]] == [1, 2]
    ring = data["annotations"][0]
    assert (ring["area"], ring["bbox"], ring["iscrowd"]) == (40 * 35 - 20 * 15, [5, 10, 35, 40], 0)
    assert (ring["score"], ring["source"]) == (0.123457, "base")
    assert data["info"] == {"description": "café"}
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".png"] == [coco.ANNOTATIONS]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_three(tmp_path / name / coco.ANNOTATIONS)
        contents.append((tmp_path / name / coco.ANNOTATIONS).read_bytes())
    assert contents[0] == contents[1]
    lines = contents[0].decode("ascii").splitlines()
    assert len(lines) == 4 + 3 + 3  # a row a line, and three lines around them
    rows = [json.loads(line.rstrip(",")) for line in lines if line.startswith('{"area"')]
    assert len(rows) == 4 and all(list(row) == sorted(row) for row in rows)


def test_a_polygon_is_written_only_where_it_gives_the_mask_back(shared_data: Path) -> None:
    truth = coco.read(shared_data / "coco_permissive" / "valid")
    polygons = 0
    for image in truth.images:
        for instance in image.instances:
            polygon = segmentations.to_polygon(instance.rle)
            if polygon is not None:
                polygons += 1
                drawn = coco_mask.frPyObjects(polygon, image.height, image.width)
                assert coco_mask.iou(drawn, [masks.to_coco(instance.rle)], [0])[0, 0] >= 0.95
    assert polygons > 250  # of 335, 42 in several parts
    assert segmentations.to_polygon(masks.encode(RING)) is None
    assert segmentations.to_polygon(masks.encode(PARTS)) is None
    assert segmentations.to_polygon(masks.encode(np.zeros((5, 5), dtype=bool))) is None


def test_an_instance_without_pixels_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    counts = coco.write(path, [("1.png", labels(np.zeros((64, 48), dtype=bool)))], CLASSES, {})
    assert counts == {"images": 1, "instances": 0, "negatives": 1}
    assert json.loads(path.read_text())["annotations"] == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (("../1.png", labels(BLOB)), "leaves"),
        (("0.png", labels(BLOB)), "is there twice"),
        (("1.png", labels(BLOB.T)), "64 x 48"),
        (("1.png", labels(BLOB, BLOB)), "no class 1"),
        (("1.png", ImageLabels(labels().image, (Instance(0, masks.encode(BLOB), float("nan")),))), "score"),
    ],
)
def test_write_refuses_and_leaves_nothing_behind(tmp_path: Path, entry: tuple[str, ImageLabels], said: str) -> None:
    path = tmp_path / coco.ANNOTATIONS
    path.write_text("old")
    with pytest.raises(DataError, match=said):
        coco.write(path, [("0.png", labels()), entry], Classes(("ring",)), {})
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_memory_does_not_grow_with_the_annotations(tmp_path: Path) -> None:
    one = labels(RING, PARTS, BLOB)
    many = ImageLabels(one.image, one.instances * 50)

    def peak(images: int) -> int:
        tracemalloc.start()
        coco.write(tmp_path / "a.json", ((f"{i}.png", many) for i in range(images)), CLASSES, {})
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    assert peak(80) - peak(8) < 200_000  # 10,800 annotations more, 2.5 MB of JSON


# validate


def test_validate_tells_every_problem_at_once(tmp_path: Path) -> None:
    put_images(tmp_path)
    rows = [
        annotation(0, iscrowd=1),
        annotation(3, category_id=5, image_id=99),
        annotation(4),
        annotation(4, image_id=3, category_id=5, segmentation=[[9.1, 9.1, 9.2, 9.1, 9.2, 9.2]]),
        annotation(5, image_id=3, segmentation=[[2, 3, 20, 3, 20, 9, 2, 9]], area=84, bbox=[2, 3, 14, 6]),
        annotation(6, image_id=3, segmentation=crowded("PPP"), area="x"),
        annotation(7, image_id=3, bbox=None),
        annotation(8, image_id=3, bbox=[2, 3, 12, 6], area=90),
    ]
    data = document(*rows)
    data["images"] += [
        {"id": 7, "file_name": "c.png", "height": 5, "width": 5},
        {"id": 8, "file_name": "./sub/a.png", "height": HEIGHT, "width": WIDTH},
        {"id": 9, "file_name": "gone.png", "height": HEIGHT},
        {"id": 10, "file_name": "gone.png", "height": HEIGHT, "width": WIDTH},
    ]
    data["categories"].append({"id": 2, "name": "Zebra"})
    path = put(tmp_path, data)
    found = [(p.severity, p.image_id, p.annotation_id, p.message) for p in coco.validate(path)]
    expected = [
        ("error", 7, None, "used twice"),
        ("warning", 9, None, "`width` is missing"),
        ("error", 9, None, "'gone.png' does not exist"),
        ("error", 10, None, "'gone.png' does not exist"),
        ("error", 8, None, "listed twice"),
        ("warning", None, 0, "id of 0"),
        ("warning", 7, 0, "its image, id 7, is left out"),
        ("error", 99, 3, "`image_id` 99"),
        ("warning", 7, 4, "its image, id 7, is left out"),
        ("warning", None, 4, "used twice"),
        ("error", 3, 4, "`category_id` 5"),
        ("warning", 3, 4, "no pixel"),
        ("warning", 3, 5, "outside"),
        ("error", 3, 6, "middle of a number"),
        ("warning", 3, 7, "`bbox` is missing"),
        ("warning", 3, 8, "`area` is 90, but the mask covers 36"),
        ("warning", 3, 8, "`bbox` is [2, 3, 12, 6], but the mask's box is [2, 3, 6, 6]"),
        ("warning", 3, 8, "the same category and mask"),
        ("warning", None, None, "'animal' only names"),
        ("warning", None, None, "'Zebra' and 'zebra'"),
    ]
    for (severity, image_id, annotation_id, message), wanted in zip(found, expected, strict=True):
        assert (severity, image_id, annotation_id) == wanted[:3] and wanted[3] in message
    assert (
        str(coco.validate(path)[7])
        == f"error: {path}, image id 99, annotation id 3: `image_id` 99 is not listed in the file"
    )


def test_validate_holds_the_stated_size_against_the_file(tmp_path: Path) -> None:
    put_images(tmp_path)
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "b.png")
    (tmp_path / "sub" / "a.png").write_bytes(b"no image")
    second, first = [p for p in coco.validate(put(tmp_path, document())) if p.severity == "error"]
    assert (first.image_id, "cannot be opened" in first.message) == (3, True)
    assert second.message == "the file says 16 x 12 pixels, but 'b.png' is 12 x 16"
    assert errors(coco.validate(tmp_path, check_images=False)) == []


@pytest.mark.parametrize("stored", [(WIDTH, HEIGHT), (HEIGHT, WIDTH)])
def test_validate_warns_of_a_rotated_photo(tmp_path: Path, stored: tuple[int, int]) -> None:
    data = document()
    data["images"] = [{"id": 7, "file_name": "r.jpg", "height": HEIGHT, "width": WIDTH}]
    image = Image.new("RGB", stored)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "r.jpg", exif=exif)
    found = [p for p in coco.validate(put(tmp_path, data)) if "EXIF" in p.message]
    assert [(p.severity, p.image_id) for p in found] == [("warning", 7)]
    assert errors(coco.validate(tmp_path)) == []


def test_real_sets_have_the_problems_they_are_known_for(shared_data: Path) -> None:
    assert coco.validate(shared_data / "fruits_nuts" / "train") == []
    for split, crowds in (("train", 6), ("valid", 7)):
        problems = coco.validate(shared_data / "coco_permissive" / split)
        assert [p.severity for p in problems] == ["warning"] * crowds and all("iscrowd" in p.message for p in problems)
    mushrooms = coco.validate(shared_data / "mushrooms" / "test")
    assert errors(mushrooms) == []
    assert sum("`area`" in p.message for p in mushrooms) > 500  # its area is its box's
    assert sum("supercategory" in p.message for p in mushrooms) == 1
    assert coco.read(shared_data / "mushrooms" / "test").classes.names == ("Mushroom",)


# results


def predictions() -> list[ImagePredictions]:
    found = (Instance(1, masks.encode(square_mask()), 0.75), Instance(0, masks.encode(~square_mask()), 0.25))
    return [ImagePredictions("b.png", found)]


def test_results_speak_the_files_own_ids(tmp_path: Path) -> None:
    path = put(tmp_path, document())
    results = tmp_path / "results.json"
    coco.write_results(results, predictions(), path)
    rows = json.loads(results.read_text())
    assert [(row["image_id"], row["category_id"], row["score"]) for row in rows] == [(7, 90, 0.75), (7, 1, 0.25)]
    assert set(rows[0]) == {"image_id", "category_id", "segmentation", "score"}
    loaded = COCO(str(path)).loadRes(str(results))
    assert loaded.anns[1]["area"] == 36
    back = coco.read_results(results, path)
    assert [entry.image_id for entry in back] == ["sub/a.png", "b.png"]
    assert back[0].instances == () and back[1].instances == predictions()[0].instances


def test_results_of_a_gold_set_have_the_ids_of_its_file(tmp_path: Path) -> None:
    truth = coco.read(put(tmp_path, document()))
    rows = coco.to_results(predictions(), truth)
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(7, 90), (7, 1)]
    dataset = coco.to_dataset(truth)
    assert [row["id"] for row in dataset["annotations"]] == [1] and dataset["annotations"][0]["image_id"] == 7
    assert [row["image_id"] for row in coco.to_results(predictions(), truth, "dense")] == [2, 2]
    coco.write_results(tmp_path / "results.json", predictions(), truth)
    assert coco.read_results(tmp_path / "results.json", truth)[1].instances == predictions()[0].instances


@pytest.mark.parametrize(
    "changes",
    [{"image_id": 5}, {"image_id": []}, {"category_id": 77}, {"score": None}, {"score": "high"}, {"segmentation": {}}],
)
def test_malformed_results_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = put(tmp_path, document())
    row = coco.to_results(predictions(), path)[0]
    (tmp_path / "results.json").write_text(json.dumps([row | changes]))
    with pytest.raises(DataError, match=r"results\.json.*result 0"):
        coco.read_results(tmp_path / "results.json", path)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match="list of results"):
        coco.read_results(tmp_path / "results.json", path)


def test_area_from_the_mask_or_from_the_file(tmp_path: Path) -> None:
    truth = coco.read(put(tmp_path, document(annotation(1, area=40))))
    assert coco.to_dataset(truth)["annotations"][0]["area"] == 40
    assert coco.to_dataset(truth, "mask")["annotations"][0]["area"] == 36


# fuzz


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=40) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=20).map(str.encode)
)
def test_run_lengths_decode_as_pycocotools_or_are_refused(counts: bytes) -> None:
    try:
        runs = run_lengths.runs_of_string(counts)
    except ValueError:
        return
    if len(runs) and runs.min() >= 0 and 0 < runs.sum() < 10**6:
        height = int(runs.sum())
        run_lengths.check(Rle(height, 1, counts))
        dense = coco_mask.decode({"size": [height, 1], "counts": counts})[:, 0]
        assert np.array_equal(dense, np.repeat(np.arange(len(runs)) % 2, runs))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_every_mask_comes_through_each_encoding(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(height, width)
    rle = masks.encode(mask)
    for counts in (runs_of(mask), rle.counts.decode()):
        assert segmentations.parse({"size": [height, width], "counts": counts}, height, width) == rle


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 100)
    | st.sampled_from([2**31, -(2**70), 10**400, 1e308, float("nan"), float("inf"), -0.5])
    | st.text(max_size=6)
)
JUNK = SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(st.text(max_size=4), SCALARS, max_size=3)
BASE = document(
    annotation(1),
    annotation(2, segmentation=crowded(runs_of(square_mask()))),
    annotation(3, segmentation=crowded(masks.encode(square_mask()).counts.decode()), iscrowd=1),
    annotation(4, image_id=3, segmentation=[list(SQUARE), list(SQUARE)]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [path, *(place for key in keys for place in places(value[key], (*path, key)))]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(places(BASE)), JUNK, st.booleans()), min_size=1, max_size=4))
def test_a_mutated_file_reads_or_is_a_data_error(
    tmp_path: Path, mutations: list[tuple[tuple[Any, ...], Any, bool]]
) -> None:
    data: Any = copy.deepcopy(BASE)
    for path, junk, remove in mutations:
        target = data
        try:
            for key in path[:-1]:
                target = target[key]
            if not path:
                data = junk
            elif remove:
                del target[path[-1]]
            else:
                target[path[-1]] = junk
        except (KeyError, IndexError, TypeError):
            continue
    try:
        source = put(tmp_path, json.dumps(data))
    except ValueError:  # json itself will not write an integer of 401 digits as text on some versions
        return
    problems = coco.validate(source)
    assert all(isinstance(str(problem), str) for problem in problems)
    refused = bool([p for p in errors(coco.validate(source, check_images=False)) if "but the mask's box" not in p])
    try:
        coco.read(source)
    except DataError:
        assert refused
    else:
        assert not refused


def test_any_mask_becomes_polygons_and_says_what_that_cost() -> None:
    pixel, line, bay = (np.zeros((HEIGHT, WIDTH), dtype=bool) for _ in range(3))
    pixel[4, 5] = True
    line[2, 1:14] = True
    bay[:6, 2:12] = True
    bay[0:4, 5:8] = False  # open to the border of the image: no hole
    filled = masks.fill_holes(RING, np.inf)
    for mask, expected, parts, exact in (
        (square_mask(), square_mask(), 1, True),
        (bay, bay, 1, True),
        (RING, filled, 1, False),
        (PARTS, PARTS, 2, False),
    ):
        polygons, is_exact = segmentations.to_polygons(masks.encode(mask))
        drawn = segmentations.parse(polygons, *mask.shape)
        assert (len(polygons), is_exact) == (parts, exact)
        assert masks.iou_matrix([drawn], [masks.encode(expected)])[0, 0] >= 0.95
    for mask in (pixel, line):
        polygons, _ = segmentations.to_polygons(masks.encode(mask))
        xs, ys = np.array(polygons[0]).reshape(-1, 2).T
        rows, columns = np.nonzero(mask)
        assert abs(xs.mean() - columns.mean() - 0.5) < 1 and abs(ys.mean() - rows.mean() - 0.5) < 1
    assert segmentations.to_polygons(masks.encode(np.zeros((5, 5), dtype=bool))) == ([], False)
