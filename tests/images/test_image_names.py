"""What a name may have been before a tool changed it, and which known image it fits."""

from __future__ import annotations

import unicodedata

import pytest

from autodistill_rfdetr_seg.images.image_names import KnownNames, earlier_names

HASH = "0f3a9c1d2e4b5a69788796a5b4c3d2e1"


@pytest.mark.parametrize(
    ("name", "was"),
    [
        (f"frame_png.rf.{HASH}.jpg", "frame.png"),
        (f"frame_png.rf.{HASH}.png", "frame.png"),
        (f"IMG_0001_JPG.rf.{HASH}.jpg", "IMG_0001.JPG"),
        (f"train/a.b_jpeg.rf.{HASH}.jpg", "train/a.b.jpeg"),
        ("frame_jpg.rf.AbCdEf-_012345.jpg", "frame.jpg"),
        # No suffix was there, and `top` is none.
        (f"photo_top.rf.{HASH}.jpg", "photo_top.jpg"),
        (f"photo.rf.{HASH}.jpg", "photo.jpg"),
        ("1a2b3c4d-frame.png", "frame.png"),
        ("images/1a2b3c4d-frame-2.png", "images/frame-2.png"),
        ("images\\1a2b3c4d-frame.png", "images/frame.png"),
        ("/data/upload/3/1a2b3c4d-frame.png", "/data/upload/3/frame.png"),
        ("/data/local-files/?d=deep/frame.png", "deep/frame.png"),
        ("photo%20one.png", "photo one.png"),
        # One tool after another.
        (f"1a2b3c4d-frame_png.rf.{HASH}.jpg", "frame.png"),
        ("1a2b3c4d-0011aabb-frame.png", "frame.png"),
        ("1a2b3c4d-0011aabb-frame.png", "0011aabb-frame.png"),
    ],
)
def test_a_name_had_another_before(name: str, was: str) -> None:
    assert was in earlier_names(name)[1:] or was == earlier_names(name)[0]


@pytest.mark.parametrize(
    "name", ["frame.png", "1a2b3c4-frame.png", "1A2B3C4D-frame.png", "zzzzzzzz-frame.png", "a.rf.png", "20240101_a.png"]
)
def test_plain_names_are_left_alone(name: str) -> None:
    assert earlier_names(name) == [name]


def test_what_is_least_changed_comes_first() -> None:
    assert earlier_names("1a2b3c4d-0011aabb-a.png") == ["1a2b3c4d-0011aabb-a.png", "0011aabb-a.png", "a.png"]


KNOWN = KnownNames(
    {
        "x/a.png": ["x__a.png"],
        "y/a.png": ["y__a.png"],
        "y/b.JPG": ["y__b.jpg"],
        "photo 1 (2).jpg": ["photo 1 (2).jpg"],
        "deep/er/c.tif": ["deep__er__c.png"],
        "café.png": ["café.png"],
        "im_12.png": ["im_12.png"],
        "train/d.png": ["train__d.png"],
        "valid/d.png": ["valid__d.png"],
        "same.png": ["same_11111111.png"],
        "same.jpg": ["same_22222222.jpg"],
    }
)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("x/a.png", ["x/a.png"]),
        ("x__a.png", ["x/a.png"]),
        ("a.png", ["x/a.png", "y/a.png"]),
        ("images/default/y/a.png", ["y/a.png"]),
        # In a folder of another name it is another image.
        ("z/a.png", []),
        ("x/b.jpg", []),
        ("other/x__a.png", ["x/a.png"]),
        ("b.jpg", ["y/b.JPG"]),
        ("images/b.jpg", ["y/b.JPG"]),
        ("upload/3/b.png", ["y/b.JPG"]),
        ("photo_1_2.jpg", ["photo 1 (2).jpg"]),
        ("photo-1-2-.jpg", ["photo 1 (2).jpg"]),
        ("er/c.png", ["deep/er/c.tif"]),
        ("c.jpg", ["deep/er/c.tif"]),
        (unicodedata.normalize("NFD", "CAFÉ.png"), ["café.png"]),
        ("im-12.png", ["im_12.png"]),
        ("im1_2.png", []),
        ("d.png", ["train/d.png", "valid/d.png"]),
        ("images/valid/d.png", ["valid/d.png"]),
        ("same.png", ["same.png"]),
        ("same.webp", ["same.jpg", "same.png"]),
        ("same_22222222.png", ["same.jpg"]),
        ("nothing.png", []),
        ("", []),
    ],
)
def test_which_images_a_name_fits(name: str, fits: list[str]) -> None:
    assert list(KNOWN.fitting(name)) == fits


def test_an_exact_name_is_the_users_path_or_the_datasets_name() -> None:
    assert KNOWN.exact("x/a.png") == ("x/a.png",)
    assert KNOWN.exact("images/x__a.png") == ("x/a.png",)
    assert KNOWN.exact("images/same.png") == ()
    assert KNOWN.exact("a.png") == () == KNOWN.exact("X/a.png")
    # The user's own path goes before another's name in the dataset.
    known = KnownNames({"a.png": ["a.png"], "sub/a.png": ["sub__a.png"]})
    assert known.exact("sub/a.png") == ("sub/a.png",)
