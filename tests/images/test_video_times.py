"""Videos of a variable rate, with faults in their times, rotated or cut: what is read, sampled, tracked and written."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv

from autodistill_rfdetr_seg.core.errors import DataError, DependencyError
from autodistill_rfdetr_seg.images.frame_files import extract_frames
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.images.video_frames import frames, timing_of
from autodistill_rfdetr_seg.images.video_times import Clock, usual_step
from autodistill_rfdetr_seg.images.video_writer import VideoWriter
from autodistill_rfdetr_seg.predict.tracking import Tracker
from autodistill_rfdetr_seg.predict.video_prediction import predict_video

av = pytest.importorskip("av")
HEIGHT, WIDTH, SIDE = 64, 96, 16
MS = Fraction(1, 1000)
LAST = Fraction(1, 25)  # how long the last frame of a film is shown
NTSC = [Fraction(1001 * i, 24000) for i in range(24)]
# 13 frames at 30 a second, then 5 a second, in whole milliseconds.
VARIABLE = [Fraction(round(1000 * i / 30), 1000) for i in range(13)] + [Fraction(i, 5) for i in range(3, 14)]
RECORDED = [Fraction(i, 25) for i in range(25)]
LONG = [Fraction(i, 50) for i in range(70)] + [Fraction(7, 5) + Fraction(i * i % 7 + 7 * i, 90) for i in range(1, 80)]


def left_of(at: int) -> int:
    return 4 * (at % 20)


def scene(at: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A red square on grey, four pixels further to the right in each frame."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[24 : 24 + SIDE, left_of(at) : left_of(at) + SIDE] = (230, 30, 30)
    return pixels


def film(path: Path, pictures: Sequence[np.ndarray], times: Sequence[Fraction], tick: Fraction, **options: Any) -> Path:
    """Writes frames at their times; `rate` is what the file states, `turned` its display matrix in degrees."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(options.get("codec", "libx264"), rate=options.get("rate", 25))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = options.get("pix_fmt", "yuv420p")
        stream.options = {"bf": str(options.get("bf", 0)), "crf": "12"}
        stream.time_base = stream.codec_context.time_base = tick
        if "turned" in options:
            stream.set_display_rotation(options["turned"])
        stamps = [round(seconds / tick) for seconds in times]
        durations = dict(
            zip(stamps, (b - a for a, b in pairwise([*stamps, stamps[-1] + round(LAST / tick)])), strict=True)
        )
        for pixels, stamp in [*zip(pictures, stamps, strict=True), (None, 0)]:
            frame = None
            if pixels is not None:
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = stamp, tick
            for packet in stream.encode(frame):
                packet.duration = durations[packet.pts]
                container.mux(packet)
    return path


def scenes(count: int) -> list[np.ndarray]:
    return [scene(at) for at in range(count)]


class Red:
    """A model that finds what is red."""

    class_names = ("square",)

    def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
        masks = [(image[..., 0].astype(int) > image[..., 2] + 80)[None] for image in images]
        return [
            sv.Detections(sv.mask_to_xyxy(m).astype(float), mask=m, confidence=np.array([0.9]), class_id=np.array([0]))
            for m in masks
        ]


def raw_times(path: Path) -> tuple[list[Fraction], float]:
    """The timestamps as PyAV reads them, and the length of the file in seconds."""
    with av.open(str(path)) as container:
        times = [frame.pts * Fraction(frame.time_base) for frame in container.decode(video=0)]
        return times, container.duration / av.time_base


