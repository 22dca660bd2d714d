from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Classes, Instance, TruthInstance
from autodistill_rfdetr_seg.drawing.label_text import fit, free_place, picture_name
from autodistill_rfdetr_seg.drawing.overlays import (
    FILL,
    class_color,
    contact_sheet,
    data_uri,
    draw_instances,
    side_by_side,
)
from helpers.report_data import square

CLASSES = Classes(("dog", "cat"))


def grey(side: int = 200) -> np.ndarray:
    return np.full((side, side, 3), 100, np.uint8)


def changed(image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return (image != drawn).any(axis=2)


def test_only_the_mask_its_outline_and_its_label_change() -> None:
    image = grey()
    drawn = draw_instances(image, [Instance(0, square(200, 60, 80, 50), 0.9)], CLASSES)
    assert (image == 100).all()
    difference = changed(image, drawn)
    difference[78:132, 58:112] = False
    rows, columns = np.nonzero(difference)
    # What is left is the label: it stands on the mask's upper left corner.
    assert rows.min() >= 60 and rows.max() < 80
    assert columns.min() == 60 and columns.max() < 60 + 0.45 * 200
    expected = [int(100 * (1 - FILL) + value * FILL) for value in class_color(0)]
    assert drawn[105, 85].tolist() == expected
    assert drawn[129, 85].tolist() == list(class_color(0))


def test_a_hole_stays_as_it_was() -> None:
    ring = np.zeros((200, 200), bool)
    ring[50:150, 50:150] = True
    ring[80:120, 80:120] = False
    drawn = draw_instances(grey(), [TruthInstance(1, masks.encode(ring))], CLASSES)
    assert (drawn[84:116, 84:116] == 100).all()
    assert (drawn[60, 60] != 100).any()


def test_small_masks_lie_on_large_ones_whatever_their_order() -> None:
    small, large = Instance(1, square(200, 90, 90, 20), 0.5), Instance(0, square(200, 20, 20, 160), 0.9)
    one, two = (draw_instances(grey(), order, CLASSES) for order in ([small, large], [large, small]))
    assert (one == two).all()
    assert one[100, 100].tolist() != one[150, 150].tolist()


@pytest.mark.parametrize(("x", "y"), [(0, 0), (195, 0), (0, 195), (195, 195)])
def test_labels_stay_in_the_image(x: int, y: int) -> None:
    drawn = draw_instances(grey(), [Instance(0, square(200, x, y, 5), 0.5)], CLASSES)
    assert drawn.shape == (200, 200, 3)
    # Far more changes than the five pixels and their outline: the label found its place.
    assert changed(grey(), drawn).sum() > 400


def test_a_long_name_is_cut_and_its_score_stays() -> None:
    text = fit("a very long name of a class 0.93", 12, 90)
    assert text.startswith("a ver") and text.endswith("… 0.93")
    image = grey(100)
    drawn = draw_instances(image, [Instance(0, square(100, 2, 50, 6), 0.9)], Classes(("x" * 500, "y")))
    assert np.nonzero(changed(image, drawn))[1].max() < 2 + 45
    assert draw_instances(grey(8), [Instance(0, square(8, 1, 1, 3), 0.9)], CLASSES).shape == (8, 8, 3)


def test_names_that_the_font_cannot_write() -> None:
    classes = Classes(("café", "椅子", "two\nlines"))
    assert [picture_name(classes, at) for at in range(4)] == ["cafe", "#1", "two lines", "#3"]


def test_labels_do_not_cover_each_other() -> None:
    first = free_place((50, 50, 90, 90), 40, 10, 200, 200, [])
    assert first == (50, 40, 90, 50)
    assert free_place((50, 50, 90, 90), 40, 10, 200, 200, [first]) == (50, 50, 90, 60)
    assert free_place((50, 50, 90, 90), 40, 10, 200, 200, [(0, 0, 200, 200)]) is None
    assert free_place((0, 0, 4, 4), 40, 10, 30, 30, []) is None


def test_scores_are_drawn_or_not_and_crowds_are_grey() -> None:
    found = [Instance(0, square(200, 60, 80, 50), 0.9)]
    with_score, without = (draw_instances(grey(), found, CLASSES, scores=flag) for flag in (True, False))
    assert changed(grey(), with_score).sum() > changed(grey(), without).sum()
    crowd = draw_instances(grey(), [TruthInstance(0, found[0].rle, crowd=True)], CLASSES)
    red, green, blue = crowd[105, 85].tolist()
    assert red == green == blue != 100


def test_empty_masks_draw_nothing_and_wrong_ones_are_refused() -> None:
    empty = Instance(0, masks.encode(np.zeros((200, 200), bool)), 0.9)
    assert (draw_instances(grey(), [empty], CLASSES) == grey()).all()
    with pytest.raises(ValueError, match="50 x 50 pixels does not fit an image of 200 x 200"):
        draw_instances(grey(), [Instance(0, square(50, 1, 1, 5), 0.5)], CLASSES)
    with pytest.raises(ValueError, match="HWC uint8 RGB"):
        draw_instances(np.zeros((5, 5), np.uint8), [], CLASSES)


def test_twenty_one_classes_have_colours_of_their_own() -> None:
    assert len({class_color(index) for index in range(21)}) == 21
    assert class_color(0) == (230, 159, 0) and class_color(21) == class_color(0)


def test_panels_share_a_height_and_keep_their_shape() -> None:
    wide, tall = np.full((100, 300, 3), 10, np.uint8), np.full((200, 100, 3), 20, np.uint8)
    sheet = side_by_side([("wide", wide), ("tall", tall)], gap=10)
    assert sheet.shape[1] == 300 + 10 + 50
    assert (sheet[-100:, :300] == 10).all() and (sheet[-100:, 310:] == 20).all()
    assert (sheet[:, 300:310] == 255).all()
    assert (sheet[:-100, :300] < 128).any()
    with pytest.raises(ValueError, match="at least one panel"):
        side_by_side([])


def test_a_contact_sheet_takes_rows_one_by_one() -> None:
    rows = ([(f"{at}", np.full((60, 90, 3), at, np.uint8))] * 3 for at in (0, 50))
    sheet = contact_sheet(rows, width=600, gap=10)
    assert sheet.shape[1] == 600
    assert (sheet[-60:, 20:180] == 50).all()
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([])


def test_an_embedded_image_is_small_and_opens() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 1200, 3), dtype=np.uint8)
    uri, width, height = data_uri(noise, side=640, max_bytes=54_000)
    content = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    assert len(content) <= 54_000
    assert Image.open(io.BytesIO(content)).size == (width, height)
    flat, width, height = data_uri(np.full((600, 1200, 3), 77, np.uint8))
    assert (width, height) == (640, 320)
    opened = np.asarray(Image.open(io.BytesIO(base64.b64decode(flat.partition(",")[2]))).convert("RGB"))
    assert abs(int(opened[100, 100, 0]) - 77) <= 2
