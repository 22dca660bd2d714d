"""Training people can trust: killed and gone on with, on several devices, stopped early; what its checkpoint tells."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from autodistill_rfdetr_seg.core.errors import DataError, DependencyError, TrainingError, UsageError
from autodistill_rfdetr_seg.core.types import Classes, SegDataset
from autodistill_rfdetr_seg.dataset.dataset_index import read_dataset
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from autodistill_rfdetr_seg.targets import RFDETRSeg, RFDETRSegNano, read_provenance, read_run, vendor
from autodistill_rfdetr_seg.targets.rfdetr_import import import_rfdetr
from autodistill_rfdetr_seg.targets.training import trainer as fitting
from autodistill_rfdetr_seg.targets.training.training_data import find_dataset
from helpers.commands import finish, here
from helpers.ended_training import end_after_an_epoch
from helpers.tiny_training import QUICK, TINY, run_folder, write_coco

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    return write_coco(root / "dataset", {"train": 4, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)


def weights(checkpoint: Path) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = torch.load(checkpoint, weights_only=True)["model"]
    return found


def rows(output: Path, key: str) -> list[float]:
    with (output / "metrics.csv").open() as file:
        return [float(row[key]) for row in csv.DictReader(file) if row.get(key)]


def test_a_dataset_that_was_edited_by_hand_is_another(trained_run: Path, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(trained_run, tmp_path / "run"))
    built = read_dataset(run.dataset).fingerprint
    assert read_run(run.training).dataset_fingerprint == built
    code, _, err = here(["train", str(run.root)])
    assert code == 0 and "nothing to do" in err and "edited" not in err

    file = run.dataset / "train" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"annotations": content["annotations"][:2]}))
    code, _, err = here(["train", str(run.root)])
    assert code == 0 and "nothing to do" not in err
    assert err.count(f"The annotations in {run.dataset.resolve()} were edited after it was built") == 1
    made = read_run(run.training).dataset_fingerprint
    assert made != built and made == read_dataset(run.dataset).fingerprint
    # In Python too, where the dataset is at hand from before.
    file.write_text(json.dumps(content | {"annotations": content["annotations"][:3]}))
    old = SegDataset(run.dataset, Classes(("ant", "bee")), {}, built)
    assert len({built, made, find_dataset(old).fingerprint, find_dataset(run.dataset).fingerprint}) == 3


def test_killed_in_an_epoch_it_ends_with_the_weights_of_an_undisturbed_run(coco: Path, tmp_path: Path) -> None:
    import torch

    options = {"epochs": 3, "device": "cpu", "model": TINY, "batch_size": 2, "grad_accum_steps": 1, "lr": 1e-3}
    options["train"] = {"lr_encoder": 1e-3, "use_ema": True, "multi_scale": True, "ema_tau": 0}
    killed, undisturbed = (run_folder(tmp_path / name, coco, **options) for name in ("killed", "undisturbed"))
    end_after_an_epoch(["train", str(killed.root)], killed.training, signal.SIGKILL)
    assert not killed.training_record.exists()
    for run in (killed, undisturbed):
        code, _, err = here(["train", str(run.root)])
        assert code == 0, err
        assert ("resumes from" in err) == (run is killed)
        assert "batch_size 2 x grad_accum_steps 1 x devices 1 = 2 images for each change" in err
    one, two = (weights(run.training / "checkpoint_best_total.pth") for run in (killed, undisturbed))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert rows(killed.training, "train/loss") == rows(undisturbed.training, "train/loss")


def test_two_devices_share_an_epoch_in_processes_of_their_own(tmp_path: Path) -> None:
    larger = write_coco(tmp_path / "dataset", {"train": 10, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)
    options = {"epochs": 1, "device": "cpu", "model": TINY, "batch_size": 1, "grad_accum_steps": 1, "devices": 2}
    run = run_folder(tmp_path / "run", larger, **options)
    code, out, err = finish(["train", str(run.root)])
    assert code == 0, err
    # Said by the first alone; and 5 steps, where one device would take 10.
    assert err.count("x devices 2 = 2 images for each change of the weights") == 1
    assert err.count("epoch 1/1: loss") == 1 and out.startswith("checkpoint  ")
    assert set(rows(run.training, "step")) == {4.0}
    left = {path.name for path in run.training.iterdir()}
    assert left == {"checkpoint_best_total.pth", "inputs.json", "metrics.csv", "run.json"}


def test_large_images_train_with_the_limit_of_the_call(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # rfdetr opens the images of 6,912 pixels with Pillow, which refuses twice its limit. Importing this
    # module sets the limit too.
    import_rfdetr("rfdetr.datasets.o365")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    target = RFDETRSegNano(device="cpu", **TINY)
    with pytest.raises(DataError, match=r"over the limit of 0\.005 megapixels"):
        target.train(coco, 1, output=tmp_path / "small", max_megapixels=0.005, **QUICK)
    run = target.train(coco, 1, output=tmp_path / "large", max_megapixels=1, **QUICK)
    assert run.checkpoint.is_file() and Image.MAX_IMAGE_PIXELS == 1000


def test_what_goes_wrong_in_another_process_comes_back(coco: Path, tmp_path: Path) -> None:
    from autodistill_rfdetr_seg.targets.training import device_launcher
    from autodistill_rfdetr_seg.targets.training.trainer import FitTask

    options = {"seed": 0, "dataset_dir": str(tmp_path / "gone"), "dataset_file": "roboflow", "devices": 2}
    with pytest.raises(TrainingError, match=r"Training failed: .*gone"):
        device_launcher.fit_in_processes(FitTask("nano", TINY, options, "cpu", None, False))
    target = RFDETRSegNano(device="cpu", **TINY)
    with pytest.raises(UsageError, match="batch_size auto is for one device"):
        target.train(coco, 1, devices=2, batch_size="auto", output=tmp_path / "c")
    with pytest.raises(UsageError, match=r"cannot be 'cuda:0'|torch sees"):
        target.train(coco, 1, device="cuda:0", devices=64, output=tmp_path / "c")
    with pytest.raises(UsageError, match="'devices' cannot be passed"):
        vendor.check_train_options({"devices": 2})


def test_a_worker_can_be_interrupted_where_its_command_ignores_that() -> None:
    code = """
