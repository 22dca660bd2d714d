"""Real accidents to the real command line: full disks, signals, kills, and what they leave behind.

Whatever happens, it is one sentence, nothing half-made is left, and in the end the dataset is the same to the byte.
"""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autodistill_rfdetr_seg.system.locks import locked
from helpers.commands import Process, begin, finish, here
from helpers.fork_server import PACKAGE
from helpers.lamps import BASE, annotations, arguments, scene
from helpers.processes import are_gone, parents_of

pytestmark = pytest.mark.slow

IMAGES = 300  # three shards
KILLS = 20
PAUSE = 0.05  # seconds


def speckled(path: Path, number: int, mode: str = "RGB") -> None:
    """An image whose mask takes some room: half of the pixels, each by itself."""
    pixels = np.random.default_rng(number).choice([60, 200], (32, 48, 1)).repeat(3, 2).astype(np.uint8)
    pixels[0, 0] = 60
    Image.fromarray(pixels).convert(mode).save(path)


def fill(home: Path) -> Path:
    """`photos`, of which every other one is written anew into a dataset, and `base.py`."""
    photos = home / "photos"
    photos.mkdir(parents=True)
    (home / "base.py").write_text(BASE)
    for i in range(IMAGES):
        speckled(photos / f"{i:03d}.png", i, "RGBA" if i % 2 else "RGB")
    return photos


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset of a run that nothing happened to."""
    home = tmp_path_factory.mktemp("undisturbed")
    photos = fill(home)
    assert here(arguments(photos, home / "run"))[0] == 0
    return wherever(home)


def wherever(home: Path) -> dict[str, bytes]:
    """The annotations of the run in `home`, less the place of the base."""
    return {name: data.replace(str(home).encode(), b"") for name, data in annotations(home / "run").items()}


def assert_nothing_half(run: Path) -> None:
    """What is there is whole, and nothing else is there."""
    assert not [path for path in run.rglob(".*") if path.suffix in (".partial", ".old")]
    assert not (run / "dataset").exists()
    for shard in (run / "labels").glob("*.parquet"):
        assert pq.read_table(shard).num_rows > 0


def assert_one_sentence(ended: tuple[int, str, str], words: str) -> None:
    code, out, err = ended
    assert (code, out) == (1, ""), err
    first, hint = err.splitlines()
    assert first.startswith(f"Error: {words}")
    assert hint.startswith("Hint: free some disk space")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A file system in memory, and what sets its size in KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(disk)]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            return subprocess.CompletedProcess(command, 1, "", str(error))

    mounted = mount("size=64m")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")

    def resize(kib: int) -> None:
        done = mount("remount", f"size={kib}k")
        assert done.returncode == 0, done.stderr

    try:
        yield disk, resize
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def used_kib(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


def test_a_disk_that_fills_wherever_it_may(
    small_disk: tuple[Path, Callable[[int], None]], undisturbed: dict[str, bytes]
) -> None:
    disk, resize = small_disk
    photos = fill(disk)
    run = disk / "run"
    size = used_kib(disk) + 4
    phases = []
    while True:
        resize(size)
        ended = here(arguments(photos, run, "--resume"))
        if ended[0] == 0:
            break
        assert_one_sentence(ended, "No space left on device")
        assert_nothing_half(run)
        labelled = (run / "labels" / "labels.json").is_file()
        phases.append("dataset" if labelled else f"{len(list((run / 'labels').glob('*.parquet')))} shards")
        size += 64 if len(phases) < 4 else 300
    # In the first shard, after some, and in the pictures and annotations of the dataset.
    assert {"0 shards", "1 shards", "dataset"} <= set(phases)
    assert phases.count("dataset") > 1
    assert wherever(disk) == undisturbed


@pytest.mark.parametrize(("kib", "phase"), [(24, "labels"), (160, "dataset")])
def test_a_file_that_may_not_grow(tmp_path: Path, undisturbed: dict[str, bytes], kib: int, phase: str) -> None:
    """The same by a limit of the operating system, for where nothing can be mounted."""

    photos, run = fill(tmp_path), tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, before[1]))
    try:
        ended = here(arguments(photos, run))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_one_sentence(ended, "File too large")
    assert_nothing_half(run)
    assert (run / "labels" / "labels.json").is_file() == (phase == "dataset")
    assert here(arguments(photos, run, "--resume"))[0] == 0
    assert wherever(tmp_path) == undisturbed


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], float]:
    """24 photos, their dataset by a base that takes `PAUSE` for each, and the seconds that it took a process."""
    home = tmp_path_factory.mktemp("slow")
    for i in range(24):
        scene(home / "photos" / f"{i:02d}.png", i)
    (home / "base.py").write_text(BASE)
    started = time.monotonic()
    assert finish(arguments(home / "photos", home / "run", pause=PAUSE))[0] == 0
    return home / "photos", annotations(home / "run"), time.monotonic() - started


def workers_of(process: Process) -> list[int]:
    """The processes that work for it: those that were forked from its server."""
    parents = parents_of(b"multiprocessing.forkserver")
    return [number for number, parent in parents.items() if parents.get(parent) == process.pid]


@pytest.mark.parametrize(
    ("sent", "code", "workers"),
    [("SIGINT", 130, 2), ("SIGTERM", 143, 2), ("SIGKILL", -9, 2), ("SIGHUP", 129, 0)],
)
def test_a_signal_ends_it_in_order(
    slow: tuple[Path, dict[str, bytes], float], tmp_path: Path, sent: str, code: int, workers: int
) -> None:
    (photos, expected, _), run = slow, tmp_path / "run"
    hanging = photos / "00 hangs.png"
    if workers:
        scene(hanging, 30, (255, 255, 255))  # the base hangs on it, in one of them
    try:
        given = arguments(photos, run, "--workers", str(workers), pause=PAUSE)
        interrupt([argument for argument in given if argument != "-q"], run, sent, code, workers)
    finally:
        hanging.unlink(missing_ok=True)
    assert here(arguments(photos, run, "--resume", pause=PAUSE))[0] == 0
    assert annotations(run) == expected


def read_until_one_is_labeled(stderr: IO[str] | None, images: str) -> None:
    """Reads the progress of a process until an image of all (a pattern of their number) is labeled."""
    assert stderr is not None
    seen = ""
    while not re.search(rf"[1-9]\d?/{images}", seen):
        letter = stderr.read(1)
        assert letter, seen
        seen += letter


def interrupt(command: list[str], run: Path, sent: str, code: int, workers: int) -> None:
    """Sends a signal once an image has been labelled, and looks at the end."""
    process = begin(command)
    read_until_one_is_labeled(process.stderr, "2[45]")
    crew = workers_of(process)
    assert len(crew) == workers
    process.send_signal(getattr(signal, sent))
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert ("continue with --resume" in err) == (sent != "SIGKILL")
    assert are_gone(crew)
    assert bool(list((run / "labels").glob("part-*.parquet"))) == (sent != "SIGKILL")


def test_under_nohup_it_goes_on_when_the_terminal_is_closed(
    slow: tuple[Path, dict[str, bytes], float], tmp_path: Path
) -> None:
    (photos, expected, _), run = slow, tmp_path / "run"
    command = [argument for argument in arguments(photos, run, pause=PAUSE) if argument != "-q"]
    shell = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-m", PACKAGE, *command]
    with subprocess.Popen(shell, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        read_until_one_is_labeled(process.stderr, "24")
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert annotations(run) == expected


def test_killed_anywhere_again_and_again(slow: tuple[Path, dict[str, bytes], float], tmp_path: Path) -> None:
    (photos, expected, full), run = slow, tmp_path / "run"
    rng = random.Random(7)
    ended = 0
    for number in range(KILLS):
        workers = ("--workers", "2") if number % 5 == 4 else ()
        process, begun = begin(arguments(photos, run, "--resume", *workers, pause=PAUSE)), time.monotonic()
        try:
            # From the last imports to the last rename; what was stored brings the latter nearer.
            process.wait(rng.uniform(0.4, 1.1) * full)
            ended += process.returncode == 0
            # The machine may have had more to do when the whole run was timed.
            full = min(full, time.monotonic() - begun)
        except subprocess.TimeoutExpired:
            process.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        process.communicate(timeout=30)
    assert ended < KILLS
    final = here(arguments(photos, run, "--resume", pause=PAUSE))
    assert final[0] == 0, final
    assert annotations(run) == expected
    left = [path.name for path in run.rglob(".*") if not path.name.startswith(".lock")]
    assert not left


def test_what_a_kill_leaves_behind_is_cleared(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert here(arguments(photos, run))[0] == 0
    before = (run / "dataset" / "dataset.json").stat()
    gone, here_still = 2**22 + 1, os.getppid()  # no process has a number over 2**22
    # Killed between the two renames, in a shard, in a dataset, and an hour ago in the configuration.
    (run / "dataset").rename(run / f".dataset.{gone}.old")
    for name in (f".dataset.{here_still}.partial/train", f".dataset.{gone + 1}.old/train"):
        (run / name).mkdir(parents=True)
    halves = (f"labels/.part-000007-0.parquet.{gone}.partial", f".pipeline.yaml.{here_still}.partial")
    for name in (*halves, f".report.html.{here_still}.partial"):
        (run / name).write_bytes(b"half")
    os.utime(run / halves[1], (1, 1))
    ended = here(arguments(photos, run, "--resume"))
    assert ended[0] == 0, ended
    now = (run / "dataset" / "dataset.json").stat()
    assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # The page is in another process's hands.
    left = [path.name for path in run.rglob(".*") if path.name != ".lock"]
    assert left == [f".report.html.{here_still}.partial"]


def test_beside_other_shares_only_what_is_old_is_cleared(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / f".{name}.{2**22 + 1}.partial").touch()
    os.utime(tmp_path / f".old.{2**22 + 1}.partial", (1, 1))
    with locked(tmp_path, (1, 2)):
        # It may be another machine's, where there is such a process.
        assert [path.name for path in tmp_path.glob("*.partial")] == [f".new.{2**22 + 1}.partial"]


def test_two_builds_at_once_are_refused(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert here(arguments(photos, run))[0] == 0
    with locked(run):
        code, _, err = here(["build", str(run), "--confidence", "0.9", "-q"])
    assert (code, "Another process is writing" in err) == (1, True)
