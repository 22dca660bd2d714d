from __future__ import annotations

import builtins
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg.core.errors import DataError, DependencyError, MissingInputError, UsageError
from autodistill_rfdetr_seg.images.frame_files import RECORD, extract_frames, extraction_note
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.images.rgb_image import RgbImage
from autodistill_rfdetr_seg.readers.image_sources import Inputs, find_images

EVERYTHING: dict[str, Any] = {"every": 1, "fps": None, "scene_changes": False, "progress": False}


def picture(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (colour, 10, 20)).save(path)
    return path


def names(found: Inputs) -> list[str]:
    assert [name for _, name in found.items] == [path.relative_to(found.root).as_posix() for path, _ in found.items]
    return [name for _, name in found.items]


def shade(index: int) -> int:
    return 20 + 6 * index


def index_of(path: Path) -> int:
    """Which frame a file shows, told by its brightness."""
    return round((float(open_rgb(path).mean()) - 20) / 6)


def film(path: Path, frames: Sequence[RgbImage], rate: int = 10, turned: int = 0, codec: str = "mpeg4") -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate, stream.gop_size = "yuv420p", 4_000_000, 5
        if turned:
            stream.set_display_rotation(turned)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def shades(count: int) -> list[RgbImage]:
    return [np.full((48, 64, 3), shade(index), np.uint8) for index in range(count)]


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.png", ".hidden/d.png"):
        picture(tmp_path / name)
    (tmp_path / "clip.MP4").write_bytes(b"")
    (tmp_path / "a" / "clip.mov").write_bytes(b"")
    found = find_images(tmp_path, tmp_path / "frames")
    assert (found.root, names(found)) == (tmp_path, ["a/c.png", "b.jpg"])
    assert found.notes == ("2 videos were skipped: give a video alone.",)
    assert found.groups == {}


def test_a_folder_of_nothing_but_videos(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(MissingInputError, match=r"only 1 video\. Hint: Give one video"):
        find_images(tmp_path, tmp_path / "frames")


def test_one_image(tmp_path: Path) -> None:
    path = picture(tmp_path / "a" / "one.png")
    assert find_images(str(path), tmp_path).items == [(path, "one.png")]
    bare = path.rename(tmp_path / "a" / "bare")
    assert find_images(bare, tmp_path).root == tmp_path / "a"


@pytest.mark.parametrize("name", ["nothing", "table.csv", "*.jpg"])
def test_nothing_to_work_on(tmp_path: Path, name: str) -> None:
    (tmp_path / "table.csv").write_text("a,b\n")
    with pytest.raises((MissingInputError, DataError)) as caught:
        find_images(tmp_path / name, tmp_path / "frames")
    assert caught.value.hint
    assert isinstance(caught.value, DataError) == (name == "table.csv")


def test_a_pattern(tmp_path: Path) -> None:
    for name in ("shoot/x/1.jpg", "shoot/x/2.PNG", "shoot/y/z/3.jpg", "other/4.jpg"):
        picture(tmp_path / name)
    (tmp_path / "shoot" / "x" / "notes.txt").write_text("no image")
    everywhere = find_images(f"{tmp_path}/shoot/**/*", tmp_path / "frames")
    assert (everywhere.root, names(everywhere)) == (tmp_path / "shoot", ["x/1.jpg", "x/2.PNG", "y/z/3.jpg"])
    assert names(find_images(f"{tmp_path}/shoot/x/[12].*", tmp_path / "frames")) == ["1.jpg", "2.PNG"]


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    picture(tmp_path / "photos [2021]" / "a.jpg")
    (tmp_path / "photos [2021]" / "list.txt").write_text("*.jpg\n")
    assert names(find_images(tmp_path / "photos [2021]", tmp_path / "frames")) == ["a.jpg"]
    assert names(find_images(tmp_path / "photos [2021]" / "list.txt", tmp_path / "frames")) == ["a.jpg"]


def test_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/a.jpg", "in/b.jpg", "out/c d.jpg"):
        picture(tmp_path / name)
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "in" / "a.jpg")
    lines = ["\ufeff# a comment", "", "  a.jpg ", "../in/a.jpg", "link.jpg", "*.jpg", "../out/c d.jpg"]
    (tmp_path / "in" / "list.txt").write_text("\r\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "out")
    found = find_images("../in/list.txt", tmp_path / "frames")
    assert (found.root, names(found)) == (tmp_path, ["in/a.jpg", "in/b.jpg", "out/c d.jpg"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_list_that_windows_wrote(tmp_path: Path, encoding: str, newline: str) -> None:
    for name in ("снимки/день 1.jpg", "снимки/b.jpg", "c.jpg", "odd\\name.jpg"):
        picture(tmp_path / name)
    lines = ["снимки\\день 1.jpg", "# было", ".\\снимки\\b*.jpg", "c.jpg", "odd\\name.jpg"]
    (tmp_path / "list.txt").write_bytes(newline.join([*lines, ""]).encode(encoding))
    found = find_images(tmp_path / "list.txt", tmp_path / "frames")
    assert names(found) == ["c.jpg", "odd\\name.jpg", "снимки/b.jpg", "снимки/день 1.jpg"]
    assert found.notes == ()


def test_a_list_in_a_local_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("a.jpg\r\ncafé.jpg\r\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"list\.txt is not UTF-8 text: line 2 has the byte 0xE9.*Windows-1252"):
        find_images(tmp_path / "list.txt", tmp_path / "frames")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sub", r"Line 3 of .* names a folder: sub\. Hint: Write the pattern sub/\*\*/\*\.jpg"),
        ("clip.mp4", r"Line 3 of .*list\.txt names a video"),
        ("a\0.jpg", r"list\.txt is not text: line 3 has a zero byte"),
    ],
)
def test_a_list_with_a_wrong_line(tmp_path: Path, line: str, message: str) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "sub").mkdir()
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "list.txt").write_text(f"a.jpg\n\n{line}\n")
    with pytest.raises(DataError, match=message):
        find_images(tmp_path / "list.txt", tmp_path / "frames")