import signal
from pathlib import Path
from autodistill_rfdetr_seg.targets.training.device_launcher import run_worker
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    run_worker(Path("gone.json"))
except Exception as error:
    print(type(error).__name__, signal.getsignal(signal.SIGINT).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["default_int_handler"], done.stdout


def test_the_best_checkpoint_is_by_mask_ap_and_early_stopping_waits_for_it(coco: Path, tmp_path: Path) -> None:
    training = import_rfdetr("rfdetr.training")
    for ema in (False, True):
        config = vendor.train_config({"dataset_dir": str(coco), "use_ema": ema, "early_stopping": True})
        trainer = training.build_trainer(config, vendor.model_config("nano", TINY), accelerator="cpu")
        (best,) = (one for one in trainer.callbacks if type(one).__name__ == "BestModelCallback")
        (early,) = (one for one in trainer.callbacks if type(one).__name__ == "RFDETREarlyStopping")
        assert best.monitor == early._monitor_regular == "val/segm_mAP_50_95" and best.mode == "max"
        # With EMA its weights are both validated and kept: by their mask AP, not by the boxes'.
        assert best._monitor_ema == ("val/ema_segm_mAP_50_95" if ema else None)
        assert best._evaluates_base_model is not ema
    # Steps this small change nothing: the first validation is the best, and two more bring nothing.
    target = RFDETRSegNano(device="cpu", **TINY)
    still = {**QUICK, "lr": 1e-9, "lr_encoder": 1e-9}
    run = target.train(coco, 9, output=tmp_path / "out", early_stopping=2, **still)
    scores = rows(run.root, "val/segm_mAP_50_95")
    assert scores == [scores[0]] * 3 and run.config["early_stopping"] == 2
    with pytest.raises(UsageError, match="early_stopping"):
        target.train(coco, 6, output=tmp_path / "other", early_stopping=True, **QUICK)


def test_a_checkpoint_tells_what_made_it_and_plain_rfdetr_still_reads_it(trained_run: Path, tmp_path: Path) -> None:
    from rfdetr import RFDETRSegNano as Plain

    run = read_run(trained_run / "training")
    record = json.loads((run.root / "run.json").read_text())
    made = read_provenance(run.checkpoint)
    assert made == {key: record[key] for key in ("config", "dataset_fingerprint", "class_names", "versions")}
    assert made["class_names"] == ["ant", "bee"] and read_run(run.root).dataset_fingerprint == run.dataset_fingerprint
    plain = Plain.from_checkpoint(str(run.checkpoint))
    assert list(plain.class_names) == ["ant", "bee"]
    # A model that starts from it is told where its classes are not the dataset's.
    other = write_coco(tmp_path / "other", {"train": 2, "valid": 1}, ((1, "fly"), (2, "bee")), used=2)
    found = RFDETRSeg("nano", device="cpu", **TINY | {"pretrain_weights": str(run.checkpoint)}).preflight(other)
    assert any("knows 'ant', 'bee'; the dataset has 'fly', 'bee'" in one.message for one in found.findings)


def test_weights_to_start_from_cannot_run_code(coco: Path, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.write_text, (tmp_path / "owned", "yes"))

    torch.save({"model": {}, "args": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(TrainingError, match="without running its code"):
        read_provenance(tmp_path / "evil.pth")
    target = RFDETRSegNano(device="cpu", **TINY | {"pretrain_weights": str(tmp_path / "evil.pth")})
    with pytest.raises(TrainingError):
        target.train(coco, 1, output=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()
    half = tmp_path / "out" / "unfinished"
    half.mkdir(parents=True)
    (half / "last.ckpt").write_bytes((tmp_path / "evil.pth").read_bytes())
    with pytest.raises(TrainingError):
        RFDETRSegNano(device="cpu", **TINY).train(coco, 1, output=tmp_path / "out", resume=True, **QUICK)
    assert not (tmp_path / "owned").exists()


def test_a_signal_that_is_lost_on_the_way_still_ends_as_one() -> None:
    import pytorch_lightning.utilities.exceptions as lightning

    class Terminated(KeyboardInterrupt):
        exit_code = 143

    # Lightning turns an interruption into sys.exit(1), and one that a C callback swallowed into an exit with code 0.
    with pytest.raises(KeyboardInterrupt) as caught, fitting._interruptible():
        try:
            raise Terminated
        except KeyboardInterrupt:
            sys.exit(1)
    assert caught.value.exit_code == 143  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt) as caught, fitting._interruptible():
        raise lightning.SIGTERMException
    assert caught.value.exit_code == 143  # type: ignore[attr-defined]
    with pytest.raises(SystemExit), fitting._interruptible():
        sys.exit(3)


def test_a_logger_that_is_not_installed_is_named(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DependencyError, match="logger wandb is not installed") as caught:
        RFDETRSegNano(device="cpu", **TINY).train(coco, 1, output=tmp_path / "out", loggers=["wandb"])
    assert caught.value.hint == "Install it with: pip install wandb" and not (tmp_path / "out").exists()
