"""Training on several machines: two nodes of one process each, on this machine's loopback."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.core.errors import TrainingError, UsageError
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from autodistill_rfdetr_seg.targets import read_run
from autodistill_rfdetr_seg.targets.training.training_nodes import TrainingNode
from helpers.commands import finish, here
from helpers.tiny_training import TINY, run_folder, write_coco

OPTIONS: dict[str, Any] = {"device": "cpu", "model": TINY, "batch_size": 1, "grad_accum_steps": 1}


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    return write_coco(root / "dataset", {"train": 10, "valid": 2}, ((1, "ant"), (2, "bee")), used=2)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def start(run: RunFolder, rank: int, variables: dict[str, str], *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "autodistill_rfdetr_seg", "train", str(run.root), "--nodes", "2", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_both(run: RunFolder, *options: str) -> list[subprocess.Popen[str]]:
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [start(run, rank, {**meeting, "NODE_RANK": str(rank)}, *options) for rank in (1, 0)]


def column(output: Path, key: str) -> list[float]:
    with (output / "metrics.csv").open() as file:
        return [float(row[key]) for row in csv.DictReader(file) if row.get(key)]


@pytest.mark.train
@pytest.mark.slow
def test_two_nodes_train_as_one_machine_with_two_devices_and_survive_a_dead_one(coco: Path, tmp_path: Path) -> None:
    together = run_folder(tmp_path / "together", coco, epochs=2, devices=2, **OPTIONS)
    apart = run_folder(tmp_path / "apart", coco, epochs=2, **OPTIONS)
    other, first = start_both(apart)
    deadline = time.monotonic() + 240
    while not (apart.training / "unfinished" / "last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    other.send_signal(signal.SIGKILL)
    _, err = first.communicate(timeout=120)
    other.communicate(timeout=120)
    assert first.returncode == 1 and "Traceback" not in err
    assert "Training failed: " in err and "start the command on every node again, with --resume" in err
    assert err.count("= 2 images for each change of the weights") == 1 and "epoch 1/2: loss" in err
    assert not apart.training_record.exists()

    both = start_both(apart, "--resume")
    code, _, err = finish(["train", str(together.root)])
    assert code == 0, err
    (other_out, other_err), (out, err) = (one.communicate(timeout=240) for one in both)
    assert [one.returncode for one in both] == [0, 0], err + other_err
    assert "Training resumes from" in err
    for key in ("train/loss", "val/segm_mAP_50_95"):
        assert column(apart.training, key) == column(together.training, key)
    # The first node alone writes and reports; both name the same checkpoint.
    assert out == other_out and str(read_run(apart.training).checkpoint) in out
    assert "waits for node 0" in other_err and "epoch" not in other_err and "images for each" not in other_err
    left = {path.name for path in apart.training.iterdir()}
    assert left == {"checkpoint_best_total.pth", "inputs.json", "metrics.csv", "run.json"}


def test_the_environment_says_which_node_this_is() -> None:
    own = {"NODE_RANK": "1", "MASTER_ADDR": "ten.example"}
    assert TrainingNode.from_environment(1, {}) == TrainingNode()
    assert TrainingNode.from_environment(2, own) == TrainingNode(1, 2, "ten.example", 29500)
    torchrun = {"GROUP_RANK": "2", "GROUP_WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0", "RANK": "2"}
    torchrun |= {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}
    assert TrainingNode.from_environment(3, torchrun) == TrainingNode(2, 3, "10.0.0.1", 4001)
    slurm = {"SLURM_NODEID": "1", "SLURM_NNODES": "2", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "1234567"}
    slurm |= {"SLURM_JOB_NODELIST": "gpu[07-08,12]"}
    assert TrainingNode.from_environment(2, slurm) == TrainingNode(1, 2, "gpu07", 24567)

    for wrong, said in (
        ({}, "nothing says which of them this is"),
        ({"NODE_RANK": "1"}, "Nothing says which machine is node 0"),
        (own | {"NODE_RANK": "2"}, "node 2 of 2"),
        (own | {"NODE_RANK": "one"}, "must be a whole number, not 'one'"),
        (own | {"MASTER_PORT": ""}, "must be a whole number"),
        (torchrun, "node 2 of 3"),
        (torchrun | {"GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "8"}, "Several processes"),
        (slurm | {"SLURM_NTASKS": "16"}, "Several processes"),
    ):
        with pytest.raises(UsageError, match=said):
            TrainingNode.from_environment(2, wrong)


def test_what_a_launcher_has_set_does_not_reach_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID", "LOCAL_RANK", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "7")
    alone = TrainingNode().worker_environment(2)
    assert not {name for name in alone if name.startswith(("SLURM_", "TORCHELASTIC_")) or name.endswith("RANK")}
    second = TrainingNode(1, 2, "ten.example", 5000).worker_environment(8)
    own = {"NODE_RANK": "1", "MASTER_ADDR": "ten.example", "MASTER_PORT": "5000", "RANK": "8"}
    assert second == {**alone, **own}


def test_a_node_does_not_wait_for_ever() -> None:
    with pytest.raises(TrainingError, match=r"waited 1 s for node 0 at 127\.0\.0\.1"):
        TrainingNode(1, 2, "127.0.0.1", free_port()).wait_for_first(1)


def test_nodes_are_for_training_alone(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder(tmp_path / "run", coco, epochs=1, **OPTIONS)
    code, _, err = here(["train", str(run.root), "--nodes", "2"])
    assert code == 2 and "nothing says which of them this is" in err and "Hint: Set NODE_RANK" in err
    monkeypatch.setenv("NODE_RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    code, _, err = here(["train", str(run.root), "--nodes", "2", "--batch-size", "auto"])
    assert code == 2 and "batch_size auto is for one device" in err