def test_a_list_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# nothing yet\n\n")
    with pytest.raises(MissingInputError, match="names no image"):
        find_images(tmp_path / "list.txt", tmp_path / "frames")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"list\.txt is not UTF-16-LE text: line 1"):
        find_images(tmp_path / "list.txt", tmp_path / "frames")


def coco_file(folder: Path, *file_names: str) -> Path:
    images = [{"id": i, "file_name": name, "height": 6, "width": 8} for i, name in enumerate(file_names, 1)]
    path = folder / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "dog"}]}))
    return path


def test_a_coco_file(tmp_path: Path) -> None:
    for name in ("in/b.jpg", "in/deep/a.jpg", "in/unlisted.jpg", "secret.jpg"):
        picture(tmp_path / name)
    found = find_images(coco_file(tmp_path / "in", "deep/a.jpg", "b.jpg"), tmp_path / "frames")
    assert (found.root, names(found)) == (tmp_path / "in", ["b.jpg", "deep/a.jpg"])
    with pytest.raises(DataError, match="leaves the JSON's folder"):
        find_images(coco_file(tmp_path / "in", "../secret.jpg"), tmp_path / "frames")
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match="leaves the folder"):
        find_images(coco_file(tmp_path / "in", "link.jpg"), tmp_path / "frames")
    with pytest.raises(MissingInputError, match=r"1 of 1 image .*gone\.jpg"):
        find_images(coco_file(tmp_path / "in", "gone.jpg"), tmp_path / "frames")


