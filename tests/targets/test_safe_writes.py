"""What a training writes while it runs outlasts Ctrl-C, a kill and a full disk; what they damaged before is read on."""

from __future__ import annotations

import csv
import itertools
import logging
import resource
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from autodistill_rfdetr_seg.core.errors import TrainingError
from autodistill_rfdetr_seg.system import files
from autodistill_rfdetr_seg.targets import RFDETRSegNano, vendor
from autodistill_rfdetr_seg.targets.rfdetr_import import import_rfdetr
from autodistill_rfdetr_seg.targets.training import safe_writes
from autodistill_rfdetr_seg.targets.training.checkpoint_provenance import add_to_checkpoint, read_provenance
from autodistill_rfdetr_seg.targets.training.safe_writes import metrics_log, write_safely
from autodistill_rfdetr_seg.targets.training.training_folder import UNFINISHED, claim_training_folder
from helpers.tiny_training import QUICK, TINY, write_coco


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        found = list(csv.DictReader(lines, strict=True))
    assert all(None not in row and None not in row.values() for row in found), found
    return [{name: value for name, value in row.items() if value} for row in found]


class Interrupt:
    """Raises KeyboardInterrupt before the line that is run as the `at`-th in the modules that write."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __enter__(self) -> None:
        sys.settrace(self.trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in {safe_writes.__file__, files.__file__}:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.trace


@pytest.mark.parametrize("column", ["loss", "mask AP"])
def test_metrics_are_whole_after_an_interrupt_anywhere_in_a_save(tmp_path: Path, column: str) -> None:
    """A row with the columns of before is appended, one with a new column is not."""
    expected = [{"epoch": "0", "loss": "0.5", "step": "3"}, {"epoch": "1", column: "0.25", "step": "7"}]
    for at in itertools.count(1):
        file = tmp_path / str(at) / "metrics.csv"
        log = metrics_log(file, resumes=False)
        log.log_metrics({"epoch": 0, "loss": torch.tensor(0.5)}, 3)
        log.save()
        log.log_metrics({"epoch": 1, column: 0.25}, 7)
        try:
            with Interrupt(at):
                log.save()
        except KeyboardInterrupt:
            assert rows(file) in (expected[:1], expected)
            # As Lightning does when it is interrupted.
            log.finalize("failed")
            assert rows(file) == expected and [path.name for path in file.parent.iterdir()] == ["metrics.csv"]
        else:
            break
    assert at > 10 and rows(file) == expected


def test_a_save_writes_what_is_new_and_mends_a_file_that_was_moved_away(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    log = metrics_log(file, resumes=False)
    log.save()
    assert not file.exists()
    for step in range(3):
        log.log_metrics({"epoch": step, "loss": float(step)}, step)
        log.save()
        assert len(rows(file)) == step + 1
    assert file.read_text().count("loss") == 1
    file.unlink()
    log.finalize("success")
    assert [row["loss"] for row in rows(file)] == ["0.0", "1.0", "2.0"]


@pytest.mark.parametrize(
    ("content", "kept", "damaged"),
    [
        (b"", [], 0),
        (b"epo", [], 0),
        (b"epoch,loss,step\r\n", [], 0),
        (b"epoch,loss,step\r\n0,0.5,3\r\n", [{"epoch": "0", "loss": "0.5", "step": "3"}], 0),
        # Rows of more columns than the header has, and the beginning of one.
        (b"epoch,loss,step\r\n0,0.5,3\r\n0,1,1,1,,7\r\n0,0.", [{"epoch": "0", "loss": "0.5", "step": "3"}], 2),
        (b"epoch,loss,step\r\n0,0.5,3\r\n\0\0\0\0\xff", [{"epoch": "0", "loss": "0.5", "step": "3"}], 1),
        # Epochs that are trained again, and rows that have none.
        (b"epoch,loss,step\r\n1,0.5,3\r\n2,0.5,7\r\n,0.4,5\r\nx,0.4,5\r\n",
         [{"loss": "0.4", "step": "5"}, {"epoch": "x", "loss": "0.4", "step": "5"}], 0),
    ],
)  # fmt: skip
def test_earlier_metrics_are_kept_up_to_the_epoch_that_is_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, kept: list[dict[str, str]], damaged: int
) -> None:
    file = tmp_path / "metrics.csv"
    file.write_bytes(content)
    log = metrics_log(file, resumes=True)
    log.finalize("failed")
    assert file.read_bytes() == content
    log.log_metrics({"epoch": 1, "loss": 0.25}, 7)
    log.save()
    assert rows(file) == [*kept, {"epoch": "1", "loss": "0.25", "step": "7"}]
    said = [f"{file} has {damaged} damaged rows, which are left out."] if damaged else []
    assert [record.message for record in caplog.records] == said


def limit_files(kib: int | None) -> None:
    """No file may grow over this size, as on a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if kib is None else kib * 1024, hard))


