from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import (
    DataError,
    DependencyError,
    MissingInputError,
    OutputExistsError,
    UsageError,
)
from autodistill_rfdetr_seg.core.types import Rle
from autodistill_rfdetr_seg.images.video_frames import Frame, frames
from autodistill_rfdetr_seg.images.video_writer import VideoWriter
from autodistill_rfdetr_seg.predict import video_prediction as predicting_video
from autodistill_rfdetr_seg.predict.video_prediction import predict_video

av = pytest.importorskip("av")
HEIGHT, WIDTH = 64, 97
SQUARES = ((4, 8, (230, 30, 30)), (70, 40, (30, 30, 230)))


def scene(at: int) -> np.ndarray:
    """A red square that moves to the right, and a blue one that moves to the left."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for (x, y, colour), step in zip(SQUARES, (2, -2), strict=True):
        pixels[y : y + 16, x + step * at : x + step * at + 16] = colour
    return pixels


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "films" / "clip.mp4"
    with VideoWriter(path, Fraction(10)) as writer:
        for at in range(20):
            writer.write(scene(at))
    return path


class Colours:
    """A model that finds what is red (class 0) and what is blue (class 1)."""

    class_names = ("red", "blue")

    def __init__(self, fails_at: int | None = None) -> None:
        self.sizes: list[int] = []
        self._left = fails_at

    def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
        self.sizes.append(len(images))
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
        return [self._one(image.astype(int)) for image in images]

    def _one(self, image: np.ndarray) -> sv.Detections:
        found = [image[..., one] > image[..., 2 - one] + 80 for one in (2, 0)]
        masks = np.stack(found)
        return sv.Detections(
            xyxy=sv.mask_to_xyxy(masks).astype(float),
            mask=masks,
            confidence=np.array([0.9, 0.8]),
            class_id=np.array([1, 0]),
        )


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_frame_is_told_and_drawn(clip: Path, tmp_path: Path) -> None:
    model = Colours()
    found = predict_video(model, clip, tmp_path / "found", batch_size=8, progress=False)
    assert (found.frames, found.counts, found.tracks, model.sizes) == (20, {"red": 20, "blue": 20}, None, [8, 8, 4])
    lines = lines_of(found.lines)
    assert [(line["frame"], line["seconds"]) for line in lines] == [(n, pytest.approx(n / 10)) for n in range(20)]
    for line in lines:
        blue, red = line["instances"]
        assert (red["class"], red["class_id"], red["score"]) == ("red", 0, 0.8)
        assert np.allclose(red["bbox_xywh"], [4 + 2 * line["frame"], 8, 16, 16], atol=1)
        assert blue["segmentation"]["size"] == [HEIGHT, WIDTH + 1]
        assert isinstance(Rle(HEIGHT, WIDTH + 1, blue["segmentation"]["counts"].encode()).counts, bytes)
        assert "track_id" not in red
    drawn = list(frames(found.video, progress=False))
    assert len(drawn) == 20
    assert drawn[5].pixels.shape == (HEIGHT, WIDTH + 1, 3)
    # The fill of class 0 is orange: red stays, and green comes up.
    assert drawn[5].pixels[16, 22, 1] > scene(5)[16, 22, 1] + 30
    assert np.allclose(drawn[5].pixels[60, 5], 90, atol=8)


def test_tracks_follow_what_moves(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackers")
    found = predict_video(Colours(), clip, tmp_path / "found", track=True, progress=False)
    assert found.tracks == {"red": 1, "blue": 1}
    lines = lines_of(found.lines)
    numbers = {(i["class"], i["track_id"]) for line in lines[2:] for i in line["instances"]}
    assert len(numbers) == 2
    assert None not in {number for _, number in numbers}


def test_what_was_done_before_an_interruption_can_be_used(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict_video(Colours(fails_at=12), clip, tmp_path / "out", progress=False)
    assert len(lines_of(tmp_path / "out" / "clip.jsonl")) == 12


def test_a_video_that_breaks_off(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.mp4").write_bytes(clip.read_bytes()[:900])
    with pytest.raises(DataError, match=r"torn\.mp4"):
        predict_video(Colours(), tmp_path / "torn.mp4", tmp_path / "found", progress=False)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_every_frame_before_a_break_is_written(
    batch_size: int, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: Any) -> Iterator[Frame]:
        yield from islice(frames(clip, progress=False), 8)
        raise DataError("The video breaks off after 8 frames.")

    monkeypatch.setattr(predicting_video, "frames", breaking)
    with pytest.raises(DataError, match="after 8 frames"):
        predict_video(Colours(), clip, tmp_path / "out", batch_size=batch_size, progress=False)
    assert [line["frame"] for line in lines_of(tmp_path / "out" / "clip.jsonl")] == list(range(8))
    assert len(list(frames(tmp_path / "out" / "clip.mp4", progress=False))) == 8


def test_without_the_tracker(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(DependencyError, match="trackers"):
        predict_video(Colours(), clip, tmp_path / "found", track=True, progress=False)
    assert not (tmp_path / "found").exists()


def clip_of(path: Path, frames: int) -> Path:
    with VideoWriter(path, Fraction(10)) as writer:
        for at in range(frames):
            writer.write(scene(at))
    return path


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_the_source_is_never_written_over(clip: Path, tmp_path: Path, options: dict[str, bool]) -> None:
    before = clip.read_bytes()
    with pytest.raises(OutputExistsError, match="is among"):
        predict_video(Colours(), clip, clip.parent, progress=False, **options)
    # Nor through a link, nor where it is named otherwise.
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clip.mp4").hardlink_to(clip)
    with pytest.raises(OutputExistsError, match=r"not empty|not written by a prediction"):
        predict_video(Colours(), clip, tmp_path / "out", progress=False, **options)
    assert clip.read_bytes() == before and not list(tmp_path.rglob("*.jsonl"))


def test_two_videos_of_one_name_do_not_meet(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = predict_video(Colours(), clip, out, progress=False)
    kept = first.video.read_bytes(), first.lines.read_bytes()
    (tmp_path / "b").mkdir()
    other = clip_of(tmp_path / "b" / "clip.mp4", 3)
    for source, said in ((other, "another video"), (clip_of(tmp_path / "b" / "clip.mov", 3), "another video")):
        with pytest.raises(OutputExistsError, match=said):
            predict_video(Colours(), source, out, resume=True, progress=False)
    with pytest.raises(OutputExistsError, match="not empty"):
        predict_video(Colours(), other, out, progress=False)
    assert kept == (first.video.read_bytes(), first.lines.read_bytes())
    beside = predict_video(Colours(), clip_of(tmp_path / "b" / "more.mp4", 3), out, resume=True, progress=False)
    assert beside.frames == 3 and kept == (first.video.read_bytes(), first.lines.read_bytes())
    assert predict_video(Colours(), other, out, overwrite=True, progress=False).frames == 3
    assert len(lines_of(first.lines)) == 3


def test_what_is_finished_is_not_done_again(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_video(Colours(fails_at=12), clip, out, progress=False)
    model = Colours()
    first = predict_video(model, clip, out, resume=True, progress=False)
    assert len(model.sizes) == 20 and len(lines_of(first.lines)) == 20
    model = Colours()
    assert predict_video(model, clip, out, resume=True, progress=False) == first and model.sizes == []
    assert predict_video(model, clip, out, confidence=0.4, resume=True, progress=False) == first
    assert len(model.sizes) == 20


def test_names_may_be_strings_and_wrong_ones_are_told(clip: Path, tmp_path: Path) -> None:
    found = predict_video(Colours(), str(clip), str(tmp_path / "out"), progress=False)
    assert found.video == tmp_path / "out" / "clip.mp4"
    with pytest.raises(UsageError, match="between 0 and 1"):
        predict_video(Colours(), clip, tmp_path / "b", confidence=50, progress=False)
    with pytest.raises(MissingInputError, match=r"no video gone\.mp4"):
        predict_video(Colours(), "gone.mp4", tmp_path / "b", progress=False)
    with pytest.raises(MissingInputError, match="no model gone"):
        predict_video("gone", clip, tmp_path / "b", progress=False)
    assert not (tmp_path / "b").exists()


@pytest.mark.train
def test_through_the_command_line(
    clip: Path, speaking_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = clip.read_bytes()
    args = ["predict", str(speaking_run), str(clip), "--confidence", "0.05", "--device", "cpu", "-q"]
    assert main([*args, "--output", str(clip.parent), "--resume"]) == 2
    assert "is among" in capsys.readouterr().err and clip.read_bytes() == before
    assert main([*args, "--output", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 20
    assert main([*args, "--output", str(tmp_path / "out"), "--json", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out) == told


def test_tiles_join_what_they_share_and_too_large_ones_are_said(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = predict_video(Colours(), clip, tmp_path / "plain", progress=False)
    tiled = predict_video(Colours(), clip, tmp_path / "tiled", tiles=48, overlap=0.4, progress=False)
    assert "not larger than a tile" not in caplog.text
    assert tiled.frames == plain.frames == 20 and tiled.counts == plain.counts
    large = predict_video(Colours(), clip, tmp_path / "large", tiles=500, progress=False)
    assert large.counts == plain.counts
    assert caplog.text.count("is not larger than a tile of 500 pixels: it is predicted whole") == 1
