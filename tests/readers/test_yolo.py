"""YOLO-seg datasets: what `data.yaml` declares, label files, and 31 ways in which a set can be otherwise."""

from __future__ import annotations

import os
import random
import re
import struct
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg.coco.problems import Problem
from autodistill_rfdetr_seg.coco.segmentation import parse
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import AutodistillSegError, DataError, MissingInputError, TrainingError
from autodistill_rfdetr_seg.core.types import GroundTruth
from autodistill_rfdetr_seg.images.image_header import image_size
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.readers import read_source, repair
from autodistill_rfdetr_seg.readers.yolo import find_data_yaml, read_yolo
from autodistill_rfdetr_seg.targets.training.training_data import find_dataset

HEIGHT, WIDTH = 120, 160
COUNTS = {"train": 4, "valid": 2}
Truth = list[tuple[str, np.ndarray]]


# ------------------------------------------------------------------------------------------------ the known scene
def shapes(number: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Class, drawn mask (HW bool), and polygon in pixels, of each object of one image."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    found = []
    for left, top, width, height in ((8 + number, 10, 50, 30), (20, 70 - number, 60, 40)):
        inside = (xs > left) & (xs < left + width) & (ys > top) & (ys < top + height)
        corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
        found.append(("red", inside, np.array(corners, dtype=float)))
    centre, radius = np.array([120.0, 60.0 + number]), 28.0
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    outline = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found.append(("green", (xs - centre[0]) ** 2 + (ys - centre[1]) ** 2 < radius**2, outline))
    return found


def picture(number: int) -> np.ndarray:
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for name, inside, _ in shapes(number):
        pixels[inside] = (200, 30, 30) if name == "red" else (30, 180, 30)
    return pixels


def row(number: int, points: np.ndarray) -> str:
    return f"{number} " + " ".join(f"{value:.6f}" for value in (points / (WIDTH, HEIGHT)).ravel())


def rows(number: int) -> list[str]:
    return [row(("red", "green").index(name), points) for name, _, points in shapes(number)]


def scene(root: Path) -> Path:
    for split, count in COUNTS.items():
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(picture(number)).save(root / split / "images" / f"im{number:02}.png")
            (root / split / "labels" / f"im{number:02}.txt").write_text("\n".join(rows(number)) + "\n")
    (root / "data.yaml").write_text("train: train/images\nval: valid/images\nnc: 2\nnames: [red, green]\n")
    return root


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    return scene(tmp_path / "set")


def read(root: Path) -> tuple[dict[str, GroundTruth], list[Problem]]:
    problems: list[Problem] = []
    return read_yolo(root if root.is_file() else root / "data.yaml", problems.append, progress=False), problems


def kinds(problems: list[Problem]) -> Counter[str]:
    return Counter(f"{one.severity}: {one.kind.name}" for one in problems)


def the(problems: list[Problem], name: str) -> Problem:
    return next(one for one in problems if one.kind.name == name)


def number_of(image_id: str) -> int:
    found = re.search(r"(\d\d)\.\w+$", image_id)
    assert found
    return int(found[1])


def assert_is_the_scene(splits: dict[str, GroundTruth], counts: dict[str, int] = COUNTS) -> None:
    assert {split: len(truth.images) for split, truth in splits.items()} == counts
    for truth in splits.values():
        for image in truth.images:
            assert (image.height, image.width) == (HEIGHT, WIDTH) == open_rgb(image.path).shape[:2]
            assert_has(image.instances, truth.classes.names, shapes(number_of(image.image_id)))


def assert_has(instances: tuple, names: tuple[str, ...], expected: list) -> None:
    assert [names[one.class_index] for one in instances] == [name for name, _, _ in expected]
    for one, (_, inside, _) in zip(instances, expected, strict=True):
        assert masks.iou_matrix([one.rle], [masks.encode(inside)])[0, 0] >= 0.98
        assert one.polygons


# ------------------------------------------------------------------------------------------------ the 31 changes
def each_row(change: Callable[[str], str], which: slice = slice(None)) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        for label in sorted(root.rglob("labels/*.txt")):
            lines = label.read_text().splitlines()
            lines[which] = map(change, lines[which])
            label.write_text("\n".join(lines) + "\n")

    return apply


def each_file(change: Callable[[str], str | bytes]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        for label in sorted(root.rglob("labels/*.txt")):
            data = change(label.read_text())
            label.write_bytes(data if isinstance(data, bytes) else data.encode())

    return apply


def in_yaml(old: str, new: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        text = (root / "data.yaml").read_text()
        assert old in text
        (root / "data.yaml").write_text(text.replace(old, new))

    return apply


def class_as(write: Callable[[str], str]) -> Callable[[Path], None]:
    return each_row(lambda line: " ".join([write(line.split()[0]), *line.split()[1:]]))


def first_numbers(count: int) -> Callable[[Path], None]:
    """The third row of each file with so many numbers, the class among them."""
    return each_row(lambda line: " ".join(line.split()[:count]), slice(2, 3))


def to_pixels(line: str) -> str:
    fields = line.split()
    points = np.array(fields[1:], dtype=float).reshape(-1, 2) * (WIDTH, HEIGHT)
    return " ".join([fields[0], *(f"{value:g}" for value in points.ravel())])


def to_line(line: str) -> str:
    fields = line.split()
    points = np.array(fields[1:], dtype=float).reshape(-1, 2)
    points[:, 1] = points[0, 1]
    return " ".join([fields[0], *(f"{value:.6f}" for value in points.ravel())])


def to_pose(line: str) -> str:
    """A box and five keypoints within it, without visibility."""
    fields = line.split()
    points = np.array(fields[1:], dtype=float).reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    centre, size = (low + high) / 2, high - low
    keypoints = centre + size * [[-0.2, -0.3], [0.2, -0.3], [0.0, 0.0], [-0.2, 0.3], [0.2, 0.3]]
    return " ".join([fields[0], *(f"{value:.6f}" for value in (*centre, *size, *keypoints.ravel()))])


def apple_double(root: Path) -> None:
    (root / "train" / "images" / "._im00.png").write_bytes(b"\0\5\x16\7" + bytes(90))
    (root / "train" / "labels" / "._im00.txt").write_bytes(b"\0\5\x16\7" + bytes(90))


def cache_file(root: Path) -> None:
    (root / "train" / "labels.cache").write_bytes(b"\x80\4.")
    (root / "train" / "labels" / "train.cache").write_bytes(b"\x80\4.")


def sub_folders(root: Path) -> None:
    for split, count in COUNTS.items():
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            for number in range(count):
                old = root / split / kind / f"im{number:02}.{suffix}"
                new = old.parent / "ab"[number % 2] / old.name
                new.parent.mkdir(exist_ok=True)
                old.rename(new)


def labels_beside(root: Path) -> None:
    for split in COUNTS:
        for kind in ("images", "labels"):
            for file in (root / split / kind).iterdir():
                file.rename(root / split / file.name)
            (root / split / kind).rmdir()
    in_yaml("/images", "")(root)


def tiny_exif(root: Path) -> None:
    """Stored turned by a quarter; the labels are of the upright picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in sorted(root.rglob("*.png")):
        stored = np.rot90(open_rgb(file))
        Image.fromarray(np.ascontiguousarray(stored)).save(file.with_suffix(".jpg"), exif=exif, quality=95)
        file.unlink()


def gif(root: Path) -> None:
    for file in sorted(root.rglob("*.png")):
        Image.fromarray(open_rgb(file)).save(file.with_suffix(".gif"))
        file.unlink()


def orphan_labels(root: Path) -> None:
    (root / "train" / "labels" / "gone.txt").write_text(rows(0)[0])


def upper_txt(root: Path) -> None:
    for label in sorted(root.rglob("labels/*.txt")):
        label.rename(label.with_suffix(".TXT"))


@dataclass(frozen=True)
class Case:
    """A change, and what comes of it: the very scene, or `error` (a kind, or a part of what is raised), with its first
    line; `warnings` are told in either case. `left_out` names the rows of each file that are no masks."""

    change: Callable[[Path], None]
    warnings: tuple[str, ...] = ()
    error: str = ""
    line: int | None = None
    raised: str = ""
    left_out: tuple[int, ...] = ()


UNKNOWN = "class number is not in `names`"
CASES = {
    "conf-at-end": Case(each_row(lambda line: f"{line} 0.875000"), error="row may end in a confidence", line=1),
    "comma": Case(each_row(lambda line: line.replace(" ", ",")), ("commas separate the numbers",)),
    "tab-crlf": Case(each_file(lambda text: text.replace(" ", "\t").replace("\n", "\r\n"))),
    "blank-lines": Case(each_file(lambda text: "\n \n" + text.replace("\n", "\n\n\t\n"))),
    "class-minus1": Case(class_as(lambda _: "-1"), error=UNKNOWN, line=1),
    "class-1.5": Case(class_as(lambda _: "1.5"), error="class is not a whole number", line=1),
    "class-sci": Case(class_as(lambda field: f"{float(field):.18e}"), ("class is written as a decimal",)),
    "class-plus": Case(class_as(lambda field: f"+{field}")),
    "two-points": Case(first_numbers(5), ("row is a box",), left_out=(2,)),
    "three-values": Case(first_numbers(4), error="row is no polygon", line=3),
    "six-values": Case(first_numbers(6), error="row is no polygon", line=3),
    "pixels": Case(each_row(to_pixels), error="coordinates look like pixels", line=1),
    "nan": Case(each_row(lambda line: line.replace(line.split()[2], "nan", 1)), error="row is not numbers", line=1),
    "line-degenerate": Case(each_row(to_line), error="polygon is a line", line=1),
    "pose-2d": Case(each_row(to_pose), error="rows look like poses", line=1),
    "names-str-keys": Case(in_yaml("[red, green]", "{'0': red, '1': green}")),
    "names-gap": Case(in_yaml("nc: 2\nnames: [red, green]", "names: {0: red, 1: green, 5: blue}")),
    "names-one-short": Case(in_yaml("nc: 2\nnames: [red, green]", "names: [red]"), (), UNKNOWN, 3),
    "nc-wrong": Case(in_yaml("nc: 2", "nc: 7"), ("`nc` is not the number of names",)),
    "names-dup": Case(in_yaml("[red, green]", "[red, red]"), raised="classes 0 and 1 are both called 'red'"),
    "names-text": Case(in_yaml("[red, green]", "red, green"), raised="`names` is 'red, green', and not a list"),
    "names-dict-value": Case(in_yaml("[red, green]", "[{name: red}, {name: green}]"), raised="the name of class 0"),
    "apple-double": Case(apple_double),
    "cache-file": Case(cache_file),
    "sub-folders": Case(sub_folders),
    "labels-beside": Case(labels_beside),
    "tiny-exif": Case(tiny_exif),
    "gif": Case(gif),
    "orphan-labels": Case(orphan_labels, ("label file has no image",)),
    "upper-TXT": Case(upper_txt),
    "utf16": Case(each_file(lambda text: text.encode("utf-16"))),
}  # fmt: skip


def test_the_scene_itself(yolo: Path) -> None:
    splits, problems = read(yolo)
    assert_is_the_scene(splits)
    assert problems == []
    truth = splits["train"]
    assert truth.classes.names == ("red", "green") and truth.category_ids == (0, 1)
    assert [image.image_id for image in truth.images] == [f"train/images/im{n:02}.png" for n in range(4)]
    assert truth.images[0].file_id is None and truth.images[0].path == yolo / "train/images/im00.png"
    assert len(CASES) == 31


@pytest.mark.parametrize("name", CASES)
def test_a_changed_set_is_the_scene_or_refused_with_its_place(yolo: Path, name: str) -> None:
    case = CASES[name]
    case.change(yolo)
    if case.raised:
        with pytest.raises(DataError, match=re.escape(case.raised)) as caught:
            read(yolo)
        assert str(yolo / "data.yaml") in caught.value.message and caught.value.hint
        return
    splits, problems = read(yolo)
    assert {one.kind.name for one in problems if one.severity == "warning"} == set(case.warnings)
    errors = [one for one in problems if one.severity == "error"]
    assert {one.kind.name for one in errors} == ({case.error} if case.error else set())
    for one in problems:
        assert one.file.is_file() and one.kind.treatment and one.kind.hint
    if case.error:
        assert errors[0].file == yolo / "train" / "labels" / "im00.txt" and errors[0].line == case.line
    elif case.left_out:
        for truth in splits.values():
            for image in truth.images:
                drawn = shapes(number_of(image.image_id))
                kept = [shape for at, shape in enumerate(drawn) if at not in case.left_out]
                assert_has(image.instances, truth.classes.names, kept)
        assert [one.line for one in problems] == [3] * sum(COUNTS.values())
    else:
        assert_is_the_scene(splits)


# ------------------------------------------------------------------------------------------------ what is declared
def declare(root: Path, text: str, names: str = "names: [red, green]\n") -> Path:
    (root / "data.yaml").write_text(text + names)
    return root


TRAIN, VALID = "train: train/images\n", "val: valid/images\n"


@pytest.mark.parametrize(
    "text",
    [
        "train: train\nval: valid/\n",
        "train: [train/images]\nval:\n- valid/images\n",
        "path: .\ntrain: ./train/images\nvalid: valid/images\n",
        "train: train/images\nval: valid/images\nvalid: valid/images\n",
        "train: ../train/images\nval: ../valid/images\n",
        "train: train\\images\nval: .\\valid\\images\n",
        "path: {root}\ntrain: train/images\nval: {root}/valid/images/\n",
        "path: train\ntrain: images\nval: ../valid/images\n",
        "train: train.txt\nval: [valid/images]\n",
        "train: lists/half.txt\nval: valid/images\n",
        "train: [train/images/im00.txt, rest.txt]\nval: valid/images\n",
        "train: 2017\nval: valid/images\n",
    ],
)
def test_a_split_is_a_folder_a_list_of_images_or_a_list_of_these(yolo: Path, text: str) -> None:
    names = [f"train/images/im{number:02}.png" for number in range(4)]
    (yolo / "train.txt").write_bytes("\ufeff".encode() + "".join(f"./{name}\r\n" for name in names).encode() + b"\r\n")
    (yolo / "lists").mkdir()
    (yolo / "lists" / "half.txt").write_text("\n".join([*names[:2], *(f"../{name}" for name in names[2:])]))
    (yolo / "train" / "images" / "im00.txt").write_text(f"./im00.png\n{yolo / names[1]}\n")
    (yolo / "rest.txt").write_text("\n".join(name.replace("/", "\\") for name in names[2:]))
    if "2017" in text:
        (yolo / "train").rename(yolo / "2017")
    splits, problems = read(declare(yolo, text.format(root=yolo)))
    assert_is_the_scene(splits)
    assert problems == []


@pytest.mark.parametrize("path", ["set", "../datasets/set"])
def test_path_may_count_from_the_datasets_folder(yolo: Path, path: str) -> None:
    splits, problems = read(declare(yolo, f"path: {path}\n" + TRAIN + VALID))
    assert_is_the_scene(splits)
    assert kinds(problems) == {"warning: `path` counts from a datasets folder": 1}


def test_a_list_means_the_images_that_it_names_and_no_others(yolo: Path) -> None:
    (yolo / "two.txt").write_text("./train/images/im03.png\n./train/images/im01.png\n./train/images/im03.png\n")
    splits, problems = read(declare(yolo, "train: two.txt\n" + VALID))
    assert [image.image_id for image in splits["train"].images] == ["train/images/im03.png", "train/images/im01.png"]
    assert_is_the_scene(splits, {"train": 2, "valid": 2})
    assert [(one.kind.name, one.file.name, one.line) for one in problems] == [
        ("image is listed twice in a split", "two.txt", 3)
    ]


def test_a_line_of_a_list_that_leads_nowhere_is_told_with_its_place(yolo: Path, tmp_path: Path) -> None:
    (yolo / "sub").mkdir()
    other = tmp_path / "other.png"
    for file in (yolo / "sub" / "a.png", yolo / "a.png", other):
        Image.fromarray(picture(0)).save(file)
    lines = ["gone.png", "a.png", str(other), "../../other.png", "../data.yaml", "./a.png", "../train/images/IM00.png"]
    (yolo / "sub" / "list.txt").write_text("\n".join(lines))
    splits, problems = read(declare(yolo, "train: sub/list.txt\n" + VALID))
    assert [image.image_id for image in splits["train"].images] == ["sub/a.png", "train/images/im00.png"]
    listed = [(one.line, one.kind.name) for one in problems if one.file.name == "list.txt"]
    assert listed == [
        (1, "listed image does not exist"),
        (2, "listed image could be two files"),
        (3, "leads out of the dataset's folder"),
        (4, "leads out of the dataset's folder"),
        (5, "listed file is no image"),
        (7, "name is spelled differently on disk"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: train/images\nval: validation/images\n", "set/validation/images, and there is no such"),
        ("train: [train/images, more]\nval: valid/images\n", "set/more, and there is no such"),
        ("train: train.txt\nval: valid/images\n", "set/train.txt, and there is no such"),
        ("path: C:/Users/me/set\ntrain: train/images\nval: valid/images\n", "names C:/Users/me/set, and"),
        ("path: /content/data\ntrain: train/images\nval: valid/images\n", "names /content/data, and"),
        ("train: /gone/train/images\nval: valid/images\n", "/gone/train/images, and there is no such"),
        ('train: "a\\0b"\nval: valid/images\n', "a\\0b, and there is no such"),
    ],
)
def test_what_is_declared_and_not_there_is_named_beside_what_is(yolo: Path, text: str, words: str) -> None:
    with pytest.raises(MissingInputError, match=r"contains data\.yaml, train/, valid/") as caught:
        read(declare(yolo, text))
    assert words in caught.value.message and str(yolo / "data.yaml") in caught.value.message


def test_a_test_split_that_is_not_there_is_told(yolo: Path) -> None:
    splits, problems = read(declare(yolo, TRAIN + VALID + "test: ../test/images\n"))
    assert_is_the_scene(splits)
    assert kinds(problems) == {"warning: test split does not exist": 1} and "test/images" in problems[0].message
    (yolo / "valid").rename(yolo / "test")
    splits, problems = read(declare(yolo, TRAIN + "test: ../test/images\n"))
    assert_is_the_scene(splits, {"train": 4, "test": 2})
    assert problems == []


@pytest.mark.parametrize("stated", ["../other/images", "{other}/images", "linked"])
def test_no_split_leads_out_of_the_folder(yolo: Path, tmp_path: Path, stated: str) -> None:
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    (yolo / "linked").symlink_to(other / "images")
    with pytest.raises(DataError, match="outside the dataset's folder"):
        read(declare(yolo, f"train: {stated.format(other=other)}\n" + VALID))
    (tmp_path / "train" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="outside") as caught:
        read(declare(yolo, "train: ../train/images\n" + VALID))
    assert "write `train/images` if that is meant" in str(caught.value)


def test_links_out_of_the_folder_are_left_out_and_links_within_are_followed(yolo: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.fromarray(picture(0)).save(outside / "im00.png")
    (outside / "im01.txt").write_text(rows(1)[0])
    images, labels = yolo / "train" / "images", yolo / "train" / "labels"
    (images / "im00.png").unlink()
    (images / "im00.png").symlink_to(outside / "im00.png")
    (labels / "im01.txt").unlink()
    (labels / "im01.txt").symlink_to(outside / "im01.txt")
    (images / "sub").symlink_to(outside)
    (images / "im02.png").rename(yolo / "kept.png")
    (images / "im02.png").symlink_to(yolo / "kept.png")
    splits, problems = read(yolo)
    assert_is_the_scene(splits, {"train": 2, "valid": 2})
    assert kinds(problems) == {"error: leads out of the dataset's folder": 3}


def test_without_a_declaration_the_usual_folders_are_read(yolo: Path) -> None:
    splits, problems = read(declare(yolo, ""))
    assert_is_the_scene(splits)
    assert kinds(problems) == {"warning: no split is declared": 1}
    (yolo / "val" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="there are valid/images and val/images"):
        read(yolo)


def test_the_folder_may_be_a_link_or_the_current_one(
    yolo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(yolo, f"path: .\ntrain: {yolo}/train/images\nval: ../set/valid/images\n")
    monkeypatch.chdir(yolo)
    splits, problems = read(Path("data.yaml"))
    assert_is_the_scene(splits)
    assert [image.image_id for image in splits["valid"].images] == ["valid/images/im00.png", "valid/images/im01.png"]
    (tmp_path / "elsewhere").symlink_to(yolo)
    splits, more = read(tmp_path / "elsewhere")
    assert_is_the_scene(splits)
    assert splits["train"].images[0].path == tmp_path / "elsewhere" / "train" / "images" / "im00.png"
    assert problems == more == []


def test_an_image_in_two_splits_is_told(yolo: Path) -> None:
    found = read_source(declare(yolo, "train: train/images\nval: train/images\n"))
    assert len(found.splits["valid"].images) == 4
    assert kinds(list(found.problems)) == {"warning: image is in two splits": 4}
    assert all("is in the train split too" in one.message and one.split == "valid" for one in found.problems)


def test_letter_case_and_unicode_form_count_for_nothing_where_one_fits(yolo: Path) -> None:
    name = "caf\u00e9 00"
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        stem = unicodedata.normalize("NFD", name) if kind == "labels" else name
        (yolo / "train" / kind / f"im00.{suffix}").rename(yolo / "train" / kind / f"{stem}.{suffix}")
        (yolo / "train" / kind).rename(yolo / "train" / kind.capitalize())
    splits, problems = read(yolo)
    assert_is_the_scene(splits)
    assert kinds(problems) == {"warning: name is spelled differently on disk": 2}
    assert [one.file.name for one in problems] == ["data.yaml", unicodedata.normalize("NFD", f"{name}.txt")]
    (yolo / "train" / "IMAGES").mkdir()
    with pytest.raises(DataError, match="'IMAGES' and 'Images'"):
        read(yolo)


# ------------------------------------------------------------------------------------------------ classes
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("['yes', \"no\", '0123', 'null']", ("yes", "no", "0123", "null")),
        ("[7, 1.5, -3, 1e3, y]", ("7", "1.5", "-3", "1e3", "y")),
        ("{3: c, 1: a}", ("a", "c")),
        ("\n- a b\n- \u732b", ("a b", "\u732b")),
    ],
)
def test_names_are_text_or_numbers_that_are_written_the_same(yolo: Path, names: str, expected: tuple) -> None:
    (yolo / "data.yaml").write_text(TRAIN + VALID + f"names: {names}\n", encoding="utf-16")
    splits, _ = read(yolo)
    assert splits["train"].classes.names == expected


@pytest.mark.parametrize(
    "name", ["yes", "Off", "0123", "1_000", "0x1F", "1.50", "null", "~", "2020-01-01", "1:30", ".inf"]
)
def test_a_name_that_yaml_reads_as_something_else_is_refused_with_the_choice(yolo: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"line 3: YAML reads the name {re.escape(name)} of class 1 as ") as caught:
        read(declare(yolo, TRAIN + VALID, f"names: [a, {name}]\n"))
    assert caught.value.hint and f"Write '{name}' in quotes" in caught.value.hint


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("names: []", "the list is empty"),
        ("names: red", "`names` is 'red', and not a list"),
        ("names: {red: 0}", "the class 'red' in `names` is not a number"),
        ("names: {-1: red}", "the class '-1' in `names` is not a number"),
        ("names: {010: red}", "the class '010' in `names` is not a number"),
        ("names: {0: red, '0': green}", "class number 0 is used twice"),
        ("names: [[red]]", "the name of class 0 is not text"),
        ("names: ['']", "the name of class 0 is empty"),
        ("nc: 2", "has `nc` and no `names`"),
        ("x: 1", "has no `names` of classes"),
        ("names: [a]\nnames: [b]", "`names` is given twice"),
        ("names: [a]\nval: other", "`val` is given twice"),
        ("names: [a]\nvalid: other", "declares one split twice: `val: valid/images` and `valid: other`"),
        ("names: [a]\ntest: {a: b}", "`test` must be a path or a list of paths"),
        ("names: [a]\nkpt_shape: 17", "`kpt_shape` must be"),
        ("names: [a", "is not YAML"),
        ("names: !!python/object/apply:os.system ['true']", "has no `names`|is not|class 0"),
        ("names: " + "[" * 3000, "is not YAML"),
    ],
)
def test_a_data_yaml_that_cannot_be_told_is_refused(yolo: Path, names: str, words: str) -> None:
    if "os.system" in names:
        splits, _ = read(declare(yolo, TRAIN + VALID, names))
        assert splits["train"].classes.names == ("true",)  # text: nothing was run
        return
    with pytest.raises(DataError, match=re.escape(words)):
        read(declare(yolo, TRAIN + VALID, names))


def test_a_document_without_fields_or_file_is_refused(yolo: Path) -> None:
    for text in ("", "- a\n", "a: b\n--- \nc: d\n"):
        with pytest.raises(DataError):
            read(declare(yolo, "", text))
    with pytest.raises(MissingInputError, match="no file"):
        read(yolo / "nowhere.yaml")
    with pytest.raises(DataError, match="declares no split"):
        (yolo / "inner").mkdir()
        read(declare(yolo / "inner", ""))


def test_names_alike_but_for_case_are_told(yolo: Path) -> None:
    splits, problems = read(declare(yolo, TRAIN + VALID, "names: [red, ' Red']\n"))
    assert splits["train"].classes.names == ("red", " Red")
    assert kinds(problems) == {"warning: class names differ only in case or spaces": 1}


def test_find_data_yaml(yolo: Path, tmp_path: Path) -> None:
    assert find_data_yaml(yolo) == yolo / "data.yaml" == find_data_yaml(yolo / "data.yaml")
    assert find_data_yaml(yolo / "train" / "images" / "im00.png") is None is find_data_yaml(tmp_path / "gone")
    (yolo / "data.yaml").rename(yolo / "coco8-seg.yaml")
    (yolo / "pipeline.yaml").write_text("ontology: {a: b}\n")
    (yolo / "broken.yaml").write_text("names: [")
    assert find_data_yaml(yolo) == yolo / "coco8-seg.yaml"
    (yolo / "other.yml").write_text("names: [a]\n")
    assert find_data_yaml(yolo) is None
    (yolo / "dataset.yaml").write_text("names: [a]\n")
    assert find_data_yaml(yolo) == yolo / "dataset.yaml"


# ------------------------------------------------------------------------------------------------ rows
COMMAS = "commas separate the numbers"
TRIANGLE = "0.1 0.1 0.6 0.1 0.6 0.8"
ALL_BUT_ONE = "0.1 0.1 0.6 0.1 0.6"


@pytest.mark.parametrize(
    ("text", "found", "told"),
    [
        (f"0 {TRIANGLE}", 1, {}),
        (f"\ufeff1\u00a0{TRIANGLE}\u3000", 1, {}),
        (f"-0 {TRIANGLE}", 1, {}),
        (f"1.0 {TRIANGLE}", 1, {"class is written as a decimal": 1}),
        (f"0, {TRIANGLE.replace(' ', ', ')}", 1, {COMMAS: 1}),
        ("0 0.1,0.1 0.6,0.1 0.6,0.8", 1, {COMMAS: 1}),
        (f"0 {TRIANGLE.replace('.', ',')}", 1, {"numbers have decimal commas": 1}),
        ("0 0,0 1,0 1,1", 1, {COMMAS: 1}),
        ("0,0.1,,0.1,0.6,0.1,0.6,0.8", 0, {"row is not numbers": 1}),
        ("0,16,12,96,12,96,96", 0, {COMMAS: 1, "coordinates look like pixels": 1}),
        (f"red {TRIANGLE}", 0, {"class is not a whole number": 1}),
        (f"2 {TRIANGLE}", 0, {"class number is not in `names`": 1}),
        (f"1e400 {TRIANGLE}", 0, {"class is not a whole number": 1}),
        (f"{'9' * 400} {TRIANGLE}", 0, {"class is not a whole number": 1}),
        (f"0 {TRIANGLE.replace('0.8', 'inf')}", 0, {"row is not numbers": 1}),
        (f"0 {TRIANGLE.replace('0.8', '0_8')}", 0, {"row is not numbers": 1}),
        (f"0 {TRIANGLE[:-3]}\u0660.8", 0, {"row is not numbers": 1}),
        (f"0 {TRIANGLE} # a comment", 0, {"row is not numbers": 1}),
        ("0 0.5 0.5 0.2 0.2", 0, {"row is a box": 1}),
        ("0 0.5 0.5 0.2 0.2 0.9", 0, {"row is a box": 1}),
        (f"0 {ALL_BUT_ONE}", 0, {"row is no polygon": 1}),
        ("0", 0, {"row is no polygon": 1}),
        (f"0 {TRIANGLE} 0.9", 0, {"row may end in a confidence": 1}),
        (f"0 {TRIANGLE} 19", 0, {"row is no polygon": 1}),
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 1 0 0 0", 0, {"row is a pose": 1}),
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 1", 0, {"row is a pose": 1}),
        ("0 0 0 0 1 0.5 1 1 1 1 0", 1, {}),
        (f"0 {TRIANGLE.replace('0.8', '1.009')}", 1, {"coordinates are just outside the image": 1}),
        (f"0 {TRIANGLE.replace('0.8', '1.0000001')}", 1, {}),
        (f"0 {TRIANGLE.replace('0.8', '1.2')}", 0, {"polygon extends beyond the image": 1}),
        (f"0 {TRIANGLE.replace('0.8', '-0.2')}", 0, {"polygon extends beyond the image": 1}),
        (f"0 {TRIANGLE.replace('0.8', '80')}", 0, {"coordinates look like pixels": 1}),
        ("0 0.1 0.1 0.5 0.5 0.9 0.9", 0, {"polygon is a line": 1}),
        ("0 0.1 0.1 0.1 0.1 0.1 0.1", 0, {"mask covers no pixel": 1}),
        (f"0 {TRIANGLE}\n0  {TRIANGLE}0\n1 {TRIANGLE}", 2, {"row is repeated": 1}),
    ],
)  # fmt: skip
def test_a_row_is_a_polygon_or_told(yolo: Path, text: str, found: int, told: dict[str, int]) -> None:
    (yolo / "train" / "labels" / "im00.txt").write_text(text, encoding="utf-8")
    splits, problems = read(yolo)
    instances = splits["train"].images[0].instances
    assert len(instances) == found
    assert Counter(one.kind.name for one in problems) == told
    assert all(one.line == text[: text.find("0  ")].count("\n") + 1 for one in problems)
    if found and not told.keys() - {"class is written as a decimal", "numbers have decimal commas"} and "8" in text:
        assert instances[0].rle == parse([[16, 12, 96, 12, 96, 96]], HEIGHT, WIDTH)


def test_a_point_that_is_just_outside_moves_to_the_edge(yolo: Path) -> None:
    label = yolo / "train" / "labels" / "im00.txt"
    label.write_text("0 -0.008 -0.005 1.01 -0.005 1.01 1.01 -0.008 1.01\n")
    splits, problems = read(yolo)
    assert masks.area(splits["train"].images[0].instances[0].rle) == HEIGHT * WIDTH
    assert kinds(problems) == {"warning: coordinates are just outside the image": 1}


def test_two_halves_that_share_a_box_are_two_instances(yolo: Path) -> None:
    halves = "0 0.2 0.2 0.8 0.2 0.8 0.8\n0 0.2 0.2 0.8 0.8 0.2 0.8\n"
    (yolo / "train" / "labels" / "im00.txt").write_text(halves)
    splits, problems = read(yolo)
    one, two = (instance.rle for instance in splits["train"].images[0].instances)
    assert max(np.abs(np.subtract(masks.bbox_xywh(one), masks.bbox_xywh(two)))) <= 1
    assert masks.iou_matrix([one], [two])[0, 0] < 0.1 and masks.area(one) > 2000 < masks.area(two)
    assert problems == []


def test_poses_are_told_by_kpt_shape(yolo: Path) -> None:
    each_row(to_pose)(yolo)
    (yolo / "valid" / "labels" / "im00.txt").write_text(rows(0)[0])
    splits, problems = read(declare(yolo, TRAIN + VALID + "kpt_shape: [5, 2]\n"))
    assert not any(image.instances for truth in splits.values() for image in truth.images)
    assert kinds(problems) == {"warning: row is a pose": 15, "error: row is no polygon": 1}


def test_outlines_that_could_be_poses_stay_outlines(yolo: Path) -> None:
    # Rectangles around the centre, as a fixed camera gives them: each could be a box and two keypoints.
    for number, label in enumerate(sorted(yolo.rglob("labels/*.txt"))):
        at = 0.4 + number / 100
        label.write_text(f"0 {at} 0.4 0.6 0.4 0.6 0.6 {at} 0.6\n1 0.41 {at} 0.61 {at} 0.61 0.6 0.41 0.6\n")
    splits, problems = read(yolo)
    assert problems == [] and all(len(image.instances) == 2 for image in splits["train"].images)
    each_row(to_pose)(yolo)
    splits, problems = read(declare(yolo, TRAIN + VALID + "task: segment\n"))
    assert problems == [] and all(len(image.instances) == 2 for image in splits["train"].images)


# ------------------------------------------------------------------------------------------------ label files
def test_images_of_one_stem_have_no_label_file_between_them(yolo: Path) -> None:
    images, labels = yolo / "train" / "images", yolo / "train" / "labels"
    Image.fromarray(picture(0)).save(images / "im00.jpg")
    splits, problems = read(yolo)
    assert [image.image_id[-8:] for image in splits["train"].images] == ["im01.png", "im02.png", "im03.png"]
    assert [(one.severity, one.file) for one in problems] == [("error", labels / "im00.txt")]
    assert "train/images/im00.jpg and train/images/im00.png" in problems[0].message
    (labels / "im00.txt").write_text(" \n")
    splits, problems = read(yolo)
    assert [len(image.instances) for image in splits["train"].images] == [0, 0, 3, 3, 3] and problems == []


def test_names_with_several_dots_keep_their_labels(yolo: Path) -> None:
    for number in range(4):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            folder = yolo / "train" / kind
            (folder / f"im{number:02}.{suffix}").rename(folder / f"1569478414.735{number:02}.{suffix}")
    splits, problems = read(yolo)
    assert_is_the_scene(splits)
    assert problems == []


def test_an_image_without_labels_is_a_negative(yolo: Path) -> None:
    (yolo / "train" / "labels" / "im00.txt").unlink()
    (yolo / "train" / "labels" / "im01.txt").write_text("")
    splits, problems = read(yolo)
    assert [len(image.instances) for image in splits["train"].images] == [0, 0, 3, 3] and problems == []
    for label in (yolo / "valid" / "labels").iterdir():
        label.unlink()
    _, problems = read(yolo)
    assert kinds(problems) == {"warning: split has no label file": 1}
    assert f"looked in {yolo / 'valid' / 'labels'}" in problems[0].message


def test_labels_beside_images_are_read_where_there_is_no_labels_folder(yolo: Path) -> None:
    train = yolo / "train"
    for label in (train / "labels").iterdir():
        label.rename(train / "images" / label.name)
    _, problems = read(yolo)
    assert kinds(problems) == {
        "warning: label file beside an image is not read": 4,
        "warning: split has no label file": 1,
    }
    (train / "labels").rmdir()
    (train / "images" / "classes.txt").write_text("red\ngreen\n")
    splits, problems = read(yolo)
    assert_is_the_scene(splits)
    assert kinds(problems) == {"warning: label files are beside the images": 1}


def test_orphans_are_found_in_sub_folders_and_other_text_is_none(yolo: Path) -> None:
    labels = yolo / "train" / "labels"
    (labels / "sub").mkdir()
    (labels / "sub" / "im00.txt").write_text(rows(0)[0])
    (labels / "classes.txt").write_text("red\ngreen\n")
    splits, problems = read(yolo)
    assert_is_the_scene(splits)
    assert [(one.kind.name, one.file) for one in problems] == [("label file has no image", labels / "sub" / "im00.txt")]


def test_a_label_file_that_cannot_be_read_leaves_its_image_out(yolo: Path) -> None:
    (yolo / "train" / "labels" / "im00.txt").write_bytes(b"0 0.1 \xff\xfd 0.1")
    (yolo / "train" / "labels" / "im01.txt").unlink()
    (yolo / "train" / "labels" / "im01.txt").mkdir()
    (yolo / "train" / "labels" / "im02.TXT").write_text(rows(0)[0])
    os.mkfifo(yolo / "train" / "images" / "pipe.png")
    splits, problems = read(yolo)
    assert [image.image_id[-8:] for image in splits["train"].images] == ["im03.png"]
    assert kinds(problems) == {"error: label file cannot be read": 2, "error: image could have two label files": 1}


# ------------------------------------------------------------------------------------------------ images
def test_an_image_that_cannot_be_opened_is_left_out(yolo: Path) -> None:
    images = yolo / "train" / "images"
    (images / "im00.png").write_bytes(b"")
    (images / "im01.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0))
    )
    (images / "im02.png").write_bytes(png_header(40000, 100))
    splits, problems = read(yolo)
    assert len(splits["train"].images) == 1
    assert kinds(problems) == {"error: image cannot be opened": 2, "error: image is too large for a mask": 1}


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", b"")
    )


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP"])
def test_the_size_of_an_image_is_that_of_its_upright_pixels(tmp_path: Path, name: str) -> None:
    for orientation in range(9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        more = {} if name in ("GIF", "BMP") else {"exif": exif}
        Image.fromarray(picture(0)[:20, :31]).save(tmp_path / "one.x", format=name, **more)
        expected = (31, 20) if more and orientation > 4 else (20, 31)
        assert image_size(tmp_path / "one.x") == expected == open_rgb(tmp_path / "one.x").shape[:2]


def test_an_orientation_behind_the_pixels_counts(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "one.png"
    Image.fromarray(picture(0)).save(file)
    data = file.read_bytes()
    end = data.rindex(b"IEND") - 4
    file.write_bytes(data[:end] + png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + data[end:])
    assert image_size(file) == (WIDTH, HEIGHT) == open_rgb(file).shape[:2]


# ------------------------------------------------------------------------------------------------ autodistill
def test_what_autodistill_s_label_writes_is_read(tmp_path: Path) -> None:
    import supervision as sv
    from autodistill.detection import CaptionOntology, DetectionBaseModel

    @dataclass
    class RedThings(DetectionBaseModel):
        ontology: CaptionOntology

        def predict(self, input: np.ndarray) -> sv.Detections:
            mask = (input[..., 2] > 150) & (input[..., 0] < 100)
            mask[60:] = False
            ys, xs = np.nonzero(mask)
            box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], dtype=float)
            return sv.Detections(xyxy=box, mask=mask[None], class_id=np.array([1]), confidence=np.array([0.9]))

    (tmp_path / "images").mkdir()
    for number in range(5):
        Image.fromarray(picture(number)).save(tmp_path / "images" / f"im{number:02}.jpg", quality=95)
    state = random.getstate()
    RedThings(CaptionOntology({"x": "ant", "y": "red"})).label(
        str(tmp_path / "images"), output_folder=str(tmp_path / "out")
    )
    random.setstate(state)
    splits, problems = read(tmp_path / "out")
    assert problems == [] and splits["train"].classes.names == ("ant", "red")
    images = [image for truth in splits.values() for image in truth.images]
    assert sorted(number_of(image.image_id) for image in images) == [0, 1, 2, 3, 4]
    for image in images:
        (one,) = image.instances
        expected = shapes(number_of(image.image_id))[0][1].copy()
        expected[60:] = False
        assert one.class_index == 1
        assert masks.iou_matrix([one.rle], [masks.encode(expected)])[0, 0] >= 0.9


def test_whatever_a_file_holds_only_our_errors_are_raised(yolo: Path) -> None:
    rng = random.Random(0)
    files = [yolo / "data.yaml", yolo / "train.txt", yolo / "train" / "labels" / "im00.txt"]
    (yolo / "train.txt").write_text("./train/images/im00.png\ntrain/images/im01.png\n")
    in_yaml("train/images", "train.txt")(yolo)
    sound = {file: file.read_bytes() for file in files}
    for _ in range(150):
        for file, data in sound.items():
            changed = bytearray(data)
            for _ in range(rng.randint(0, 3)):
                at = rng.randrange(len(changed) + 1)
                changed[at : at + rng.randint(0, 4)] = rng.choice(
                    [
                        b"nan",
                        b"\0",
                        b"\xff\xfe",
                        b"[",
                        b"}",
                        b": ",
                        b"&a ",
                        b"*a",
                        b"!!x ",
                        b"../",
                        b"\\",
                        b"~",
                        b"9" * 400,
                        b",,",
                    ]
                )
            file.write_bytes(changed)
        try:
            _, problems = read(yolo)
        except AutodistillSegError as error:
            assert error.message
        else:
            assert all(str(one) for one in problems)


def test_a_line_of_a_list_from_another_machine_is_found_by_its_last_folders(yolo: Path) -> None:
    lines = ["/home/me/set/train/images/im00.png", "D:\\sets\\train\\images\\im01.png", "/home/me/im02.png"]
    (yolo / "train.txt").write_text("\n".join(lines))
    splits, problems = read(declare(yolo, "train: train.txt\n" + VALID))
    assert_is_the_scene(splits, {"train": 2, "valid": 2})
    assert [(one.line, one.kind.name) for one in problems if one.file.name == "train.txt"] == [
        (1, "listed path is of another machine"),
        (2, "listed path is of another machine"),
        (3, "listed image does not exist"),
    ]


def test_boxes_count_as_left_out_by_repair(yolo: Path, tmp_path: Path) -> None:
    label = yolo / "train" / "labels" / "im00.txt"
    label.write_text(label.read_text() + "0 0.5 0.5 0.2 0.2\n")
    done = repair(yolo, tmp_path / "clean", progress=False)
    assert done.left_out == 1 and done.counts["train"]["instances"] == 3 * COUNTS["train"]


def test_training_on_a_set_without_label_files_says_where_they_are_looked_for(yolo: Path) -> None:
    for split in ("train", "valid"):
        (yolo / split / "labels").rename(yolo / split / "annots")
    with pytest.raises(TrainingError, match=r"no image of the train split has a label file; looked in .*train/labels"):
        find_dataset(yolo)
