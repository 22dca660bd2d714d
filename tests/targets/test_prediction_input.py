"""What `predict` may be given, and what the package's own functions may be: as the documents write it."""

from __future__ import annotations

import itertools
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

import autodistill_rfdetr_seg as package
from autodistill_rfdetr_seg.bases.base_images import bgr_of
from autodistill_rfdetr_seg.core.errors import AutodistillSegError, DataError, MissingInputError, UsageError
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.targets import RFDETRSeg, RFDETRSegNano, checkpoint_of, read_provenance, read_run
from helpers.paths import ROOT
from helpers.square_photos import config_of, scenes, written
from helpers.tiny_training import TINY, draw, write_coco


@pytest.fixture(scope="module")
def target() -> RFDETRSeg:
    """Random weights: what it finds means nothing, but is of the pixels that it was given."""
    return RFDETRSegNano(device="cpu", **TINY)


def same(one: sv.Detections, other: sv.Detections) -> bool:
    return len(one) == len(other) > 0 and np.allclose(one.confidence, other.confidence, atol=1e-6)


def save(folder: Path, names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for at, name in enumerate(names):
        Image.fromarray(draw(at)[0]).save(folder / f"{name}.png")
    return folder


def test_a_folder_gives_one_after_another_by_name(target: RFDETRSeg, tmp_path: Path) -> None:
    folder = save(tmp_path / "photos", "cab")
    save(folder / "deep", "x")
    for given in (folder, str(folder), sorted(folder.rglob("*.png"))):
        found = target.predict_many(given, 0.0)
        # Nothing is done before it is asked for, and no more than one image is held.
        assert iter(found) is found
        listed = list(found)
        names = ["a.png", "b.png", "c.png", "deep/x.png"]
        assert [one.metadata["image"] for one in listed] == [str(folder / name) for name in names]
        for one, name in zip(listed, names, strict=True):
            assert same(one, target.predict(folder / name, 0.0))
    assert not same(listed[0], listed[1])
    (folder / "b.png").write_bytes(b"\x89PNG")
    found = target.predict_many(folder, 0.0)
    assert len(next(found)) > 0
    with pytest.raises(DataError, match=r"b\.png"):
        next(found)
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingInputError, match="no image in"):
        target.predict_many(tmp_path / "none")


def test_a_video_gives_one_frame_after_another(target: RFDETRSeg, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from autodistill_rfdetr_seg.images.video_frames import frames
    from autodistill_rfdetr_seg.images.video_writer import VideoWriter

    clip = tmp_path / "clip.MP4"
    with VideoWriter(clip, Fraction(4)) as writer:
        for at in range(3):
            writer.write(draw(at)[0])
    found = target.predict_many(str(clip), 0.0)
    first = next(found)
    assert first.metadata == {"frame": 0, "seconds": 0.0}
    assert [one.metadata["seconds"] for one in found] == [0.25, 0.5]
    assert same(first, target.predict(next(iter(frames(clip, progress=False))).pixels, 0.0, color="rgb"))
    with pytest.raises(MissingInputError, match=r"no image gone\.mp4"):
        target.predict("gone.mp4")
    with pytest.raises(MissingInputError, match=r"no folder, video or image gone\.mp4"):
        target.predict_many("gone.mp4")
    (tmp_path / "torn.avi").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"torn\.avi"):
        target.predict_many(tmp_path / "torn.avi")


def test_predict_many_takes_one_image_or_several_of_any_kind(target: RFDETRSeg, tmp_path: Path) -> None:
    folder = save(tmp_path / "photos", "ab")
    paths = [folder / "a.png", str(folder / "b.png")]
    (alone,) = target.predict_many(paths[0], 0.0)
    assert alone.metadata == {"image": str(paths[0])} and same(alone, target.predict(paths[0], 0.0))
    # Read when the iterator comes to it: an endless source is no problem.
    taken = []
    endless = (taken.append(at) or draw(at % 2)[0] for at in itertools.count())
    first, second = itertools.islice(target.predict_many(endless, 0.0, color="rgb"), 2)
    assert taken == [0, 1] and first.metadata == {}
    assert same(first, target.predict(paths[0], 0.0)) and same(second, target.predict(paths[1], 0.0))
    mixed = target.predict_many([draw(0)[0], Image.open(paths[1]), folder], 0.0, color="rgb")
    assert same(next(mixed), first) and same(next(mixed), second)
    with pytest.raises(UsageError, match="is a folder"):
        next(mixed)
    # One image is a question for `predict`, and the rows of an array are not images.
    for one in (draw(0)[0], Image.open(paths[0]), 7):
        with pytest.raises(UsageError, match="a folder, a video or several images"):
            target.predict_many(one)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="did you mean 'bgr'"):
        target.predict_many(folder, color="bgrr")  # type: ignore[arg-type]