def test_limit_and_sample(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for number in range(60):
        picture(folder / f"{number:03d}.jpg")
    first = find_images(folder, tmp_path, limit=5)
    assert names(first) == [f"{number:03d}.jpg" for number in range(5)]
    assert first.notes == ("5 of 60 images were chosen.",)
    few = names(find_images(folder, tmp_path, sample=20))
    assert len(few) == 20 and few == sorted(few) and few != names(find_images(folder, tmp_path, limit=20))
    assert few == names(find_images(folder, tmp_path, sample=20))
    assert few != names(find_images(folder, tmp_path, sample=20, seed=1))
    # A smaller sample is part of a larger one, and images that come later only displace some.
    assert set(names(find_images(folder, tmp_path, sample=8))) < set(few)
    for number in range(60, 66):
        picture(folder / f"{number:03d}.jpg")
    more = set(names(find_images(folder, tmp_path, sample=20)))
    assert len(more & set(few)) == 20 - len([name for name in more if name >= "060"])
    assert find_images(folder, tmp_path, sample=1000).notes == ()


def test_a_video_gives_the_frames_that_were_asked_for(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", shades(30))
    found = find_images(clip, tmp_path / "frames", every=7, progress=False)
    assert found.root == tmp_path / "frames"
    assert names(found) == [f"clip/frame_{index:06d}.png" for index in (0, 7, 14, 21, 28)]
    assert [index_of(path) for path, _ in found.items] == [0, 7, 14, 21, 28]
    assert found.groups == dict.fromkeys(names(found), "clip")
    part = find_images(clip, tmp_path / "frames", every=7, limit=2, progress=False)
    assert list(part.groups) == names(part) == ["clip/frame_000000.png", "clip/frame_000007.png"]


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (None, [0, 10, 20]),
        (2.0, [0, 5, 10, 15, 20, 25]),
        (4.0, [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27]),
        (0.4, [0, 25]),
        (10.0, [*range(30)]),
        (100.0, [*range(30)]),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])  # mkv rounds times to the millisecond
def test_frames_by_the_second(tmp_path: Path, suffix: str, fps: float | None, expected: list[int]) -> None:
    clip = film(tmp_path / f"clip.{suffix}", shades(30))
    paths = extract_frames(clip, tmp_path, every=None, fps=fps, scene_changes=False, progress=False)
    assert [int(path.stem[-6:]) for path in paths] == expected
    assert [index_of(path) for path in paths] == expected


def test_scene_changes_take_the_most_changed_and_pass_over_what_stands_still(tmp_path: Path) -> None:
    frames = [np.full((64, 96, 3), 60, np.uint8) for _ in range(30)]
    frames[13] = np.full((64, 96, 3), 200, np.uint8)  # a flash in the second window
    for frame in frames[24:]:
        frame[20:40, 30:60] = 230  # something comes in, and stays
    frames[26] = np.full((64, 96, 3), 255, np.uint8)
    clip = film(tmp_path / "clip.mp4", frames)
    paths = extract_frames(clip, tmp_path, every=6, fps=None, scene_changes=True, progress=False)
    # By sixes: the first frame; nothing new; the flash; dark again; the brightest of what came in.
    assert [int(path.stem[-6:]) for path in paths] == [0, 13, 18, 26]


