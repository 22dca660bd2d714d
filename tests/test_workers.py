"""Labelling by processes, under accidents: whatever happens, the dataset comes out the same to the byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg.cli import main
from autodistill_rfdetr_seg.errors import BaseModelError, DataError
from autodistill_rfdetr_seg.files import locked
from autodistill_rfdetr_seg.labeling import in_share, read_failures

ROOT = Path(__file__).resolve().parents[1]

# Bright pixels are one instance. A black corner makes it raise, a white one hang, a red one die.
BASE = """
import os, time
import numpy as np
import supervision as sv

class Bright:
    def __init__(self, ontology, pause=0.0):
        self.ontology, self.pause = ontology, pause

    def predict(self, image):
        time.sleep(self.pause)
        corner = image[0, 0].tolist()
        if corner == [0, 0, 0]:
            raise ValueError("a black corner")
        if corner == [255, 255, 255]:
            time.sleep(3600)
        if corner == [0, 0, 255]:
            os._exit(7)
        mask = (image[:, :, 1] > 150)[None]
        mask[0, 0, 0] = False
        score = float(image[5, 5, 0]) / 255
        return sv.Detections(xyxy=sv.mask_to_xyxy(mask).astype(float), mask=mask, class_id=np.array([0]),
                             confidence=np.array([score]))
"""


def scene(path: Path, number: int, corner: tuple[int, int, int] | None = None) -> None:
    pixels = np.random.default_rng(number).integers(30, 60, (48, 56, 3)).astype(np.uint8)
    pixels[10 + number % 20 : 25 + number % 20, 12:40] = 200
    if corner is not None:
        pixels[0, 0] = corner
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(24):
        scene(tmp_path / "photos" / f"{i:02d}.png", i)
    (tmp_path / "base.py").write_text(BASE)
    return tmp_path / "photos"


def arguments(photos: Path, output: Path, *more: str, pause: float = 0.0) -> list[str]:
    base = f"{photos.parent / 'base.py'}:Bright"
    named = ["--base", base, "--base-arg", f"pause={pause}", "--class", "bright=lamp"]
    return ["label", str(photos), *named, "--output", str(output), "-q", *more]


def annotations(run: Path) -> dict[str, bytes]:
    found = {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted((run / "dataset").rglob("*.coco.json"))}
    assert found
    return found


def test_any_number_of_workers_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    runs = {workers: tmp_path / f"run{workers}" for workers in (0, 1, 3)}
    for workers, run in runs.items():
        assert main(arguments(photos, run, "--workers", str(workers))) == 0
    assert annotations(runs[0]) == annotations(runs[1]) == annotations(runs[3])


def test_tiles_give_the_same_bytes_in_workers(photos: Path, tmp_path: Path) -> None:
    given = ["label", str(photos), "--base", "threshold", "--class", "bright=lamp", "-q", "--tiles", "32"]
    for workers in ("0", "2"):
        assert main([*given, "--output", str(tmp_path / workers), "--workers", workers]) == 0
    assert annotations(tmp_path / "0") == annotations(tmp_path / "2")
    counts = [json.loads(text)["annotations"] for text in annotations(tmp_path / "0").values()]
    assert sum(map(len, counts)) == 24  # each lamp is wider than a tile's middle: cut, and joined again


def test_a_base_that_hangs_dies_or_raises_costs_its_image_only(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene(photos / "hangs.png", 30, (255, 255, 255))
    scene(photos / "dies.png", 31, (255, 0, 0))
    scene(photos / "raises.png", 32, (0, 0, 0))
    run = tmp_path / "run"
    assert main(arguments(photos, run, "--workers", "2", "--timeout-per-image", "1")) == 4
    reasons = {failure["path"]: failure["reason"] for failure in read_failures(run / "labels")}
    assert set(reasons) == {"hangs.png", "dies.png", "raises.png"}
    assert "longer than 1 s" in reasons["hangs.png"]
    assert "exit code 7" in reasons["dies.png"]
    assert "a black corner" in reasons["raises.png"]
    assert json.loads((run / "dataset" / "dataset.json").read_text())["kept"] == 24
    # Put right, only those three are asked for again.
    for number, name in enumerate(("hangs.png", "dies.png", "raises.png")):
        scene(photos / name, 40 + number)
    capsys.readouterr()
    args = [a for a in arguments(photos, run, "--resume") if a != "-q"]
    assert main(args) == 0
    assert "3 images labelled, 24 were already" in capsys.readouterr().err


BATCHES = (
    BASE.replace("class Bright", "class One")
    + """

class Bright(One):
    preferred_batch = 4

    def predict_batch(self, images):
        return [self.predict(image) for image in images]