@pytest.mark.train
def test_each_checkpoint_is_the_one_of_before_where_a_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = vendor.train_config({"dataset_dir": str(tmp_path), "output_dir": str(tmp_path), "use_ema": True})
    trainer = import_rfdetr("rfdetr.training").build_trainer(
        config, vendor.model_config("nano", TINY), accelerator="cpu"
    )
    (best,) = (one for one in trainer.callbacks if type(one).__name__ == "BestModelCallback")
    weights = torch.ones(1)

    def save(_: object, *arguments: Any) -> None:
        torch.save({"weights": weights}, arguments[-1])

    monkeypatch.setattr(type(best), "_save_checkpoint", save)
    monkeypatch.setattr(type(best), "_write_ema_checkpoint", save)
    write_safely(trainer, tmp_path / "metrics.csv", resumes=False)

    def write_all() -> None:
        written = (
            lambda: trainer.strategy.checkpoint_io.save_checkpoint({"weights": weights}, tmp_path / "last.ckpt"),
            lambda: best._save_checkpoint(trainer, str(tmp_path / "regular.pth")),
            lambda: best._write_ema_checkpoint(trainer, None, {}, tmp_path / "ema.pth"),
        )
        for write in written:
            if len(weights) < 100:
                write()
            else:
                with pytest.raises(OSError, match="File too large"):
                    write()

    write_all()
    weights = torch.ones(10)
    write_all()
    weights = torch.ones(100_000)
    limit_files(64)
    try:
        write_all()
    finally:
        limit_files(None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ema.pth", "last.ckpt", "regular.pth"]
    for path in tmp_path.iterdir():
        assert torch.load(path, weights_only=True)["weights"].shape == (10,)


def test_a_checkpoint_stays_as_it_is_where_its_provenance_cannot_be_added(tmp_path: Path) -> None:
    file = tmp_path / "best.pth"
    torch.save({"model": torch.ones(100_000)}, file)
    limit_files(64)
    try:
        with pytest.raises(OSError, match="File too large"):
            add_to_checkpoint(file, {"seed": 1})
    finally:
        limit_files(None)
    assert torch.load(file, weights_only=True).keys() == {"model"} and read_provenance(file) is None
    add_to_checkpoint(file, {"seed": 1})
    assert read_provenance(file) == {"seed": 1} and [path.name for path in tmp_path.iterdir()] == ["best.pth"]


def test_the_half_of_a_checkpoint_that_a_kill_left_is_removed(tmp_path: Path) -> None:
    work = tmp_path / UNFINISHED
    work.mkdir()
    (work / "last.ckpt").write_bytes(b"whole")
    half = work / ".last.ckpt.4194305.partial"  # no process has a number above 4194304
    half.write_bytes(b"half")
    with claim_training_folder(tmp_path, resume=True, overwrite=False) as last:
        assert last is not None and last.read_bytes() == b"whole" and not half.exists()


@pytest.mark.train
def test_a_disk_that_fills_while_training_costs_the_epoch_under_way_alone(tmp_path: Path) -> None:
    coco = write_coco(tmp_path / "dataset", {"train": 4, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)
    target, output, options = RFDETRSegNano(device="cpu", **TINY), tmp_path / "out", QUICK | {"use_ema": True}

    class Full(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("epoch 2/3"):
                limit_files(256)

    handler, log = Full(), logging.getLogger("autodistill_rfdetr_seg.targets.training.trainer")
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        with pytest.raises(TrainingError, match="File too large") as caught:
            target.train(coco, 3, output=output, **options)
    finally:
        limit_files(None)
        log.removeHandler(handler)
        log.setLevel(level)
    assert caught.value.hint == "Free some disk space, and train again with --resume."
    work = output / "unfinished"
    assert not list(work.glob(".*.partial"))
    assert torch.load(work / "last.ckpt", weights_only=True)["epoch"] == 0
    with (work / "metrics.csv").open("ab") as file:
        file.write(b"1,2,3\r\n1,")
    run = target.train(coco, 3, output=output, resume=True, **options)
    same = RFDETRSegNano(device="cpu", **TINY).train(coco, 3, output=tmp_path / "same", **options)
    one, two = (torch.load(each.checkpoint, weights_only=True)["model"] for each in (run, same))
    assert all(torch.equal(one[key], two[key]) for key in one | two)
    assert rows(run.root / "metrics.csv") == rows(same.root / "metrics.csv")
