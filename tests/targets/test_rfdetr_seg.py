from __future__ import annotations

import csv
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg.core.config import TargetConfig
from autodistill_rfdetr_seg.core.errors import (
    DataError,
    MissingInputError,
    OutputExistsError,
    TrainingError,
    UnknownNameError,
    UsageError,
)
from autodistill_rfdetr_seg.core.types import Classes, SegDataset
from autodistill_rfdetr_seg.targets import RFDETRSeg, RFDETRSeg2XLarge, RFDETRSegNano, RFDETRSegSmall, read_run, vendor
from autodistill_rfdetr_seg.targets.training.training_data import find_dataset
from helpers.tiny_training import HEIGHT, QUICK, TINY, WIDTH, draw, write_coco

# 20 steps: no mask yet, but there is no doubt about the class. Only the last epoch is looked at.
LEARN = QUICK | {"epochs": 4, "lr": 3e-3, "skip_best_epochs": 3, "eval_interval": 4}


@dataclass
class RedThings(DetectionBaseModel):
    """A base that finds what is red in a BGR image, and calls it by the second prompt."""

    ontology: CaptionOntology

    def predict(self, input: np.ndarray) -> sv.Detections:
        mask = (input[..., 2] > 150) & (input[..., 0] < 100)
        ys, xs = np.nonzero(mask)
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], dtype=float)
        return sv.Detections(xyxy=box, mask=mask[None], class_id=np.array([1]), confidence=np.array([0.9]))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What autodistill's own label() writes."""
    root = tmp_path_factory.mktemp("autodistill")
    (root / "images").mkdir()
    for i in range(6):
        Image.fromarray(draw(i)[0]).save(root / "images" / f"{i}.jpg", quality=95)
    state = random.getstate()
    random.seed(0)
    RedThings(CaptionOntology({"x": "ant", "y": "bee"})).label(
        str(root / "images"), output_folder=str(root / "dataset")
    )
    random.setstate(state)
    return root


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Ids from 1, and the first class is never used: an id off by one would come out as "ant" or as no class at all.
    root = tmp_path_factory.mktemp("coco")
    return write_coco(root / "dataset", {"train": 4, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)


@dataclass
class Trained:
    target: RFDETRSeg
    output: Path


@pytest.fixture(scope="module")
def trained(coco: Path) -> Trained:
    target = RFDETRSegNano(device="cpu", **TINY)
    target.train(coco, **LEARN)
    return Trained(target, coco.parent / "training")


def test_sizes_and_options_are_checked_before_anything_is_built() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nano'"):
        RFDETRSeg("nanno")
    with pytest.raises(UnknownNameError, match="did you mean 'pretrain_weights'"):
        RFDETRSegNano(pretrained_weights=None)
    with pytest.raises(UsageError, match="num_queries") as caught:
        RFDETRSegNano(num_queries="many")
    assert "integer" in str(caught.value)
    with pytest.raises(UsageError, match="multiple of 24") as caught:
        RFDETRSegSmall(resolution=100)
    assert caught.value.hint == "Use 96 or 120."
    assert RFDETRSeg2XLarge().size == "2xlarge"
    assert RFDETRSeg("large").checkpoint is None


def test_the_positional_encoding_follows_the_resolution() -> None:
    assert vendor.model_config("nano", {"resolution": 96, "pretrain_weights": None}).positional_encoding_size == 8
    assert vendor.model_config("nano", {}).positional_encoding_size == 26


def test_train_options_are_checked(coco: Path, tmp_path: Path) -> None:
    target = RFDETRSegNano(device="cpu", **TINY)
    with pytest.raises(UnknownNameError, match="did you mean 'num_workers'"):
        target.train(coco, output=tmp_path / "a", num_worker=1)
    with pytest.raises(UsageError, match="option of the model") as caught:
        target.train(coco, output=tmp_path / "a", resolution=96)
    assert "RFDETRSeg(size, resolution=" in str(caught.value)
    with pytest.raises(UsageError, match="'dataset_dir' cannot be passed"):
        target.train(coco, output=tmp_path / "a", dataset_dir="x")
    with pytest.raises(UsageError, match="'epochs'"):
        target.train(coco, 0, output=tmp_path / "a")
    with pytest.raises(UsageError, match="There is no device 'gpu9'"):
        target.train(coco, output=tmp_path / "a", device="gpu9")
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_importing_needs_no_rfdetr_and_using_says_that_it_is_missing() -> None:
    code = """
import sys
sys.modules["rfdetr"] = None
from autodistill_rfdetr_seg.targets import RFDETRSegNano
target = RFDETRSegNano()
try:
    RFDETRSegNano(resolution=96)
except Exception as error:
    print(type(error).__name__, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("DependencyError Install it with: pip install")


# ---------------------------------------------------------------------------------------------- datasets


def test_a_dataset_without_instances_or_valid_split_is_refused(tmp_path: Path) -> None:
    empty = write_coco(tmp_path / "a", {"train": 2, "valid": 1}, ((1, "ant"),), used=1)
    file = empty / "train" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"annotations": []}))
    with pytest.raises(TrainingError, match="no instance in its 2 images") as caught:
        RFDETRSegNano().train(empty)
    assert "filters" in str(caught.value.hint)
    crowds = [row | {"iscrowd": 1} for row in content["annotations"]]
    file.write_text(json.dumps(content | {"annotations": crowds}))
    with pytest.raises(TrainingError, match="only 2 crowds in its 2 images") as caught:
        find_dataset(empty)
    assert "repair --crowds objects" in str(caught.value.hint)
    without = write_coco(tmp_path / "b", {"train": 2}, ((1, "ant"),), used=1)
    with pytest.raises(DataError, match=r"has no valid split, only train: it contains train/"):
        find_dataset(without)
    with pytest.raises(MissingInputError):
        find_dataset(tmp_path / "nowhere")
    (tmp_path / "c").mkdir()
    with pytest.raises(MissingInputError, match=r"no annotated images in .*, which contains nothing"):
        find_dataset(tmp_path / "c")
    with pytest.raises(DataError, match="is one set of images; training needs a train and a valid split"):
        find_dataset(without / "train")


def test_a_data_yaml_is_obeyed_and_may_not_lead_elsewhere(labelled: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(labelled / "dataset", moved)
    file = moved / "data.yaml"

    def content(source: Path) -> list[str]:
        return [truth.fingerprint for truth in find_dataset(source).splits.values()]

    as_it_was = content(labelled / "dataset")
    assert as_it_was == content(labelled / "dataset" / "data.yaml") and len(as_it_was) == 2
    names = "names: [ant, bee]\n"
    # The paths that label() wrote are those of another folder.
    with pytest.raises(DataError, match=r"out of|outside"):
        find_dataset(file)
    for text in (
        "train: ../train/images\nval: ../valid/images\n",
        "path: .\ntrain: [train/images]\nval: valid/images\n",
    ):
        file.write_text(names + text)
        assert content(file) == as_it_was
    file.write_text(names + "train: gone/images\nval: valid/images\n")
    with pytest.raises(MissingInputError, match="gone/images"):
        find_dataset(file)
    file.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(DataError):
        find_dataset(file)
    file.write_text(names + "train: train/images\nval: valid/images\n")
    for label in (moved / "train" / "labels").iterdir():
        label.write_text("1 0.5 0.5 0.2 0.2\n")
    with pytest.raises(TrainingError, match=r"no instance with a mask in its \d+ images"):
        find_dataset(file)
    next((moved / "train" / "labels").iterdir()).write_text("1 0.1 0.1 0.5 0.1 0.5 0.5\n")
    assert content(file)[0] != as_it_was[0] and content(file)[1] == as_it_was[1]


def test_a_seg_dataset_keeps_its_fingerprint(coco: Path) -> None:
    data = find_dataset(SegDataset(coco, Classes(("ant", "bee")), {}, "f1"))
    assert (data.root, data.used_directly, data.fingerprint) == (coco.resolve(), False, "f1")


# ---------------------------------------------------------------------------------------------- training


@pytest.mark.train
def test_training_leaves_one_checkpoint_and_its_record(trained: Trained) -> None:
    names = {path.name for path in trained.output.iterdir()}
    assert names == {"checkpoint_best_total.pth", "metrics.csv", "run.json"}
    run = read_run(trained.output)
    assert run.checkpoint == trained.target.checkpoint == trained.output / "checkpoint_best_total.pth"
    written = json.loads((trained.output / "run.json").read_text())
    assert written["class_names"] == ["ant", "bee"] == list(trained.target.class_names)
    assert written["config"]["epochs"] == 4 and written["config"]["device"] == "cpu"
    assert written["config"]["train"]["lr_encoder"] == 1e-3 and written["config"]["model"]["resolution"] == 48
    assert {"rfdetr", "torch", "autodistill-rfdetr-seg"} <= set(run.versions)
    digest = subprocess.run(["sha256sum", run.checkpoint], capture_output=True, text=True, check=True).stdout
    assert digest.split()[0] == run.checkpoint_sha256


@pytest.mark.train
def test_class_ids_are_indices_into_the_class_names(trained: Trained) -> None:
    # Below any threshold rfdetr also returns its no-object slot, index 2 here.
    found = trained.target.predict_batch([draw(i)[0] for i in range(2)], confidence=0.0)
    for one in found:
        assert one.class_id is not None and set(one.class_id.tolist()) == {1}
        assert set(one.data["class_name"]) == {"bee"}
        assert one.mask is not None and one.mask.shape == (len(one), HEIGHT, WIDTH) and one.mask.dtype == bool
        assert one.confidence is not None and (np.diff(one.confidence) <= 0).all()


def test_published_weights_speak_of_80_classes_without_gaps() -> None:
    # As rfdetr builds it for COCO: 91 slots for 80 names. Its own class ids are COCO's category ids, with gaps.
    target = RFDETRSegNano(device="cpu", **TINY | {"num_queries": 300, "num_select": 300})
    image = draw(0)[0]
    (one,) = target.predict_batch([image], 0.0)
    assert len(target.class_names) == 80 and target.class_names[79] == "toothbrush"
    raw = target._detector.predict(image, threshold=0.0)
    known = np.isin(raw.data["class_name"], target.class_names)
    assert not known.all() and raw.class_id[known].max() >= 80 > one.class_id.max()
    assert one.data["class_name"].tolist() == raw.data["class_name"][known].tolist()
    assert [target.class_names[i] for i in one.class_id] == one.data["class_name"].tolist()
    np.testing.assert_allclose(one.confidence, raw.confidence[known], atol=1e-5)


@pytest.mark.train
def test_a_checkpoint_loads_to_the_same_predictions(trained: Trained) -> None:
    again = RFDETRSeg.from_checkpoint(trained.output / "checkpoint_best_total.pth", device="cpu")
    assert type(again) is RFDETRSegNano and again.class_names == ("ant", "bee")
    image = draw(1)[0]
    first, second = (t.predict(image, 0.0, color="rgb") for t in (trained.target, again))
    assert len(first) and np.array_equal(first.xyxy, second.xyxy) and np.array_equal(first.mask, second.mask)
    assert np.array_equal(first.confidence, second.confidence) and np.array_equal(first.class_id, second.class_id)
    with pytest.raises(UsageError, match="is of size 'nano', not 'small'"):
        RFDETRSegSmall.from_checkpoint(trained.output / "checkpoint_best_total.pth", device="cpu")


@pytest.mark.train
def test_every_kind_of_input_is_the_same_image(trained: Trained, tmp_path: Path) -> None:
    target, (rgb, _) = trained.target, draw(2)
    Image.fromarray(rgb).save(tmp_path / "plain.png")
    # A camera held sideways: the file's pixels lie, its EXIF tag says how to turn them.
    turned = Image.fromarray(np.rot90(rgb))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    expected = target.predict(rgb, 0.0, color="rgb")
    listed = target.predict(
        [rgb[..., ::-1], tmp_path / "plain.png", str(tmp_path / "turned.png"), Image.fromarray(rgb)], 0.0
    )
    assert isinstance(listed, list) and len(listed) == 4
    for one in listed:
        np.testing.assert_allclose(one.confidence, expected.confidence, atol=1e-5)
        np.testing.assert_allclose(one.xyxy, expected.xyxy, atol=1e-2)
    # The colours matter: reading BGR as RGB gives something else.
    assert not np.allclose(target.predict(rgb, 0.0).confidence, expected.confidence, atol=1e-5)
    assert target.predict([], 0.5) == [] == target.predict_batch([], 0.5)
    assert isinstance(target.predict([rgb]), list)


@pytest.mark.train
def test_nothing_found_is_an_empty_mask_of_the_image_size(trained: Trained) -> None:
    nothing = trained.target.predict(draw(0)[0], confidence=1.0)
    assert len(nothing) == 0 and nothing.mask is not None and nothing.mask.shape == (0, HEIGHT, WIDTH)
    assert nothing.class_id is not None and nothing.class_id.shape == (0,)
    assert nothing.data["class_name"].shape == (0,)


@pytest.mark.train
def test_inputs_that_are_no_image_are_refused(trained: Trained, tmp_path: Path) -> None:
    target = trained.target
    with pytest.raises(UsageError, match="is a URL"):
        target.predict("https://example.org/a.jpg")
    with pytest.raises(MissingInputError):
        target.predict(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match="not an image"):
        target.predict(tmp_path / "text.jpg")
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8)):
        with pytest.raises(UsageError, match=r"must be \(height, width, 3\) uint8"):
            target.predict(wrong)
    with pytest.raises(UnknownNameError, match="color"):
        target.predict(draw(0)[0], color="grb")  # type: ignore[call-overload]


@pytest.mark.train
def test_exactly_what_autodistill_writes_can_be_trained_on_twice_alike(
    labelled: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.chdir(labelled)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    capfd.readouterr()
    caplog.set_level(logging.INFO, "autodistill_rfdetr_seg")
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    precision = torch.get_float32_matmul_precision()
    handlers = logging.getLogger("rf-detr").handlers
    target = RFDETRSegNano(device="cpu", **TINY)
    run = target.train("./dataset/data.yaml", **LEARN)
    assert run.root == labelled / "training" and run.checkpoint.is_file()
    assert target.class_names == ("ant", "bee")
    assert (
        target.predict("images/0.jpg", 0.0, nms_iou=None, nms_iom=None, agnostic_nms_iou=None).class_id.tolist()
        == [1] * 8
    )

    assert re.fullmatch(r"epoch 4/4: loss \d+\.\d{3}, mask AP \d\.\d{3}, AP50 \d\.\d{3}", caplog.messages[-1])
    # The only validation is that of the last epoch, and the others say nothing.
    assert sum(text.startswith("epoch ") for text in caplog.messages) == 1

    # Results alone belong on stdout, and nothing of the process is changed for good.
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert torch.equal(before[0], torch.get_rng_state()) and before[2] == random.getstate()
    assert np.array_equal(before[1], np.random.get_state()[1]) and "PL_GLOBAL_SEED" not in os.environ
    assert torch.get_float32_matmul_precision() == precision and logging.getLogger("rf-detr").handlers == handlers

    torch.manual_seed(99)
    again = RFDETRSegNano(device="cpu", **TINY).train(labelled / "dataset", output="other", **LEARN)
    one, two = (torch.load(r.checkpoint, weights_only=True)["model"] for r in (run, again))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert run.dataset_fingerprint == again.dataset_fingerprint


@pytest.mark.train
def test_a_finished_folder_is_kept_and_a_stopped_run_goes_on(coco: Path, tmp_path: Path) -> None:
    target, output, options = RFDETRSegNano(device="cpu", **TINY), tmp_path / "out", QUICK | {"use_ema": True}
    half = output / "unfinished"
    old = signal.getsignal(signal.SIGINT)
    done = threading.Event()

    def interrupt_after_the_first_epoch() -> None:
        while not (half / "last.ckpt").is_file() and not done.wait(0.01):
            pass
        if not done.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_after_the_first_epoch)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            target.train(coco, 200, output=output, **options)
    finally:
        done.set()
        watcher.join()
    assert signal.getsignal(signal.SIGINT) is old
    assert (half / "last.ckpt").is_file() and not (output / "run.json").exists()
    with pytest.raises(OutputExistsError):
        target.train(coco, 3, output=output, **QUICK)
    import torch

    reached = torch.load(half / "last.ckpt", weights_only=True)["epoch"] + 1
    run = target.train(coco, reached + 1, output=output, resume=True, **options)
    with (output / "metrics.csv").open() as file:
        assert {int(row["epoch"]) for row in csv.DictReader(file)} == set(range(reached + 1))
    assert run.config["epochs"] == reached + 1
    with pytest.raises(OutputExistsError, match="is finished"):
        target.train(coco, 3, output=output, resume=True, **QUICK)
    with pytest.raises(MissingInputError, match="resume from"):
        target.train(coco, 3, output=output, resume=tmp_path / "none.ckpt", **QUICK)


# ---------------------------------------------------------------------------------------------- checkpoints


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        RFDETRSeg.from_checkpoint(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(TrainingError, match="cannot be read"):
        RFDETRSeg.from_checkpoint(tmp_path / "text.pth")


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.write_text, (tmp_path / "owned", "yes"))

    torch.save({"model": {}, "args": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(TrainingError) as caught:
        RFDETRSeg.from_checkpoint(tmp_path / "evil.pth")
    assert "trust=True" in str(caught.value.hint) and not (tmp_path / "owned").exists()


@pytest.mark.train
def test_a_checkpoint_is_trained_further_or_used_larger(trained: Trained, coco: Path, tmp_path: Path) -> None:
    start = str(trained.output / "checkpoint_best_total.pth")
    import torch

    old = torch.load(start, weights_only=True)["model"]
    larger = RFDETRSegNano(device="cpu", **TINY | {"pretrain_weights": start, "resolution": 96})
    assert larger.class_names == ("ant", "bee")
    new = larger._detector.model.model.state_dict()
    grid = "backbone.0.encoder.encoder.embeddings.position_embeddings"
    assert old[grid].shape[1] == 4 * 4 + 1 and new[grid].shape[1] == 8 * 8 + 1
    assert all(torch.equal(old[key], new[key]) for key in old if key != grid)

    onward = RFDETRSeg.from_checkpoint(start, device="cpu")
    onward.train(coco, 1, output=tmp_path / "on", **QUICK | {"lr": 1e-9, "lr_encoder": 1e-9})
    new = torch.load(tmp_path / "on/checkpoint_best_total.pth", weights_only=True)["model"]
    assert all(torch.allclose(old[key], new[key], atol=1e-6) for key in old)


def test_defaults_are_those_of_the_configuration() -> None:
    assert RFDETRSegNano()._device == TargetConfig().device
