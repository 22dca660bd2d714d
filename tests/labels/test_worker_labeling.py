"""Labelling by processes, under accidents: whatever happens, the dataset comes out the same to the byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import BaseModelError, DataError
from autodistill_rfdetr_seg.labels.image_slices import in_slice
from autodistill_rfdetr_seg.labels.label_account import read_failures
from autodistill_rfdetr_seg.system.locks import locked
from helpers.lamps import BASE, annotations, arguments, scene


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    runs = {workers: tmp_path / f"run{workers}" for workers in (0, 1, 3)}
    for workers, run in runs.items():
        assert main(arguments(photos, run, "--workers", str(workers))) == 0
    assert annotations(runs[0]) == annotations(runs[1]) == annotations(runs[3])


@pytest.mark.slow
def test_tiles_give_the_same_bytes_in_workers(photos: Path, tmp_path: Path) -> None:
    given = ["label", str(photos), "--base", "threshold", "--class", "bright=lamp", "-q", "--tiles", "32"]
    for workers in ("0", "2"):
        assert main([*given, "--output", str(tmp_path / workers), "--workers", workers]) == 0
    assert annotations(tmp_path / "0") == annotations(tmp_path / "2")
    counts = [json.loads(text)["annotations"] for text in annotations(tmp_path / "0").values()]
    assert sum(map(len, counts)) == 24  # each lamp is wider than a tile's middle: cut, and joined again


@pytest.mark.slow
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
    assert "3 images labeled, 24 already had labels" in capsys.readouterr().err


BATCHES = (
    BASE.replace("class Bright", "class One")
    + """

class Bright(One):
    preferred_batch = 4

    def predict_batch(self, images):
        return [self.predict(image) for image in images]
"""
)


@pytest.mark.slow
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
    assert len(read_failures(tmp_path / "run" / "labels")) == 3
    assert list((tmp_path / "run" / "labels").glob("part-*.parquet"))
    for i in range(6):
        (photos / f"a{i}.png").unlink()
    assert main(arguments(photos, tmp_path / "run", "--resume")) == 0


@pytest.mark.slow
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
        assert main(arguments(photos, run, "--slice", share, "--resume")) == 0
    assert not (run / "dataset").exists()
    assert main(["build", str(run), "-q"]) == 0
    assert annotations(run) == annotations(tmp_path / "whole")


def test_shares_cover_everything_once() -> None:
    names = [f"folder/{i}.jpg" for i in range(300)]
    shares = [[name for name in names if in_slice(name, (i, 4))] for i in range(1, 5)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert min(map(len, shares)) > 40


def test_a_second_writer_is_refused_and_a_crash_leaves_no_lock(tmp_path: Path) -> None:
    code = "from autodistill_rfdetr_seg.system.locks import locked; from pathlib import Path; import sys, time\n"
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


def test_a_damaged_shard_is_put_aside_and_its_images_are_labelled_again(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    before = annotations(run)
    shard = next((run / "labels").glob("part-*.parquet"))
    data = bytearray(shard.read_bytes())
    # In the footer, which Parquet's own checksums do not cover.
    data[data.rindex(b"parquet-cpp-arrow")] ^= 0xFF
    shard.write_bytes(bytes(data))
    (run / "dataset" / "dataset.json").unlink()
    assert main(["build", str(run), "-q"]) == 1
    assert main(arguments(photos, run, "--resume")) == 0
    assert annotations(run) == before
    assert list((run / "labels").glob("*.torn"))


def test_errors_reach_the_parent_whole() -> None:
    from autodistill_rfdetr_seg.core.errors import UnknownNameError, sendable

    sent = sendable(UnknownNameError("prompt", "redd", ["red"]))
    assert isinstance(sent, BaseModelError)
    assert (sent.exit_code, sent.hint) == (2, "Known: red.")
