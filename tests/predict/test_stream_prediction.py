"""Streams from real servers on loopback: RTSP, MJPEG over HTTP, and what goes wrong with each."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import DataError, OutputExistsError, UsageError
from autodistill_rfdetr_seg.images.live_frames import LiveFrames, is_camera, is_stream_url, public_name
from autodistill_rfdetr_seg.images.video_frames import frames
from autodistill_rfdetr_seg.images.video_writer import VideoWriter
from autodistill_rfdetr_seg.predict.stream_prediction import predict_stream

pytest.importorskip("av")
HEIGHT, WIDTH, RATE, COUNT = 64, 128, 25, 50


def scene(at: int) -> np.ndarray:
    """A red square that moves to the right."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[20:40, 4 + 2 * at : 24 + 2 * at] = (230, 20, 20)
    return pixels


class Reds:
    """A model that finds what is red, and takes a while for it."""

    class_names = ("red",)

    def __init__(self, seconds: float = 0.0, fails_at: int = -1) -> None:
        self.seconds, self.left = seconds, fails_at

    def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
        self.left -= 1
        if self.left == -1:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        masks = [image[..., 0].astype(int) > image[..., 1] + 60 for image in images]
        return [
            sv.Detections(sv.mask_to_xyxy(mask[None]).astype(float), mask[None], np.array([0.9]), np.array([0]))
            for mask in masks
        ]


