"""YOLO-seg datasets: what `data.yaml` declares, label files, and 31 ways in which a set can be otherwise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import masks
from autodistill_rfdetr_seg.coco.problem import Problem
from autodistill_rfdetr_seg.errors import DataError
from autodistill_rfdetr_seg.images import open_rgb
from autodistill_rfdetr_seg.readers.yolo import read_yolo
from autodistill_rfdetr_seg.records import GroundTruth

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


CASES = {
    "conf-at-end": Case(each_row(lambda line: f"{line} 0.875000"), error="row may end in a confidence", line=1),
    "comma": Case(each_row(lambda line: line.replace(" ", ",")), ("commas separate the numbers",)),
    "tab-crlf": Case(each_file(lambda text: text.replace(" ", "\t").replace("\n", "\r\n"))),
    "blank-lines": Case(each_file(lambda text: "\n \n" + text.replace("\n", "\n\n\t\n"))),
    "class-minus1": Case(class_as(lambda _: "-1"), error="class number is not in `names`", line=1),
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
    "names-one-short": Case(in_yaml("[red, green]", "[red]"), ("`nc` is not the number of names",), "class number is not in `names`", 3),
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
