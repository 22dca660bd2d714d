"""A build in several processes: the bytes of one process, and nothing half-written whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.dataset.image_building import IMAGES_A_TASK
from helpers.commands import begin, finish, here
from helpers.drawn_store import make_run
from helpers.processes import parents_of

pytestmark = pytest.mark.slow

IMAGES = 2 * IMAGES_A_TASK + 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of more images than three tasks have, built by one process."""
    run = make_run(tmp_path_factory.mktemp("processes"), IMAGES).root
    code, _, err = here(["build", str(run), "--set", "dataset.processes=1", "-q"])
    assert code == 0, err
    return run


def content(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def test_the_bytes_do_not_depend_on_the_number_of_processes(run: Path) -> None:
    built = content(run / "dataset")
    assert len(built) == IMAGES + 4
    shutil.rmtree(run / "dataset")
    code, _, err = here(["build", str(run), "--set", "dataset.processes=3", "-q"])
    assert code == 0, err
    assert content(run / "dataset") == built
    # Nothing is to do with another number.
    before = (run / "dataset" / "dataset.json").stat().st_mtime_ns
    assert here(["build", str(run), "--set", "dataset.processes=2", "-q"])[0] == 0
    assert (run / "dataset" / "dataset.json").stat().st_mtime_ns == before


def test_an_image_that_changed_is_named_as_by_one_process(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    changed = run.parent / "photos" / "3" / "00010.png"
    original = run.parent / "original.png"
    changed.unlink()
    changed.write_bytes(original.read_bytes() + b" ")
    try:
        ends = [
            here(["build", str(copy), "--min-area", "3", "--set", f"dataset.processes={number}", "-q"])
            for number in (1, 2)
        ]
    finally:
        changed.unlink()
        os.link(original, changed)
    assert ends[0] == ends[1]
    assert ends[0][0] == 1
    assert f"Error: The image {changed} has changed since it was labeled." in ends[0][2]


def workers_of(process: int) -> list[int]:
    """The two processes that a build has started, once they are there."""
    for _ in range(1000):
        found = [number for number, parent in parents_of(b"task_processes").items() if parent == process]
        if len(found) == 2:
            return found
        time.sleep(0.01)
    raise TimeoutError("The build started no processes.")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes a build has started")
@pytest.mark.parametrize("how", ["worker killed", "Ctrl-C", "killed"])
def test_an_accident_leaves_the_dataset_that_was_there(run: Path, tmp_path: Path, how: str) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = content(copy / "dataset")
    command = ["build", str(copy), "--min-area", "2", "--set", "dataset.processes=2", "-q"]
    process = begin(command)
    workers = workers_of(process.pid)
    if how == "worker killed":
        os.kill(workers[1], signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT if how == "Ctrl-C" else signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == {"worker killed": 1, "Ctrl-C": 130, "killed": -9}[how]
    if how == "worker killed":
        assert "Error: A worker process ended with exit code -9" in err
    assert "Traceback" not in err
    assert content(copy / "dataset") == before
    if how != "killed":
        assert not list(copy.glob(".dataset.*"))
    assert finish(command)[0] == 0
    assert not list(copy.glob(".dataset.*"))
    assert content(copy / "dataset") != before


def test_annotations_in_several_files_and_in_shards_of_rfdetr(run: Path, tmp_path: Path) -> None:
    from rfdetr.datasets.webdataset.index import read_shard_index
    from rfdetr.datasets.webdataset.pack import pack_coco_to_shards

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    train = copy / "dataset" / "train"
    whole = (train / "_annotations.coco.json").read_bytes()
    code, _, err = here(["build", str(copy), "--split-json", "150", "-q"])
    assert code == 0, err
    parts = sorted(train.glob("_annotations.part-*"))
    assert [part.name for part in parts] == [f"_annotations.part-{at}-of-3.coco.json" for at in (1, 2, 3)]
    document = json.loads((train / "_annotations.coco.json").read_bytes())
    rows = [json.loads(part.read_bytes()) for part in parts]
    assert [row for part in rows for row in part["annotations"]] == document["annotations"]
    assert [row for part in rows for row in part["images"]] == document["images"]
    del document["info"]
    assert document.items() <= json.loads(whole).items()
    # Without the option they are gone.
    assert here(["build", str(copy), "--split-json", "none", "-q"])[0] == 0
    assert not list(train.glob("_annotations.part-*"))
    assert (train / "_annotations.coco.json").read_bytes() == whole

    shards = tmp_path / "shards"
    pack_coco_to_shards(train, train / "_annotations.coco.json", shards, split="train", max_shard_bytes=200_000)
    index = read_shard_index(shards, "train")
    assert index.num_samples == len(document["images"])
    assert len(index.shards) > 2
    assert index.class_names() == ["disc", "square"]
