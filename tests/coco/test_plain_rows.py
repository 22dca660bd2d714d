"""Rows that are read many at once: the same as one by one, whatever is in them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.coco import parsing, run_lengths
from autodistill_rfdetr_seg.coco.mask_measures import measure
from autodistill_rfdetr_seg.coco.problems import Problem
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.core.types import Rle

HEIGHT, WIDTH = 24, 32


def rows(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    found = []
    for number in range(1, count + 1):
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        top, left = rng.integers(0, HEIGHT - 6), rng.integers(0, WIDTH - 6)
        mask[top : top + rng.integers(1, 7), left : left + rng.integers(1, 7)] = True
        rle = masks.encode(mask)
        found.append(
            {
                "id": number,
                "image_id": int(rng.integers(1, 4)),
                "category_id": int(rng.integers(1, 3)),
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle.counts.decode()},
                "area": masks.area(rle),
                "bbox": list(masks.bbox_xywh(rle)),
                "iscrowd": 0,
            }
        )
    return found


def changed(row: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The row with something that is to be noticed, or that is just as good."""
    row = copy.deepcopy(row)
    counts = row["segmentation"]["counts"]
    values: dict[str, list[Any]] = {
        "id": [0, 1, True, 1.0, "7", None, -3],
        "image_id": [9, 1.0, "1", True, None],
        "category_id": [9, "1", 1.0, None],
        "iscrowd": [1, False, "0", None, 0.0, 2],
        "area": [0, -1, "12", float("nan"), 10**400, 1e300, True, None],
        "bbox": [None, [0, 0, 1], [0, 0, -1, 5], ["0", 0, 1, 1], [0, 0, 30, 30], [0.0, 0.0, float("nan"), 1]],
        "score": [0, 1, 0.5, 2, -0.1, "0.5", True, None],
        "segmentation": [
            None,
            [],
            [[1, 1, 5, 1, 5, 5]],
            {"size": [WIDTH, HEIGHT], "counts": counts},
            {"size": [float(HEIGHT), WIDTH], "counts": counts},
            {"size": [HEIGHT, WIDTH], "counts": counts[:-1]},
            {"size": [HEIGHT, WIDTH], "counts": " " + counts},
            {"size": [HEIGHT, WIDTH], "counts": counts.encode()},
            {"size": [HEIGHT, WIDTH], "counts": counts + "é"},
            {"size": [HEIGHT, WIDTH], "counts": ""},
            {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
            {"size": [HEIGHT, WIDTH], "counts": masks.encode(np.zeros((HEIGHT, WIDTH), bool)).counts.decode()},
        ],
    }
    key = str(rng.choice(list(values)))
    value = values[key][int(rng.integers(len(values[key])))]
    if value is None and rng.random() < 0.5:
        row.pop(key, None)
    else:
        row[key] = value
    return row


def read_both_ways(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    found = []
    for one_by_one in (False, True):
        with monkeypatch.context() as patch:
            if one_by_one:
                patch.setattr(parsing, "plain_annotations", lambda rows, known: [None] * len(rows))
            problems: list[Problem] = []
            file = parsing.parse(path, problems.append, images="ignored")
            found.append((file, [str(problem) for problem in problems]))
    return found[0], found[1]


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_read_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = np.random.default_rng(seed)
    annotations = rows(rng, 60)
    annotations = [changed(row, rng) if rng.random() < 0.5 else row for row in annotations]
    annotations += [{**row, "id": 1000 + at} for at, row in enumerate(annotations[:3])]  # drawn twice
    annotations = json.loads(json.dumps(annotations, default=lambda value: value.decode()))
    path = tmp_path / "set.json"
    images = [{"id": at, "file_name": f"{at}.png", "height": HEIGHT, "width": WIDTH} for at in (1, 2, 3)]
    categories = [{"id": at, "name": f"c{at}"} for at in (1, 2)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    together, one_by_one = read_both_ways(path, monkeypatch)
    assert together == one_by_one
    assert len(together[0].annotations) > 30 and len(together[1]) > 5


def one_by_one(text: bytes, height: int, width: int) -> tuple[bool, int, list[float]]:
    """What `measure` says of one mask, by the slow way and pycocotools."""
    try:
        runs = run_lengths.runs_of_string(text)
        run_lengths.check_runs(runs, height, width)
    except ValueError:
        return False, 0, [0.0] * 4
    if not (runs[1:] > 0).all():
        return False, 0, [0.0] * 4
    return True, int(runs[1::2].sum()), list(masks.bbox_xywh(Rle(height, width, text)))


def test_many_masks_are_measured_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    counts: list[bytes] = []
    for row in rows(rng, 2000):
        text = bytearray(row["segmentation"]["counts"].encode())
        kind = rng.integers(6)
        if kind == 0:
            text[rng.integers(len(text))] = rng.integers(40, 130)
        elif kind == 1:
            del text[rng.integers(len(text)) :]
        elif kind == 2:
            text = bytearray(rng.integers(48, 112, rng.integers(0, 12)).astype(np.uint8).tobytes())
        elif kind == 3:
            text = bytearray(b"000") + text  # runs of zero pixels
        counts.append(bytes(text))
    measured = measure(counts, [(HEIGHT, WIDTH)] * len(counts))
    expected = [one_by_one(text, HEIGHT, WIDTH) for text in counts]
    found = zip(measured.plain.tolist(), measured.areas.tolist(), measured.boxes_xywh.tolist(), strict=True)
    assert list(found) == expected
    assert 500 < sum(plain for plain, *_ in expected) < 1500


def test_masks_of_different_images_are_measured_together() -> None:
    rng = np.random.default_rng(1)
    shapes = [(1, 1), (1, 9), (9, 1), (7, 5), (5, 7), (3, 40), (30000, 2)]
    rles = []
    for _ in range(500):
        height, width = shapes[int(rng.integers(len(shapes)))]
        mask = np.asfortranarray(rng.random((height, width)) < rng.choice([0.0, 0.01, 0.5, 0.99, 1.0]))
        rles.append(masks.encode(mask))
    rles.append(masks.encode(np.ones((6000, 6000), dtype=bool)))  # run lengths of six characters
    rles.append(masks.encode(np.pad(np.ones((5500, 5500), dtype=bool), ((400, 100), (300, 200)))))
    order = rng.permutation(len(rles))
    for chosen in ([rles[at] for at in order], rles[:200]):
        measured = measure([rle.counts for rle in chosen], [(rle.height, rle.width) for rle in chosen])
        assert measured.plain.all()
        assert measured.areas.tolist() == [masks.area(rle) for rle in chosen]
        assert measured.boxes_xywh.tolist() == [list(masks.bbox_xywh(rle)) for rle in chosen]


def test_sums_that_overflow_are_not_plain() -> None:
    # 600 run lengths inside, each longer by 2^22 than the one before: the last are 2^31 and more, which int32 lacks.
    runs = np.cumsum(np.full(600, 2**22, dtype=np.int64))
    text = compressed(np.repeat(runs, 2).tolist())
    total = int(run_lengths.runs_of_string(text).sum())
    assert total == 2 * int(runs.sum())
    for pixels in (total, total % 2**32, total % 2**31):
        assert not measure([text], [(pixels, 1)]).plain.any()


def compressed(runs: list[int]) -> bytes:
    """Counts of these run lengths; source: rleToString of maskApi.c."""
    found = bytearray()
    for at, run in enumerate(runs):
        value = run - runs[at - 2] if at > 2 else run
        more = True
        while more:
            digit = value & 31
            value >>= 5
            more = value != (-1 if digit & 16 else 0)
            found.append(48 + (digit | 32 if more else digit))
    return bytes(found)


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [], "annotations": [{"id": 1, "id": 2}], "categories": []}',
        '{"images": [], "annotations": [{"id": 1, "id" : 2}], "categories": []}',
        '{"images": [], "images": [{"id": 1}], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [{"id": 1, "segmentation": {"counts": "a", "counts": "b"}}], "categories": []}',
        '{"images": [], "annotations": [{"id": 1, "note": {"area": 1, "area": 2}}], "categories": []}',
        '{"images": [{"id": 1, "id": 2, "file_name": "a\\":b"}], "annotations": [], "categories": []}',
    ],
)
def test_a_key_with_two_values_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "set.json"
    path.write_text(text)
    with pytest.raises(DataError, match="twice, with two values"):
        coco.read(path)