def test_predict_of_a_folder_or_video_warns_and_gives_the_same(target: RFDETRSeg, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from autodistill_rfdetr_seg.images.video_writer import VideoWriter

    folder = save(tmp_path / "photos", "ab")
    with VideoWriter(tmp_path / "clip.mp4", Fraction(4)) as writer:
        writer.write(draw(0)[0])
        writer.write(draw(1)[0])
    for source in (folder, tmp_path / "clip.mp4"):
        with pytest.warns(DeprecationWarning, match="use predict_many") as warned:
            old = target.predict(source, 0.0)
        assert [Path(one.filename) for one in warned] == [Path(__file__)]
        for one, other in zip(old, target.predict_many(source, 0.0), strict=True):
            assert same(one, other) and one.metadata == other.metadata


def test_a_tuple_is_a_list(target: RFDETRSeg, tmp_path: Path) -> None:
    folder = save(tmp_path / "photos", "ab")
    paths = (folder / "a.png", str(folder / "b.png"))
    listed = target.predict(paths, 0.0)
    assert isinstance(listed, list)
    assert all(same(one, target.predict(path, 0.0)) for one, path in zip(listed, paths, strict=True))
    # In a list each is one image, so that there are as many answers as questions.
    with pytest.raises(UsageError, match="is a folder") as caught:
        target.predict([folder])
    assert "predict_images" in str(caught.value.hint)
    (folder / "c.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    with pytest.raises(UsageError, match="is a video") as caught:
        target.predict([folder / "c.mp4"])
    assert "predict_video" in str(caught.value.hint)
    with pytest.raises(UsageError, match="must be a path"):
        target.predict({folder / "a.png"})


@pytest.mark.parametrize("confidence", [50, -1, float("nan")])
def test_a_confidence_that_is_none_is_refused(target: RFDETRSeg, confidence: float, tmp_path: Path) -> None:
    image = draw(0)[0]
    for given in (image, [image], []):
        with pytest.raises(UsageError, match="between 0 and 1"):
            target.predict(given, confidence)
    with pytest.raises(UsageError, match="between 0 and 1"):
        target.predict_many(save(tmp_path / "photos", "a"), confidence)
    with pytest.raises(UsageError, match="between 0 and 1"):
        target.predict_batch([image], confidence)
    assert len(target.predict(image, 1)) == 0 < len(target.predict(image, 0))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_pil_image_of_16_bits_is_what_its_file_is(target: RFDETRSeg, tmp_path: Path, suffix: str) -> None:
    grey = (draw(0)[0][:, :, 0].astype(np.uint16) * 200) + 999
    file = tmp_path / f"grey.{suffix}"
    Image.fromarray(grey).save(file)
    expected = open_rgb(file)
    assert 30 < expected.mean() < 120 and len(np.unique(expected)) == 2
    with Image.open(file) as image:
        assert np.array_equal(bgr_of(image), expected[:, :, ::-1])
        assert same(target.predict(image, 0.0), target.predict(file, 0.0))


def test_a_pil_image_is_read_as_files_are_but_not_turned(target: RFDETRSeg, tmp_path: Path) -> None:
    pixels = draw(0)[0]
    half = np.dstack([pixels, np.full(pixels.shape[:2], 120, np.uint8)])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(half).save(tmp_path / "half.png", exif=exif)
    for name, image in (("half", Image.open(tmp_path / "half.png")), ("palette", Image.fromarray(pixels).quantize(9))):
        if name == "palette":
            image.save(tmp_path / "palette.png", transparency=0)
            image = Image.open(tmp_path / "palette.png")
        expected = open_rgb(tmp_path / f"{name}.png")
        assert np.array_equal(bgr_of(image), expected[:, :, ::-1])
        lying = np.rot90(expected) if name == "half" else expected
        assert same(target.predict(image, 0.0), target.predict(np.ascontiguousarray(lying), 0.0, color="rgb"))
    (tmp_path / "torn.png").write_bytes((tmp_path / "half.png").read_bytes()[:-60])
    with pytest.raises(DataError, match="PIL image"):
        target.predict(Image.open(tmp_path / "torn.png"))


@pytest.mark.train
def test_what_the_documents_call_may_be_called_so(
    speaking_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    pytest.importorskip("trackers")
    from autodistill_rfdetr_seg.images.video_writer import VideoWriter

    monkeypatch.chdir(tmp_path)
    target = RFDETRSeg.from_checkpoint(str(checkpoint_of(str(speaking_run))), device="cpu")
    save(tmp_path / "photos", "01")
    with VideoWriter(tmp_path / "belt.mp4", Fraction(4)) as writer:
        for at in range(3):
            writer.write(draw(at)[0])
    target.export("parts-onnx")
    shutil.copytree(speaking_run, "runs/parts")
    pages = ("README.md", "docs/how_to/predict.md", "docs/reference/python.md")
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in pages]
    calls = re.findall(r"(?:target\.predict(?:_many)?|(?<!\w)load_artifact)\([^`()\n]*?\)", "\n".join(texts))
    assert {call.partition("(")[0] for call in calls} == {"load_artifact", "target.predict", "target.predict_many"}
    for call in dict.fromkeys(calls):
        eval(call, {"load_artifact": package.load_artifact, "target": target})
    blocks = re.findall(r"^```python\n(.*?)^```", texts[1], re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, {})
    assert sorted(path.name for path in (tmp_path / "found" / "pictures").iterdir()) == ["0.png.png", "1.png.png"]
    assert (tmp_path / "tracked" / "belt.mp4").is_file()
    assert len(list(target.predict_many("photos"))) == 2


@pytest.mark.train
def test_every_public_function_takes_strings(speaking_run: Path, tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"test": 1}, ((1, "ant"), (2, "bee")), used=2)
    gold, run, photos = str(data / "test"), str(speaking_run), str(save(tmp_path / "photos", "a"))
    pipeline = str(written(tmp_path / "p.yaml", config_of(scenes(tmp_path))))
    target = RFDETRSeg.from_checkpoint(checkpoint_of(run), device="cpu")
    out = iter(str(tmp_path / f"out{at}") for at in range(9))
    calls: dict[str, Any] = {
        "evaluate": lambda: package.evaluate(gold, []),
        "evaluate_model": lambda: package.evaluate_model(target, gold, progress=False),
        "read_coco": lambda: package.read_coco(gold),
        "validate_coco": lambda: package.validate_coco(gold),
        "load_artifact": lambda: package.load_artifact(run, "cpu"),
        "predict_images": lambda: package.predict_images(run, photos, next(out), device="cpu", progress=False),
        "read_run": lambda: read_run(str(speaking_run / "training")),
        "read_provenance": lambda: read_provenance(str(speaking_run / "training" / "checkpoint_best_total.pth")),
        "export_for_roboflow": lambda: target.export_for_roboflow(next(out)),
    }
    for name, call in calls.items():
        try:
            call()
        except AttributeError as error:
            pytest.fail(f"{name}: {error}")
    # A pipeline's file is read, and what is wrong with a path is one of our errors.
    with pytest.raises(UsageError, match="output"):
        package.run(pipeline)
    for wrong in (
        lambda: package.run("gone.yaml", "out"),
        lambda: package.load_artifact("gone"),
        lambda: package.benchmark("gone", progress=False),
        lambda: package.label("threshold", "gone", str(tmp_path / "x"), {"red": "x"}),
    ):
        with pytest.raises(AutodistillSegError):
            wrong()