@pytest.fixture(scope="module")
def rtsp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a clip that a server on loopback sends at its own rate."""
    from aio_rtsp_toolkit.server import RtspServer

    folder = tmp_path_factory.mktemp("served")
    with VideoWriter(folder / "clip.mp4", Fraction(RATE)) as writer:
        for at in range(COUNT):
            writer.write(scene(at))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = RtspServer(str(folder), "127.0.0.1", free_port())
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield f"rtsp://127.0.0.1:{server.port}/clip.mp4"
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Camera(BaseHTTPRequestHandler):
    """A camera that sends JPEGs one after the other; the path says how many, and what then: `end`, `hang` or `grow`."""

    def do_GET(self) -> None:
        name = Path(self.path.partition("?")[0]).stem
        count, then = name.split("-")
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for at in range(int(count)):
            self.send(scene(at))
            time.sleep(0.05)
        if then == "grow":
            for at in range(10):
                self.send(np.kron(scene(at), np.ones((2, 2, 1), np.uint8)))
        elif then == "hang":
            time.sleep(6)
        else:
            self.wfile.write(b"--frame--\r\n")

    def send(self, pixels: np.ndarray) -> None:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=95)
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(file.getvalue())}\r\n\r\n".encode()
        self.wfile.write(head + file.getvalue() + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_an_rtsp_stream_is_predicted_to_its_end(rtsp: str, tmp_path: Path) -> None:
    found = predict_stream(Reds(), rtsp, tmp_path / "out", allow_url=True, track=True, progress=False)
    assert found.frames + found.dropped == found.received and found.frames > COUNT // 5
    assert found.counts == {"red": found.frames} and found.tracks == {"red": 1}
    assert found.lines is not None and found.video is not None and found.lines.name.endswith("clip.mp4.jsonl")
    lines = lines_of(found.lines)
    assert len(lines) == found.frames and sum(line["dropped"] for line in lines) <= found.dropped
    numbers = [line["frame"] for line in lines]
    assert numbers == sorted(set(numbers)) and numbers[-1] < found.received
    seconds = [line["seconds"] for line in lines]
    assert seconds[0] == 0 and seconds == sorted(seconds) and 0.8 < seconds[-1] < 6
    # The square moves on with the frames that were predicted.
    lefts = [line["instances"][0]["bbox_xywh"][0] for line in lines]
    assert lefts == sorted(lefts) and lefts[-1] - lefts[0] > 20
    drawn = list(frames(found.video, progress=False))
    assert len(drawn) == found.frames and drawn[0].pixels.shape == (HEIGHT, WIDTH, 3)
    assert abs(float(drawn[-1].seconds) - seconds[-1]) < 0.01
    record = json.loads(found.lines.with_suffix(".json").read_text())
    assert record["frames"] == found.frames and record["dropped"] == found.dropped


def test_a_slow_model_gets_the_newest_frame_and_counts_what_it_missed(rtsp: str, tmp_path: Path) -> None:
    found = predict_stream(Reds(0.25), rtsp, tmp_path / "out", allow_url=True, progress=False)
    assert found.dropped > found.frames > 2 and found.frames + found.dropped == found.received
    lines = lines_of(found.lines or Path())
    # From one frame to the next the time of the model goes by, not the time of a frame.
    steps = np.diff([line["seconds"] for line in lines])
    assert np.median(steps) > 0.2 and all(line["dropped"] > 0 for line in lines[1:-1])


def test_mjpeg_over_http_from_the_command_line(
    camera: str, speaking_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{camera}/12-end.mjpg"
    command = ["predict", str(speaking_run), url, "--confidence", "0.05", "-q", "--device", "cpu"]
    assert main(command) == 2
    assert "--allow-url" in capsys.readouterr().err
    assert main([*command, "--allow-url", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 0 < len(lines) <= 12 and lines[0]["frame"] >= 0 and all("instances" in line for line in lines)
    # An address that does not look like a stream is asked for by name.
    plain = [part.replace(".mjpg", "") for part in command]
    assert main([*plain, "--allow-url", "--stream", "--duration", "0.3"]) == 0
    assert re.search(r"^\d+\.\d\d s: ", capsys.readouterr().out)
    assert main([*plain, "--allow-url", "--stream", "--watch"]) == 2


@pytest.mark.parametrize(
    ("name", "frames_before", "said"),
    [
        ("5-hang.mjpg", True, "froze"),
        ("3-grow.mjpg", True, "changed the size of its frames"),
        ("0-hang.mjpg", False, ""),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_what_was_before_is_kept(
    camera: str, tmp_path: Path, name: str, frames_before: bool, said: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match=said) as caught:
        predict_stream(Reds(), f"{camera}/{name}", out, allow_url=True, timeout=1.5, progress=False)
    assert "\n" not in str(caught.value.message) and "127.0.0.1" in caught.value.message
    if frames_before:
        (lines,) = out.glob("*.jsonl")
        assert 0 < len(lines_of(lines)) <= 5 and json.loads(lines.with_suffix(".json").read_text())["frames"] > 0
        assert len(list(frames(lines.with_suffix(".mp4"), progress=False))) == len(lines_of(lines))
    else:
        assert not out.exists()


def test_a_stream_that_was_never_there_leaves_nothing(tmp_path: Path) -> None:
    secret = f"rtsp://user:passw0rd@127.0.0.1:{free_port()}/live?token=t0ken"
    with pytest.raises(DataError, match=r"rtsp://127.0.0.1:\d+/live cannot be opened") as caught:
        predict_stream(Reds(), secret, tmp_path / "out", allow_url=True, progress=False)
    assert "passw0rd" not in repr(caught.value) and "t0ken" not in repr(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="is a URL") as refused:
        predict_stream(Reds(), secret, tmp_path / "out", progress=False)
    assert "passw0rd" not in str(refused.value)
    with pytest.raises(UsageError, match=r"clip.mp4 is neither the number of a camera nor a URL"):
        predict_stream(Reds(), "clip.mp4", tmp_path / "out", allow_url=True, progress=False)
    with pytest.raises(DataError, match="camera 97 cannot be opened"):
        predict_stream(Reds(), "97", tmp_path / "out", progress=False)
    for option in ({"timeout": 0.0}, {"duration": -1.0}):
        with pytest.raises(UsageError, match="must be above 0"):
            predict_stream(Reds(), "0", progress=False, **option)  # type: ignore[arg-type]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("")
    with pytest.raises(OutputExistsError):
        predict_stream(Reds(), "0", tmp_path / "full", progress=False)


def test_an_interruption_loses_nothing(camera: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict_stream(Reds(fails_at=4), f"{camera}/40-end.mjpg", tmp_path / "out", allow_url=True, progress=False)
    (lines,) = (tmp_path / "out").glob("*.jsonl")
    assert len(lines_of(lines)) == 4
    assert len(list(frames(lines.with_suffix(".mp4"), progress=False))) == 4
    assert json.loads(lines.with_suffix(".json").read_text())["counts"] == {"red": 4}


def test_frames_are_counted_whoever_takes_them(camera: str) -> None:
    with LiveFrames(f"{camera}/10-end.mjpg", 5) as live:
        first = next(iter(live))
        time.sleep(0.3)
        second = next(iter(live))
        assert first.dropped == first.number and second.number > first.number
        rest = list(live)
    assert live.received == 10 and live.dropped == 10 - 2 - len(rest)


def test_what_is_a_stream() -> None:
    assert is_camera("0") and not is_camera("a") and not is_camera("-1")
    assert all(is_stream_url(url) for url in ("rtsp://h/x", "RTSPS://h", "http://h/a.m3u8?x=1", "https://h/v.MJPG"))
    assert not any(is_stream_url(url) for url in ("http://h/a.jpg", "photos", "http://h/", "https://h/a.mp4"))
    assert public_name("rtsp://u:p@[::1]:554/a/b?k=1#f") == "rtsp://[::1]:554/a/b"
    assert public_name("https://h/x") == "https://h/x" and public_name("2") == "camera 2"
