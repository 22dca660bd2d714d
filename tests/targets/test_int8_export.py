"""8 bits: real quantization of a tiny model, and the gate that its accuracy must pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import GateError, MissingInputError, UsageError
from autodistill_rfdetr_seg.targets import load_artifact
from autodistill_rfdetr_seg.targets.export.int8_accuracy import (
    accuracy_failure,
    accuracy_sentence,
    calibration_inputs,
    compare_accuracy,
    valid_split,
)
from helpers.tiny_checkpoint import save
from helpers.tiny_training import write_coco


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("int8") / "run"
    save(root / "training" / "checkpoint_best_total.pth")
    write_coco(root / "dataset", {"train": 6, "valid": 3}, ((1, "ant"), (2, "Bee, 2nd")), used=2)
    return root


class Painted:
    """A model that finds the red squares; with `blur` pixels around them."""

    class_names = ("ant", "Bee, 2nd")

    def __init__(self, blur: int) -> None:
        self.blur = blur

    def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
        import cv2

        found = []
        for image in images:
            reds = (image[..., 0].astype(int) > image[..., 1].astype(int) + 60).astype(np.uint8)
            around = np.ones((2 * self.blur + 1, 2 * self.blur + 1), np.uint8)
            mask = cv2.dilate(reds, around).astype(bool)[None]
            found.append(sv.Detections(sv.mask_to_xyxy(mask).astype(float), mask, np.array([0.9]), np.array([1])))
        return found


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_model_in_8_bits_is_smaller_and_compared(
    form: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(form)
    command = ["export", str(run), "--format", form, "--precision", "int8", "--json", "-q"]
    code = main([*command, "--output", str(tmp_path / "out")])
    captured = capsys.readouterr()
    # Random weights have instances with all but equal scores; the gates may refuse them, and then say so.
    assert code in (0, 5) and (code == 0 or "does not find what" in captured.err or "loses too much" in captured.err)
    root = tmp_path / ("out" if code == 0 else "out.failed")
    record = json.loads((root / "export.json").read_text())
    assert record["precision"] == "int8" and record["parity"]["bounds"]["mask_iou"] == 0.9
    accuracy = record["accuracy"]
    if record["parity"]["passed"]:
        assert (accuracy["images"], accuracy["split"], accuracy["largest_loss"]) == (3, "valid", 0.01)
    size = sum(path.stat().st_size for path in root.glob("model.*"))
    assert size < 0.5 * (run / "training" / "checkpoint_best_total.pth").stat().st_size
    model = load_artifact(root, "cpu")
    image = np.zeros((64, 48, 3), np.uint8)
    assert len(model.predict_batch([image] * 3, 0.0)) == 3 and model.precision == "int8"


def test_what_int8_needs_is_asked_for_before_anything_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    out = ["--output", str(tmp_path / "out"), "-q"]
    int8 = ["export", str(run), "--precision", "int8", *out]
    assert main([*int8, "--calibration", str(tmp_path / "empty")]) == 3
    assert "There is no image in" in capsys.readouterr().err
    assert main([*int8, "--calibration", str(tmp_path / "gone")]) == 3
    assert "no calibration images" in capsys.readouterr().err
    assert main(["export", str(run), "--calibration", str(tmp_path / "empty"), *out]) == 2
    assert "are for int8, not for fp32" in capsys.readouterr().err
    alone = save(tmp_path / "alone" / "checkpoint_best_total.pth")
    assert main(["export", str(alone), "--precision", "int8", *out]) == 2
    assert "this model has none" in capsys.readouterr().err
    assert main(["export", str(run), "--precision", "int8", "--format", "tensorrt", *out]) in (1, 2)
    assert not (tmp_path / "out").exists()
    for checkpoint in (None, alone):
        with pytest.raises(UsageError, match="valid split"):
            valid_split(checkpoint)
    with pytest.raises(MissingInputError, match="in a run"):
        calibration_inputs(None, None, {})


def test_calibration_is_on_the_train_split(run: Path) -> None:
    checkpoint = run / "training" / "checkpoint_best_total.pth"
    spec: dict[str, Any] = {"input_size": 24, "batch_size": 2, "mean": [0.5] * 3, "std": [0.25] * 3}
    inputs = list(calibration_inputs(None, checkpoint, spec)())
    assert len(inputs) == 6 and all(one.shape == (2, 3, 24, 24) and one.dtype == np.float32 for one in inputs)
    assert not np.array_equal(inputs[0], inputs[1])
    assert len(list(calibration_inputs(run / "dataset" / "valid", checkpoint, spec)())) == 3


def test_what_loses_accuracy_is_refused_with_the_figures(run: Path, tmp_path: Path) -> None:
    valid = run / "dataset" / "valid"
    same = compare_accuracy(Painted(0), Painted(0), valid)  # type: ignore[arg-type]
    assert same["passed"] and same["fp32"] == same["int8"] > 0
    worse = compare_accuracy(Painted(0), Painted(2), valid)  # type: ignore[arg-type]
    assert not worse["passed"] and worse["int8"] < worse["fp32"] - 0.01
    better = compare_accuracy(Painted(2), Painted(0), valid)  # type: ignore[arg-type]
    assert better["passed"]
    error = accuracy_failure(worse, tmp_path / "out.failed")
    assert isinstance(error, GateError)
    assert f"mask AP {worse['int8']:.3f} in int8, {worse['fp32']:.3f} in fp32, on 3 images" in error.message
    assert "It may lose 0.01" in str(error.hint) and "out.failed" in str(error.hint)
    undefined = {**worse, "fp32": None, "int8": None}
    assert accuracy_sentence(undefined).startswith("mask AP undefined in int8, undefined in fp32")
