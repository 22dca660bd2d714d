"""What a training leaves in its folder whatever happens to it: the old model, until the next one is whole."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.cli import command_line as cli
from autodistill_rfdetr_seg.core.errors import (
    DataError,
    MissingInputError,
    OutputExistsError,
    TrainingError,
    UsageError,
)
from autodistill_rfdetr_seg.system.config_files import read_run_config
from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.system.locks import locked
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from autodistill_rfdetr_seg.targets import RFDETRSeg, RFDETRSegNano, read_run
from autodistill_rfdetr_seg.targets.training.training_folder import publish
from helpers.commands import here
from helpers.ended_training import end_after_an_epoch, epochs
from helpers.tiny_training import QUICK, TINY, TRAIN_OPTIONS, write_coco

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    return write_coco(root / "dataset", {"train": 4, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> RunFolder:
    """A copy of a run whose model is trained, but for what is never written to in place."""
    shutil.copytree(trained_run, tmp_path / "run", copy_function=os.link)
    return RunFolder(tmp_path / "run")


def state(run: RunFolder) -> dict[str, str]:
    """Each file of a run but locks, and what it holds."""
    found = sorted(path for path in run.root.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    return {path.relative_to(run.root).as_posix(): file_sha256(path) for path in found}


def test_a_training_that_is_refused_leaves_the_model_that_is_there(run: RunFolder, tmp_path: Path) -> None:
    before = state(run)
    (tmp_path / "bad.pth").write_text("no weights")
    for options, words in (
        (["--device", "cuda:99"], "torch sees"),
        (["--set", "target.train.num_worker=1"], "did you mean 'num_workers'"),
        (["--set", f"target.model.pretrain_weights={tmp_path / 'bad.pth'}"], "could not be built"),
        (["--set", f"target.model.pretrain_weights={tmp_path / 'none.pth'}"], "could not be built"),
        (["--set", f"target.model.pretrain_weights={run.training / 'unfinished' / 'last.ckpt'}"], "unfinished"),
    ):
        code, _, err = here(["train", str(run.root), "--seed", "5", *options])
        assert code in (1, 2) and words in err, err
        assert state(run) == before and not (run.training / "unfinished").exists()
    # Where it is trained is no matter of what is trained.
    code, _, err = here(["train", str(run.root), "--device", "auto"])
    assert code == 0 and "nothing to do" in err
    assert file_sha256(run.training / "checkpoint_best_total.pth") == before["training/checkpoint_best_total.pth"]


def test_preflight_s_error_leaves_the_model_that_is_there(run: RunFolder) -> None:
    file = run.dataset / "train" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "gone.png"
    file.unlink()
    file.write_text(json.dumps(content))
    before = state(run)
    code, _, err = here(["train", str(run.root), "--lr", "0.01"])
    assert code == 1 and "image file is missing" in err and state(run) == before


def test_a_training_may_start_from_the_model_that_it_replaces(run: RunFolder) -> None:
    start = run.training / "checkpoint_best_total.pth"
    old = file_sha256(start)
    code, _, err = here(["train", str(run.root), "--set", f"target.model.pretrain_weights={start}"])
    assert code == 0, err
    assert read_run(run.training).checkpoint_sha256 == file_sha256(start) != old
    assert read_run_config(run).target.model["pretrain_weights"] == str(start)
    assert {path.name for path in run.training.iterdir()} == {"checkpoint_best_total.pth", "inputs.json",
                                                             "metrics.csv", "run.json"}  # fmt: skip

    # In Python; and the file of somebody else is theirs, whatever its name ends in.
    (run.training / "mine.pth").write_text("mine")
    (run.training / "mine.ckpt").write_text("mine")
    target = RFDETRSeg.from_checkpoint(start, device="cpu")
    again = target.train(run.dataset, 1, output=run.training, overwrite=True, **QUICK)
    assert again.checkpoint_sha256 == file_sha256(start) and target.predict_batch([], 0.5) == []
    assert (run.training / "mine.pth").read_text() == (run.training / "mine.ckpt").read_text() == "mine"
    # That of the training before goes with it: these inputs are not the new one's.
    assert not (run.training / "inputs.json").exists()


def test_other_people_s_weights_are_never_touched(coco: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("my_other_model.pth", "last.ckpt", "checkpoint_best_total.pth"):
        (folder / name).write_text(name)
    gone = RFDETRSegNano(device="cpu", **TINY | {"pretrain_weights": str(tmp_path / "none.pth")})
    with pytest.raises(OutputExistsError, match="is not empty"):
        gone.train(coco, 1, output=folder, **QUICK)
    # Nothing says that it is ours to replace.
    with pytest.raises(OutputExistsError, match="without a record"):
        gone.train(coco, 1, output=folder, resume=True, **QUICK)
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is not from a training"):
        gone.train(coco, 1, output=folder, overwrite=True, **QUICK)
    shutil.rmtree(folder / "unfinished")
    for how in ({"resume": True, "overwrite": True}, {"overwrite": True}):
        with pytest.raises(TrainingError, match="could not be built"):
            gone.train(coco, 1, output=folder, **how, **QUICK)
    assert {path.name for path in folder.iterdir()} == {"my_other_model.pth", "last.ckpt", "checkpoint_best_total.pth"}
    assert all(path.read_text() == path.name for path in folder.iterdir())
    # A folder that was made for nothing goes.
    with pytest.raises(MissingInputError):
        gone.train(coco, 1, output=tmp_path / "new", resume=tmp_path / "none.ckpt", **QUICK)
    assert not (tmp_path / "new").exists()


def test_a_killed_training_of_a_run_goes_on_with_its_options(run: RunFolder) -> None:
    old = read_run(run.training)
    end_after_an_epoch(["train", str(run.root), "--epochs", "3", "--seed", "9"], run.training, signal.SIGKILL)
    assert read_run_config(run).target.epochs == 3 and read_run_config(run).target.seed == 9
    # Until the new model is whole, the old one is the run's.
    assert read_run(run.training) == old and file_sha256(old.checkpoint) == old.checkpoint_sha256
    other = RunFolder(run.root.parent / "other")
    shutil.copytree(run.root, other.root, copy_function=shutil.copy2)

    code, _, err = here(["train", str(run.root)])
    assert code == 0 and "resumes from" in err and "epoch 1/3" not in err, err
    assert epochs(run.training)[-2:] == [1, 2] and read_run(run.training).config["seed"] == 9
    assert not list(run.training.glob("unfinished*"))

    # Other options: what was reached is not dropped without a word, nor before there is something in its place.
    half = file_sha256(other.training / "unfinished" / "last.ckpt")
    command = ["train", str(other.root), "--epochs", "3", "--seed", "8"]
    _, err = end_after_an_epoch(command, other.training, signal.SIGKILL)
    assert f"is kept in {other.training / 'unfinished.1'} until this one is complete" in err
    assert file_sha256(other.training / "unfinished.1" / "last.ckpt") == half
    code, _, err = here([*command, "--resume"])
    assert code == 0 and epochs(other.training)[-2:] == [1, 2] and not list(other.training.glob("unfinished*"))


def test_a_killed_training_of_a_dataset_goes_on_with_resume(coco: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    sets = {"target.model": TINY, "target.train": TRAIN_OPTIONS["train"]}
    command = ["train", str(coco), "--output", str(output), "--device=cpu", "--batch-size=2"]
    command += ["--grad-accum-steps=1", *(f"--set={key}={json.dumps(value)}" for key, value in sets.items())]
    code, err = end_after_an_epoch([*command, "--epochs=200"], output, signal.SIGTERM)
    assert code == 143 and "continue with --resume" in err
    code, _, err = here([*command, "--epochs=200"])
    assert code == 2 and "Add --resume" in err
    command += [f"--epochs={epochs(output / 'unfinished')[-1] + 3}"]
    code, out, err = here([*command, "--resume"])
    assert code == 0 and "epoch 1/" not in err and "resumes from" in err and epochs(output)[0] == 0, err
    assert out == f"checkpoint  {output / 'checkpoint_best_total.pth'}\n"
    code, _, err = here([*command, "--resume"])
    assert code == 2 and "is finished" in err
    first = (output / "checkpoint_best_total.pth").stat().st_mtime_ns
    code, _, err = here([*command, "--overwrite", "--epochs=1"])
    assert code == 0 and epochs(output) == [0] and (output / "checkpoint_best_total.pth").stat().st_mtime_ns > first
    shutil.rmtree(output)


def test_a_kill_between_two_renames_at_the_end_is_made_good(run: RunFolder) -> None:
    before = state(run)
    half = run.training / "unfinished"
    half.mkdir()
    for name in ("run.json", "checkpoint_best_total.pth"):
        (run.training / name).rename(half / name)
    (half / "last.ckpt").write_text("a copy that goes")
    code, _, err = here(["train", str(run.root)])
    assert code == 0 and "nothing to do" in err and state(run) == before and not half.exists()


def test_two_trainings_of_one_run_do_not_meet(run: RunFolder, coco: Path, tmp_path: Path) -> None:
    with locked(run.root):
        code, _, err = here(["train", str(run.root), "--seed", "5"])
    assert code == 1 and "Another process is writing" in err and read_run_config(run).target.seed == 4
    output = tmp_path / "out"
    with locked(output / "unfinished"), pytest.raises(DataError, match="Another process"):
        RFDETRSegNano(device="cpu", **TINY).train(coco, 1, output=output, resume=True, **QUICK)


def test_resume_is_spoken_of_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    commands = {name: dataclasses.replace(command, run=interrupted) for name, command in cli.known_commands().items()}
    monkeypatch.setattr(cli, "known_commands", lambda: commands)
    said = {}
    for name, arguments in (("doctor", []), ("train", ["x"]), ("predict", ["x", "y"]), ("evaluate", ["x"])):
        code, _, said[name] = here([name, *arguments])
        assert code == cli.INTERRUPTED
    assert {name: "--resume" in text for name, text in said.items()} == {
        "doctor": False, "train": True, "predict": True, "evaluate": False
    }  # fmt: skip
    assert said["doctor"] == said["evaluate"] == "Interrupted.\n"


def test_a_start_within_what_is_under_way_is_refused(run: RunFolder) -> None:
    half = run.training / "unfinished"
    with locked(half):
        pass
    os.link(run.training / "checkpoint_best_total.pth", half / "checkpoint_best_regular.pth")
    target = RFDETRSeg.from_checkpoint(half / "checkpoint_best_regular.pth", device="cpu")
    with pytest.raises(UsageError, match="which training clears") as caught:
        target.train(run.dataset, 1, output=run.training, overwrite=True, **QUICK)
    assert "Copy them" in str(caught.value.hint) and (half / "checkpoint_best_regular.pth").is_file()


def test_what_a_record_lists_goes_and_nothing_beyond_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    work = folder / "unfinished"
    for name in (
        "outside.txt",
        "training/kept.pth",
        "training/old.ckpt",
        "training/log/old.txt",
        "training/log/mine.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    start = str(folder / "start.ckpt")
    Path(start).write_text("start")
    listed = ["../outside.txt", str(tmp_path / "outside.txt"), "old.ckpt", "log/old.txt", "start.ckpt", "..", "log", 3]
    (folder / "run.json").write_text(json.dumps({"files": listed}))
    with locked(work):
        (work / "log").mkdir()
        (work / "log" / "new.txt").write_text("new")
        (work / "run.json").write_text(json.dumps({"config": {"model": {"pretrain_weights": start}}}))
        publish(folder)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    own = {"kept.pth", "start.ckpt", "run.json", "log/mine.txt", "log/new.txt"}
    assert left == {"outside.txt", *(f"training/{name}" for name in own)}
