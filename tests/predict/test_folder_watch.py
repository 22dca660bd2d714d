"""A folder that is being filled: each image is predicted once, when it is whole."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import MissingInputError, OutputExistsError, UsageError
from autodistill_rfdetr_seg.predict import folder_watch
from autodistill_rfdetr_seg.predict.folder_watch import watch_folder


class Squares:
    """A model that finds the bright pixels, and remembers the sizes it was asked about."""

    class_names = ("square",)

    def __init__(self, stops_at: int = -1) -> None:
        self.widths: list[int] = []
        self.stops_at = stops_at

    def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
        if len(self.widths) == self.stops_at:
            raise KeyboardInterrupt
        self.widths += [image.shape[1] for image in images]
        masks = [image[..., 0] > 128 for image in images]
        return [
            sv.Detections(sv.mask_to_xyxy(mask[None]).astype(float), mask[None], np.array([0.9]), np.array([0]))
            for mask in masks
        ]


def picture(width: int) -> bytes:
    pixels = np.zeros((20, width, 3), np.uint8)
    pixels[5:15, 5:15] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def lines_of(output: Path) -> list[dict[str, Any]]:
    path = output / "predictions.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.is_file() else []


def wait(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_images_are_predicted_as_they_come_and_when_they_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watch, "_PAUSE", 0.2)
    photos, out, model = tmp_path / "photos", tmp_path / "out", Squares()
    photos.mkdir()
    (photos / "30.png").write_bytes(picture(30))
    results = []
    thread = threading.Thread(
        target=lambda: results.append(watch_folder(model, photos, out, duration=6.0, progress=False))
    )
    thread.start()
    wait(lambda: len(lines_of(out)) == 1)
    data = picture(40)
    with (photos / "40.png").open("wb") as file:  # grows for two looks at the folder
        for part in (data[:20], data[20:40], data[40:]):
            file.write(part)
            file.flush()
            time.sleep(0.15)
    (photos / "deep").mkdir()
    (photos / "deep" / "torn.png").write_bytes(data[:60])
    wait(lambda: len(lines_of(out)) == 2)
    (photos / "30.png").write_bytes(picture(35))  # another image of that name
    thread.join(30)
    (result,) = results
    assert model.widths == [30, 40, 35]
    assert result.counts == {name: {"square": 1} for name in ("30.png", "40.png")}
    assert list(result.failures) == ["deep/torn.png"]
    found = json.loads((out / "predictions.json").read_text())
    assert [(one["file_name"], one["width"]) for one in found["images"]] == [("30.png", 35), ("40.png", 40)]
    # Again, with what is there already.
    again = Squares()
    assert watch_folder(again, photos, out, duration=0.8, resume=True, progress=False).counts == result.counts
    assert again.widths == []


def test_an_interruption_writes_what_is_done(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for width in (30, 31, 32):
        (photos / f"{width}.png").write_bytes(picture(width))
    with pytest.raises(KeyboardInterrupt):
        watch_folder(Squares(stops_at=2), photos, out, progress=False)
    assert [one["file_name"] for one in json.loads((out / "predictions.json").read_text())["images"]] == [
        "30.png",
        "31.png",
    ]


def test_what_cannot_be_watched_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    out = tmp_path / "out"
    with pytest.raises(MissingInputError, match="There is no folder"):
        watch_folder(Squares(), tmp_path / "gone", out, progress=False)
    with pytest.raises(OutputExistsError, match="among the images"):
        watch_folder(Squares(), tmp_path / "photos", tmp_path / "photos" / "out", progress=False)
    with pytest.raises(UsageError, match="above 0"):
        watch_folder(Squares(), tmp_path / "photos", out, duration=0.0, progress=False)
    assert not out.exists()
    assert main(["predict", "gone.pth", str(tmp_path / "photos"), "--watch"]) == 2
    assert "--output" in capsys.readouterr().err
    assert main(["predict", "gone.pth", str(tmp_path / "photos"), "--duration", "3"]) == 2