"""
)


def test_batches_give_the_same_bytes_and_a_bad_image_costs_itself_alone(photos: Path, tmp_path: Path) -> None:
    assert main(arguments(photos, tmp_path / "one")) == 0
    (photos.parent / "base.py").write_text(BATCHES)
    for number, more in enumerate(([], ["--batch", "5"], ["--workers", "2"])):
        run = tmp_path / f"run{number}"
        assert main(arguments(photos, run, *more)) == 0
        assert annotations(run) == annotations(tmp_path / "one")
    scene(photos / "05x.png", 31, (255, 0, 0))
    scene(photos / "06x.png", 32, (0, 0, 0))
    run = tmp_path / "bad"
    assert main(arguments(photos, run, "--workers", "1")) == 4
    reasons = {failure["path"]: failure["reason"] for failure in read_failures(run / "labels")}
    assert set(reasons) == {"05x.png", "06x.png"}
    assert "exit code 7" in reasons["05x.png"]


def test_too_many_failures_stop_early_and_keep_the_rest(photos: Path, tmp_path: Path) -> None:
    for i in range(6):
        scene(photos / f"a{i}.png", 50 + i, (0, 0, 0))
    assert main(arguments(photos, tmp_path / "run", "--max-failures", "2")) == 1
    assert list((tmp_path / "run" / "labels").glob("part-*.parquet"))
    for i in range(6):
        (photos / f"a{i}.png").unlink()
    assert main(arguments(photos, tmp_path / "run", "--resume")) == 0


def test_a_base_that_cannot_be_built_says_so(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos.parent / "base.py").write_text(BASE.replace("self.pause = ontology, pause", "self.pause = 1 / 0, pause"))
    for number, workers in enumerate((["--workers", "2"], [])):
        assert main(arguments(photos, tmp_path / f"run{number}", *workers)) == 1
        assert "ZeroDivisionError" in capsys.readouterr().err
    assert not (tmp_path / "run1").exists()


def test_shares_merge_to_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    assert main(arguments(photos, tmp_path / "whole")) == 0
    run = tmp_path / "run"
    for share in ("2/3", "1/3", "3/3"):
        assert main(arguments(photos, run, "--shard", share, "--resume")) == 0
    assert not (run / "dataset").exists()
    assert main(["build", str(run), "-q"]) == 0
    assert annotations(run) == annotations(tmp_path / "whole")


def test_shares_cover_everything_once() -> None:
    names = [f"folder/{i}.jpg" for i in range(300)]
    shares = [[name for name in names if in_share(name, (i, 4))] for i in range(1, 5)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert min(map(len, shares)) > 40


def test_a_second_writer_is_refused_and_a_crash_leaves_no_lock(tmp_path: Path) -> None:
    code = "from autodistill_rfdetr_seg.files import locked; from pathlib import Path; import sys, time\n"
    hold = code + f"with locked(Path({str(tmp_path)!r})):\n  print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    for share in (None, (1, 2)):
        with pytest.raises(DataError, match="Another process"), locked(tmp_path, share):
            pass
    other.kill()
    other.wait()
    with locked(tmp_path, (1, 2)), locked(tmp_path, (2, 2)):
        for share in (None, (1, 2)):
            with pytest.raises(DataError), locked(tmp_path, share):
                pass
    with locked(tmp_path):
        pass


def start(photos: Path, run: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "autodistill_rfdetr_seg", *arguments(photos, run, *more, pause=0.05)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def test_killed_twenty_times_anywhere_and_resumed(photos: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    started = time.monotonic()
    assert start(photos, whole).wait() == 0
    full = time.monotonic() - started
    rng = random.Random(7)
    ended = 0
    for number in range(20):
        process = start(photos, run, "--resume", *(("--workers", "2") if number % 5 == 4 else ()))
        try:
            # From the first import to the last rename: half of the kills fall into the second half of a run.
            process.wait(rng.uniform(0.3, 1.1) * full if number % 2 else rng.uniform(0.0, 0.6) * full)
            ended += process.returncode == 0
        except subprocess.TimeoutExpired:
            process.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            process.wait(30)
    assert ended < 20
    final = start(photos, run, "--resume")
    assert final.wait() == 0, final.stderr.read() if final.stderr else None
    assert annotations(run) == annotations(whole)
    left = [path for path in run.rglob(".*") if not path.name.startswith(".lock")]
    assert not left


def test_signals_end_it_in_order_and_leave_no_process(photos: Path, tmp_path: Path) -> None:
    scene(photos / "00.png", 30, (255, 255, 255))
    for number, sent in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
        process = start(photos, tmp_path / f"run{number}", "--workers", "2")
        deadline = time.monotonic() + 60
        while len(workers := children(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2)  # one of them hangs in the base by now
        process.send_signal(sent)
        process.wait(30)
        assert process.returncode == (-signal.SIGKILL if sent == signal.SIGKILL else 130)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert ("--resume" in said) == (sent != signal.SIGKILL) and "Traceback" not in said
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def children(pid: int) -> list[int]:
    """The worker processes of a process: those that multiprocessing has spawned to work."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == pid and b"spawn_main" in command:
            found.append(int(stat.parent.name))
    return found


def test_a_damaged_shard_is_put_aside_and_its_images_are_labelled_again(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    before = annotations(run)
    shard = next((run / "labels").glob("part-*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 0xFF
    shard.write_bytes(bytes(data))
    (run / "dataset" / "dataset.json").unlink()
    assert main(["build", str(run), "-q"]) == 1
    assert main(arguments(photos, run, "--resume")) == 0
    assert annotations(run) == before
    assert list((run / "labels").glob("*.torn"))


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno

    import pyarrow.parquet as pq

    from autodistill_rfdetr_seg import store

    monkeypatch.setattr(store, "ROWS_PER_SHARD", 5)
    real, calls = pq.write_table, []

    def filling(table: object, where: Path, **options: object) -> None:
        calls.append(where)
        if len(calls) == 3:
            Path(where).write_bytes(b"PAR1 half a sh")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))
        real(table, where, **options)

    monkeypatch.setattr(pq, "write_table", filling)
    assert main(arguments(photos, tmp_path / "run")) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert main(arguments(photos, tmp_path / "run", "--resume")) == 0
    assert main(arguments(photos, tmp_path / "whole")) == 0
    assert annotations(tmp_path / "run") == annotations(tmp_path / "whole")


def test_errors_reach_the_parent_whole() -> None:
    from autodistill_rfdetr_seg.bases.workers import _sendable
    from autodistill_rfdetr_seg.errors import UnknownNameError

    sent = _sendable(UnknownNameError("prompt", "redd", ["red"]))
    assert isinstance(sent, BaseModelError)
    assert (sent.exit_code, sent.hint) == (2, "Known: red.")
