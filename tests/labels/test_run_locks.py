"""Who may write to a run: one process, or the shares of one configuration side by side."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.pipeline.run_preparation import prepare_run
from autodistill_rfdetr_seg.pipeline.stages import label_stage
from autodistill_rfdetr_seg.system.config_files import read_run_config
from autodistill_rfdetr_seg.system.locks import in_turn, locked
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.commands import Process, begin, finish, here
from helpers.lamps import annotations, arguments


def renamed(photos: Path, run: Path, *more: str) -> list[str]:
    """The arguments of another labelling of the same photos: the class is `torch`, the prompt `dim`."""
    return ["dim=torch" if a == "bright=lamp" else a for a in arguments(photos, run, *more)]


def until(process: Process, there: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def fingerprints(run: Path) -> set[str]:
    shards = (run / "labels").glob("part-*.parquet")
    return {name for shard in shards for name in pq.read_table(shard).column("base_fingerprint").to_pylist()}


@pytest.mark.slow
def test_overwrite_waits_for_no_writer_and_takes_nothing_from_it(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    writer = begin(arguments(photos, run, "--workers", "1", pause=0.25))
    until(writer, (run / "pipeline.yaml").is_file)
    (run / "labels" / "part-000000-mine.txt").write_text("the writer's")
    code, _, err = finish(renamed(photos, run, "--overwrite", "--limit", "6"))
    assert (code, "Another process is writing" in err) == (1, True), err
    assert writer.poll() is None
    assert (run / "labels" / "part-000000-mine.txt").is_file()
    _, err = writer.communicate(timeout=60)
    assert writer.returncode == 0, err
    assert yaml.safe_load((run / "pipeline.yaml").read_text())["ontology"] == {"bright": "lamp"}
    assert len(fingerprints(run)) == 1
    assert b'"lamp"' in annotations(run)["dataset/train/_annotations.coco.json"]


def test_overwrite_keeps_the_lock_that_others_look_at(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    lock = run / "labels" / ".lock"
    before = lock.stat().st_ino
    with lock.open():  # or the next file may get the number of the one that is removed
        assert main(renamed(photos, run, "--overwrite")) == 0
        assert lock.stat().st_ino == before
    assert len(fingerprints(run)) == 1


def test_overwrite_waits_for_a_build(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    before = annotations(run)
    with locked(run):
        assert main(renamed(photos, run, "--overwrite")) == 1
    assert "Another process is writing" in capsys.readouterr().err
    assert annotations(run) == before
    assert list((run / "labels").glob("part-*.parquet"))


def test_overwrite_is_refused_to_a_share(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run, "--slice", "1/2")) == 0
    before = sorted(path.name for path in (run / "labels").glob("part-*"))
    code, _, err = here(arguments(photos, run, "--slice", "2/2", "--overwrite"))
    assert (code, "--overwrite" in err, "--slice" in err) == (2, True, True), err
    assert sorted(path.name for path in (run / "labels").glob("part-*")) == before != []


@pytest.mark.parametrize("more", [["--resume"], ["--resume", "--preview", "2"], ["--slice", "1/2"], ["--overwrite"]])
def test_a_refused_writer_leaves_the_configuration(photos: Path, tmp_path: Path, more: list[str]) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    before = (run / "pipeline.yaml").read_bytes()
    with locked(run / "labels"):
        code, _, err = here(renamed(photos, run, "--confidence", "0.9", *more))
    assert (code, "Another process is writing" in err) == (1, True), err
    assert (run / "pipeline.yaml").read_bytes() == before


def test_a_lock_is_lent_to_what_is_called_and_to_no_other_thread(tmp_path: Path) -> None:
    refused = []

    def elsewhere() -> None:
        with pytest.raises(DataError), locked(tmp_path):
            pass
        refused.append(True)

    with locked(tmp_path, lend=True) as alone:
        with locked(tmp_path) as again:
            assert (alone, again) == (True, True)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert refused == [True]
    with locked(tmp_path), pytest.raises(DataError), locked(tmp_path):
        pass


def test_a_run_is_held_as_long_as_it_is_prepared(photos: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert main(arguments(photos, run.root)) == 0
    config = read_run_config(run)
    with prepare_run(config, run, resume=True, overwrite=False) as prepared:
        assert label_stage(config, run, prepared.source, progress=False).stored == 24
        code, _, err = finish(arguments(photos, run.root, "--overwrite"))
        assert (code, "Another process is writing" in err) == (1, True), err
    assert main(arguments(photos, run.root, "--overwrite")) == 0


@pytest.mark.slow
def test_shares_begin_a_run_together(photos: Path, tmp_path: Path) -> None:
    assert main(arguments(photos, tmp_path / "whole", pause=0.05)) == 0
    run = tmp_path / "run"
    begun = [begin(arguments(photos, run, "--slice", f"{i}/3", pause=0.05)) for i in (1, 2, 3)]
    for process in begun:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert main(["build", str(run), "-q"]) == 0
    assert annotations(run) == annotations(tmp_path / "whole")


def test_a_share_comes_to_a_run_that_another_is_just_making(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for made in ((), (".lock", ".lock-1-of-2"), (".lock", ".lock-turn", ".lock-1-of-2")):
        (run / "labels").mkdir(parents=True)
        for name in made:
            (run / "labels" / name).touch()
        assert main(arguments(photos, run, "--slice", "2/2")) == 0
        shutil.rmtree(run)
    (run / "labels").mkdir(parents=True)
    (run / "notes.txt").write_text("not a run's")
    code, _, err = here(arguments(photos, run, "--slice", "2/2"))
    assert (code, "--overwrite" in err) == (2, False), err
    assert [path.name for path in run.rglob("*")] == ["labels", "notes.txt"]


@pytest.mark.slow
def test_a_share_with_other_options_is_refused(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run, "--slice", "1/2")) == 0
    before = (run / "pipeline.yaml").read_bytes()
    code, _, err = here(renamed(photos, run, "--slice", "2/2", "--confidence", "0.9"))
    assert (code, "ontology, refine" in err, "--overwrite" in err) == (2, True, False), err
    # Nor may it where it is asked for while another is at work with what it began with.
    with locked(run / "labels", (1, 2)):
        code, _, err = here(renamed(photos, run, "--slice", "2/2", "--resume"))
        assert (code, "ontology" in err) == (2, True), err
        assert (run / "pipeline.yaml").read_bytes() == before
        # How it goes about it is each share's own.
        assert main(arguments(photos, run, "--slice", "2/2", "--workers", "1")) == 0
        assert (run / "pipeline.yaml").read_bytes() == before
    assert main(renamed(photos, run, "--slice", "2/2", "--resume")) == 0
    assert yaml.safe_load((run / "pipeline.yaml").read_text())["ontology"] == {"dim": "torch"}


def test_a_share_already_at_work_is_refused(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run, "--slice", "1/2")) == 0
    with locked(run / "labels", (2, 2)):
        code, _, err = here(arguments(photos, run, "--slice", "2/2"))
    assert (code, "Another process is writing" in err) == (1, True), err


@pytest.mark.parametrize("command", [["label", "--preview", "0"], ["plan", "--count", "0"], ["plan", "--count", "-1"]])
def test_a_sample_of_nothing_leaves_no_run(photos: Path, tmp_path: Path, command: list[str]) -> None:
    name, *more = command
    code, _, err = here([name, *arguments(photos, tmp_path / "run", *more)[1:]])
    assert (code, more[0] in err) == (2, True), err
    assert not (tmp_path / "run").exists()


def test_the_lock_is_flock_on_a_file_that_stays(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    lock = tmp_path / ".lock"
    with locked(tmp_path):
        number = lock.stat().st_ino
    # An earlier release took it without a library: the two must see each other.
    with lock.open("a+") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_SH)
        with locked(tmp_path, (1, 2)) as alone:
            assert alone is False
        with pytest.raises(DataError, match="Another process"), locked(tmp_path):
            pass
    with locked(tmp_path, (1, 2)) as alone, lock.open("a+") as theirs:
        assert alone is True
        fcntl.flock(theirs, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert lock.stat().st_ino == number
    assert (tmp_path / ".lock-1-of-2").is_file()


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: int, flags: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("portalocker.portalocker.LOCKER", no_locks)
    for block in (locked(tmp_path), locked(tmp_path, (1, 2)), in_turn(tmp_path)):
        with pytest.raises(DataError, match=r"\.lock.* cannot be locked: No locks available\.") as error, block:
            pass
        assert error.value.hint == "Choose a folder on a disk that supports file locks."
