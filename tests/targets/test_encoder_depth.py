"""Models that read fewer than twelve encoder layers are built, stored and trained without the others."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill_rfdetr_seg.targets import checkpoint_of, vendor
from autodistill_rfdetr_seg.targets.encoder_depth import encoder_layers
from autodistill_rfdetr_seg.targets.inference.model_artifacts import TorchModel
from autodistill_rfdetr_seg.targets.training import trainer
from autodistill_rfdetr_seg.targets.training.trainer import FitTask, build_and_fit
from helpers.tiny_training import QUICK, TINY, draw

pytestmark = pytest.mark.train


def layers_of(detector: Any) -> int:
    return len(detector.model.model.backbone[0].encoder.encoder.encoder.layer)


@pytest.mark.parametrize("read", [[1], [2, 4], [3, 6, 9, 12]])
def test_the_encoder_ends_after_the_last_layer_that_is_read(read: list[int]) -> None:
    from rfdetr import RFDETRSegNano as Plain

    assert layers_of(vendor.build("nano", {**TINY, "device": "cpu", "out_feature_indexes": read})) == read[-1]
    # Outside, rfdetr builds as ever.
    assert layers_of(Plain(**{**TINY, "device": "cpu", "out_feature_indexes": read})) == 12


def test_it_finds_what_plain_rfdetr_finds_in_its_checkpoint(speaking_run: Path) -> None:
    from rfdetr import RFDETR

    image, _ = draw(1)
    plain = RFDETR.from_checkpoint(str(checkpoint_of(speaking_run)), device="cpu")
    ours = vendor.load_checkpoint(checkpoint_of(speaking_run), False, "cpu")
    assert (layers_of(plain), layers_of(ours)) == (12, 2)
    found = [TorchModel(detector, None).predict_batch([image], 0.05)[0] for detector in (plain, ours)]
    assert len(found[0]) > 0
    for name in ("xyxy", "mask", "confidence", "class_id"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


def test_a_training_begun_with_all_layers_is_resumed_with_them(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {name: value for name, value in QUICK.items() if name != "progress"}
    options |= {"dataset_dir": str(trained_run / "dataset"), "num_workers": 0}
    last = tmp_path / "begun" / "last.ckpt"
    with monkeypatch.context() as before:
        before.setattr(trainer, "short_encoder", contextlib.nullcontext)
        task = FitTask("nano", TINY, {**options, "epochs": 1, "output_dir": str(last.parent)}, "cpu", None, False)
        build_and_fit(task)
    assert encoder_layers(last) == 12
    ended = tmp_path / "resumed"
    build_and_fit(FitTask("nano", TINY, {**options, "epochs": 2, "output_dir": str(ended)}, "cpu", last, False))
    assert encoder_layers(ended / "last.ckpt") == 12
    short = checkpoint_of(trained_run).stat().st_size
    assert short < 0.5 * (last.parent / "checkpoint_best_total.pth").stat().st_size