KINDS: dict[str, tuple[str, list[Fraction], Fraction, dict[str, Any]]] = {
    "24000/1001": ("mp4", NTSC, Fraction(1, 24000), {"rate": Fraction(24000, 1001)}),
    "24000/1001 in milliseconds": ("mkv", NTSC, MS, {"rate": Fraction(24000, 1001)}),
    "variable": ("mp4", VARIABLE, Fraction(1, 16000), {"rate": 30}),
    "variable in milliseconds": ("mkv", VARIABLE, MS, {"rate": 30}),
    "states 1000 a second": ("mkv", RECORDED, MS, {"rate": 1000}),
    "starts late": ("mkv", [5 + time for time in VARIABLE], MS, {}),
    "reordered": ("mp4", VARIABLE, Fraction(1, 90000), {"bf": 3}),
    "microseconds": ("mov", NTSC, Fraction(1, 1_000_000), {"rate": Fraction(24000, 1001)}),
    "several pieces": ("mp4", LONG, Fraction(1, 90000), {}),
    "no durations": ("ts", VARIABLE, Fraction(1, 90000), {"bf": 2}),
    "one frame": ("mp4", NTSC[:1], Fraction(1, 24000), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_predicted_video_keeps_its_times(kind: str, tmp_path: Path) -> None:
    suffix, times, tick, options = KINDS[kind]
    clip = film(tmp_path / f"clip.{suffix}", scenes(len(times)), times, tick, **options)
    read, length = raw_times(clip)
    if suffix != "mkv":
        assert [time - read[0] for time in read] == pytest.approx(times, abs=1e-6)
    found = predict_video(Red(), clip, tmp_path / "out", batch_size=5, progress=False)
    written, written_length = raw_times(found.video)
    own = [float(time - read[0]) for time in read]
    assert len(written) == len(times) == found.frames
    assert [float(time) for time in written] == pytest.approx(own, abs=1e-5)
    if kind == "reordered":
        # What such a file states is shorter than its last timestamp: it counts from the first time of decoding.
        assert length < own[-1] < written_length <= own[-1] + 0.2
    else:
        assert written_length == pytest.approx(length - (5 if kind == "starts late" else 0), abs=1e-3)
    lines = [json.loads(line) for line in found.lines.read_text("utf-8").splitlines()]
    assert [line["seconds"] for line in lines] == pytest.approx(own, abs=1e-6)
    # The mask of each frame is drawn on that frame: its orange brings green to the square of that frame alone.
    for at, (frame, line) in enumerate(zip(frames(found.video, progress=False), lines, strict=True)):
        left = left_of(at)
        assert line["instances"][0]["bbox_xywh"] == pytest.approx([left, 24, SIDE, SIDE], abs=2)
        row = frame.pixels[32].astype(int)
        orange = np.flatnonzero((row[:, 0] > row[:, 2] + 60) & (row[:, 1] > 65))
        assert abs(orange.min() - left) <= 2 and abs(orange.max() - left - SIDE + 1) <= 2, at


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_turned_video_is_written_upright(suffix: str, tmp_path: Path) -> None:
    tick = MS if suffix == "mkv" else Fraction(1, 16000)
    clip = film(tmp_path / f"clip.{suffix}", scenes(24), VARIABLE, tick, turned=90)
    found = predict_video(Red(), clip, tmp_path / "out", progress=False)
    for written, read in zip(raw_times(found.video), raw_times(clip), strict=True):
        assert written == pytest.approx(read)
    with av.open(str(found.video)) as container:
        for at, frame in enumerate(container.decode(video=0)):
            assert frame.side_data.get("DISPLAYMATRIX") is None and (frame.width, frame.height) == (HEIGHT, WIDTH)
            row = frame.to_ndarray(format="rgb24")[:, 32].astype(int)
            reds = np.flatnonzero(row[:, 0] > row[:, 2] + 60)
            assert abs(reds.max() - (WIDTH - 1 - left_of(at))) <= 2


@pytest.mark.parametrize("fps", [0.5, 1, 2, 4, 5, 11, 30, 200])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_frames_nearest_to_the_due_times_are_taken(suffix: str, fps: float, tmp_path: Path) -> None:
    tick = MS if suffix == "mkv" else Fraction(1, 16000)
    clip = film(tmp_path / f"clip.{suffix}", scenes(len(VARIABLE)), VARIABLE, tick, rate=30)
    paths = extract_frames(clip, tmp_path, every=None, fps=fps, scene_changes=False, progress=False)
    due = [k / Fraction(str(fps)) for k in range(math.floor(Fraction("2.61666") * Fraction(str(fps))) + 1)]
    nearest = {min(range(len(VARIABLE)), key=lambda at: (abs(VARIABLE[at] - one), at)) for one in due}
    assert [int(path.stem[-6:]) for path in paths] == sorted(nearest)
    if fps == 5:
        assert {6, 12} < nearest
    lefts = [int(np.flatnonzero(open_rgb(path)[32, :, 1] < 60).min()) for path in paths]
    assert lefts == pytest.approx([left_of(at) for at in sorted(nearest)], abs=1)


def test_a_frame_that_lasts_is_taken_for_what_is_due_within_it(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(2, 10)]
    with VideoWriter(tmp_path / "clip.mp4", Fraction(10)) as writer:
        for at, time in enumerate(times):
            writer.write(scene(at), time, Fraction(4) if at == 2 else Fraction(1, 10))
    shown = list(frames(tmp_path / "clip.mp4", progress=False))
    assert [(one.seconds, one.duration) for one in shown] == [(times[0], times[1]), (times[1], times[1]), (times[2], 4)]
    for fps, expected in ((0.25, [0, 2]), (0.2, [0]), (1.0, [0, 2])):
        paths = extract_frames(tmp_path / "clip.mp4", tmp_path, every=None, fps=fps, scene_changes=False)
        assert [int(path.stem[-6:]) for path in paths] == expected


def test_windows_of_scene_changes_begin_at_the_nearest_frames(tmp_path: Path) -> None:
    pictures = [np.full((HEIGHT, WIDTH, 3), 60, np.uint8) for _ in VARIABLE]
    pictures[5][:] = 120  # before the frame nearest to 0.2 s, so in the window of 0 s, whose first frame is taken
    pictures[6][:] = 180
    pictures[12][:] = 240  # nearest to 0.4 s
    clip = film(tmp_path / "clip.mkv", pictures, VARIABLE, MS, rate=30)
    paths = extract_frames(clip, tmp_path, every=None, fps=5, scene_changes=True, progress=False)
    assert [int(path.stem[-6:]) for path in paths] == [0, 6, 12, 13]


def test_a_clock_keeps_what_can_be_kept() -> None:
    def read(*timestamps: int | None) -> list[float]:
        clock = Clock(MS, Fraction(40, 1000))
        return [float(clock.seconds(one) * 1000) for one in timestamps]

    assert read(5000, 5040, 5200) == [0, 40, 200]
    assert read(-80, -40, 0) == [0, 40, 80]
    # Twice the same, or a little back: only that frame is moved.
    assert read(0, 40, 40, 80, 75, 120) == [0, 40, 41, 80, 81, 120]
    # Without a timestamp: a step; the next known one holds.
    assert read(None, None, None) == [0, 40, 80]
    assert read(0, None, 90, None, 500) == [0, 40, 90, 130, 500]
    # Joined: the second recording is shifted as a whole, the third as well.
    assert read(0, 40, 80, 0, 50, 100, 0, 40) == [0, 40, 80, 120, 170, 220, 260, 300]
    # A coarse clock: a moved frame does not reach the next one.
    clock = Clock(Fraction(1, 30), Fraction(1, 30))
    assert [30 * clock.seconds(one) for one in (0, 1, 1, 2)] == [0, 1, Fraction(5, 4), 2]
    assert usual_step([0, 40, 80, 0, 40, 40, 90]) == 40 and usual_step([7]) is None


@pytest.mark.slow
def test_a_matroska_file_that_was_cut_off_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"
    film(whole, scenes(250), [7 + Fraction(at, 25) for at in range(250)], MS, bf=2)
    assert len(list(frames(whole, progress=False))) == 250
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    found = []
    with pytest.raises(DataError, match=r"is cut off after \d+ frames, at \d+\.\d of 17\.0 seconds"):
        for one in frames(cut, progress=False):
            found.append(one.number)
    assert 0 < len(found) < 200


def test_joined_recordings_follow_each_other(tmp_path: Path) -> None:
    part = film(tmp_path / "part.ts", scenes(12), RECORDED[:12], Fraction(1, 90000), bf=2).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    read = list(frames(tmp_path / "joined.ts", progress=False))
    assert [frame.seconds for frame in read] == [Fraction(i, 25) for i in range(24)]
    found = predict_video(Red(), tmp_path / "joined.ts", tmp_path / "out", progress=False)
    assert raw_times(found.video) == ([Fraction(i, 25) for i in range(24)], pytest.approx(24 / 25))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_with_reordered_frames(codec: str, tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.avi", scenes(12), RECORDED[:12], Fraction(1, 25), bf=2, codec=codec)
    assert [frame.seconds for frame in frames(clip, progress=False)] == RECORDED[:12]


def test_a_stream_without_timestamps(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.m4v", scenes(12), RECORDED[:12], Fraction(1, 25), codec="mpeg4")
    assert [frame.seconds for frame in frames(clip, progress=False)] == RECORDED[:12]
    assert timing_of(clip).step == Fraction(1, 25)


def test_the_usual_step_is_not_what_a_clock_states(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mkv", scenes(25), RECORDED, MS, rate=1000)
    assert timing_of(clip) == (MS, Fraction(1, 25))


def boxes(*lefts: float) -> sv.Detections:
    xyxy = np.array([[left, 20, left + 20, 40] for left in lefts], float).reshape(-1, 4)
    return sv.Detections(xyxy, confidence=np.full(len(lefts), 0.9), class_id=np.zeros(len(lefts), int))


def followed(seconds: Sequence[Fraction], speed: float, step: Fraction) -> list[int | None]:
    pytest.importorskip("trackers")
    tracker = Tracker(0.5, step)
    return [tracker.track_numbers(boxes(speed * float(time)), time)[0] for time in seconds]


def test_a_track_goes_on_where_its_instance_has_come_to() -> None:
    step = Fraction(1, 25)
    # 100 pixels a second, and a gap of 0.6 s: three times the width of the box, so there is no overlap without times.
    before = [i * step for i in range(20)]
    after = [before[-1] + Fraction(3, 5) + i * step for i in range(10)]
    assert followed([*before, *after], 100, step)[1:] == [0] * 29
    # Longer than a second: it is lost, however few frames that is, and whether it moves or not.
    late = [before[-1] + Fraction(6, 5) + i * step for i in range(10)]
    assert followed([*before, *late], 0, step)[1:] == [0] * 19 + [None] + [1] * 9


@pytest.mark.parametrize("step", [Fraction(1, 2), Fraction(2), Fraction(60), Fraction(1001, 2000)])
def test_few_frames_a_second_are_followed_over_one_miss(step: Fraction) -> None:
    pytest.importorskip("trackers")
    tracker = Tracker(0.5, step)
    numbers = [tracker.track_numbers(boxes() if at == 5 else boxes(3 * at), at * step) for at in range(10)]
    assert numbers == [[None], [0], [0], [0], [0], [], [0], [0], [0], [0]]


def test_tracks_through_a_pause(tmp_path: Path) -> None:
    pytest.importorskip("trackers")
    times = [Fraction(i, 25) for i in (*range(12), *range(20, 24))]
    pictures = [np.full((HEIGHT, 8 * WIDTH, 3), 90, np.uint8) for _ in times]
    for pixels, time in zip(pictures, times, strict=True):
        left = 10 + int(25 * 12 * time)
        pixels[20:44, left : left + 24] = (230, 30, 30)
    clip = film(tmp_path / "clip.mkv", pictures, times, MS)
    found = predict_video(Red(), clip, tmp_path / "out", track=True, progress=False)
    assert found.tracks == {"square": 1}


def test_a_tracker_that_takes_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    trackers = pytest.importorskip("trackers")
    monkeypatch.setattr(trackers.ByteTrackTracker, "update", lambda self, detections: detections)
    with pytest.raises(DependencyError, match=r"2\.6 or later"):
        Tracker(0.5, Fraction(1, 25))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_what_is_written_plays_as_far_as_it_came(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autodistill_rfdetr_seg.images import video_writer

    monkeypatch.setattr(video_writer, "_CODECS", {codec: video_writer._CODECS[codec]})
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, Fraction(25), Fraction(1, 90000)) as writer:
        for at, time in enumerate(LONG):
            writer.write(scene(at), time)
        (tmp_path / "killed.mp4").write_bytes(path.read_bytes())
    times, length = raw_times(path)
    assert times == pytest.approx(LONG, abs=1e-5) and length == pytest.approx(LONG[-1] + Fraction(1, 25), abs=1e-5)
    killed = [frame.seconds for frame in frames(tmp_path / "killed.mp4", progress=False)]
    assert len(killed) >= 24 and killed == pytest.approx(LONG[: len(killed)], abs=1e-5)


def test_an_odd_side_loses_nothing(tmp_path: Path) -> None:
    pixels = np.full((HEIGHT - 1, WIDTH - 1, 3), 90, np.uint8)
    pixels[-2:], pixels[:, -2:] = 240, 240
    with VideoWriter(tmp_path / "clip.mp4", Fraction(10)) as writer:
        writer.write(pixels)
    (read,) = frames(tmp_path / "clip.mp4", progress=False)
    assert read.pixels.shape == (HEIGHT, WIDTH, 3)
    assert read.pixels[-3:].min() > 200 and read.pixels[:, -3:].min() > 200
    assert np.abs(read.pixels[:-4, :-4].astype(int) - 90).max() < 25


def test_a_video_with_odd_sides_is_predicted_whole(tmp_path: Path) -> None:
    pictures = [np.roll(scene(at, 63, 97), 77, axis=1) for at in range(3)]  # up to the last column
    clip = film(tmp_path / "clip.mkv", pictures, RECORDED[:3], MS, pix_fmt="yuv444p")
    found = predict_video(Red(), clip, tmp_path / "out", progress=False)
    lines = [json.loads(line) for line in found.lines.read_text("utf-8").splitlines()]
    assert [line["instances"][0]["segmentation"]["size"] for line in lines] == [[63, 97]] * 3
    assert [line["instances"][0]["bbox_xywh"][0] for line in lines] == [77, 81, 0]
    assert [frame.pixels.shape for frame in frames(found.video, progress=False)] == [(64, 98, 3)] * 3


def test_a_pause_that_is_too_long_for_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(400_000), Fraction(400_001)]
    with caplog.at_level(logging.WARNING), VideoWriter(tmp_path / "clip.mp4", Fraction(10), MS) as writer:
        for at, time in enumerate(times):
            writer.write(scene(at), time)
    assert "clip.mp4: a pause of 111 hours" in caplog.text
    read = [float(frame.seconds) for frame in frames(tmp_path / "clip.mp4", progress=False)]
    # What follows the pause keeps its distances.
    assert read[1] == pytest.approx(0.1) and read[2] > 200_000 and read[3] - read[2] == pytest.approx(1, abs=1e-3)