@pytest.mark.parametrize("turned", [0, 90, 180, -90])
def test_the_rotation_of_a_phone_is_applied(tmp_path: Path, turned: int) -> None:
    # The upper left quarter is white; the number is how far the player has to turn the picture against the clock.
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:32, :48] = 255
    clip = film(tmp_path / "clip.mp4", [frame] * 3, turned=turned)
    pixels = open_rgb(extract_frames(clip, tmp_path, **EVERYTHING)[0])
    assert np.abs(pixels.astype(int) - np.rot90(frame, turned // 90)).mean() < 8


def test_an_extraction_is_resumed_and_not_repeated(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", shades(12))
    options: dict[str, Any] = {"every": 4, "fps": None, "scene_changes": False, "progress": False}
    paths = extract_frames(clip, tmp_path, **options)
    assert [path.name for path in paths] == ["frame_000000.png", "frame_000004.png", "frame_000008.png"]
    times = [path.stat().st_mtime_ns for path in paths]
    assert extract_frames(clip, tmp_path, **options) == paths
    # As a kill leaves it: no end in the record, one frame missing, one half-written beside its place.
    record = json.loads((tmp_path / "clip" / RECORD).read_text())
    assert record.pop("frames") == [0, 4, 8]
    (tmp_path / "clip" / RECORD).write_text(json.dumps(record))
    paths[1].unlink()
    (tmp_path / "clip" / ".frame_000004.png.1.partial").write_bytes(b"half")
    assert extract_frames(clip, tmp_path, **options) == paths
    assert [path.stat().st_mtime_ns for path in paths[::2]] == times[::2]
    assert index_of(paths[1]) == 4
    assert not list((tmp_path / "clip").glob("*.partial"))
    # A frame that someone removed from a finished extraction comes back.
    paths[2].unlink()
    assert extract_frames(clip, tmp_path, **options) == paths and index_of(paths[2]) == 8


def test_other_options_or_another_video_begin_anew(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", shades(12))
    extract_frames(clip, tmp_path, **EVERYTHING)
    extract_frames(clip, tmp_path, **{**EVERYTHING, "every": 5})
    assert sorted(path.name for path in (tmp_path / "clip").glob("*.png")) == [
        f"frame_{index:06d}.png" for index in (0, 5, 10)
    ]
    film(clip, shades(12)[::-1])
    paths = extract_frames(clip, tmp_path, **{**EVERYTHING, "every": 5})
    assert [index_of(path) for path in paths] == [11, 6, 1]


def test_a_finished_extraction_needs_no_decoding(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", shades(5))
    paths = extract_frames(clip, tmp_path, **EVERYTHING)
    stat = clip.stat()
    clip.write_bytes(bytes(stat.st_size))
    os.utime(clip, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert extract_frames(clip, tmp_path, **EVERYTHING) == paths


def test_a_video_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("av")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    with pytest.raises(DataError, match=r"broken\.mp4 cannot be read"):
        find_images(broken, tmp_path / "frames", progress=False)
    with pytest.raises(MissingInputError, match="no video"):
        extract_frames(tmp_path / "gone.mp4", tmp_path, **EVERYTHING)


def test_a_video_that_breaks_off_keeps_its_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    whole = film(tmp_path / "whole.avi", noise)
    data = whole.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: len(data) // 2])
    found = find_images(cut, tmp_path / "frames", every=1, progress=False)
    assert 10 < len(found.items) < 30
    assert len(found.notes) == 1 and "is cut off after" in found.notes[0]
    # It is told again when nothing is left to do.
    assert find_images(cut, tmp_path / "frames", every=1, progress=False) == found
    extract_frames(whole, tmp_path / "frames", **EVERYTHING)
    assert extraction_note(whole, tmp_path / "frames") is None


@pytest.mark.parametrize("options", [{"every": 2, "fps": 1.0}, {"every": 0}, {"fps": 0.0}, {"fps": math.nan}])
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(UsageError):
        find_images(tmp_path / "clip.mp4", tmp_path / "frames", **options)
    assert not (tmp_path / "frames").exists()


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(DependencyError, match="needs PyAV"):
        extract_frames(tmp_path / "clip.mp4", tmp_path, **EVERYTHING)


@pytest.mark.slow
def test_a_real_video(shared_data: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    source = tmp_path / "bottles.mp4"
    shutil.copyfile(shared_data / "video" / "bottle-detection.mp4", source)
    paths = extract_frames(source, tmp_path, every=400, fps=None, scene_changes=False, progress=False)
    assert [path.name for path in paths] == ["frame_000000.png", "frame_000400.png", "frame_000800.png"]
    with av.open(str(source)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == 400:
                assert np.array_equal(open_rgb(paths[1]), frame.to_ndarray(format="rgb24"))
                break
    by_second = extract_frames(source, tmp_path, every=None, fps=0.1, scene_changes=False, progress=False)
    # 29.83 frames a second: the frames nearest to 0, 10, 20 and 30 seconds.
    assert [int(path.stem[-6:]) for path in by_second] == [0, 298, 597, 895]
