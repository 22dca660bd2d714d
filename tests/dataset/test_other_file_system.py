"""Images on another file system than the run: they are copied, once, and `plan` knows."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.commands import here
from helpers.lamps import BASE, annotations, arguments, scene


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """24 pictures of a lamp where no hard link leads from."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    home = Path(tempfile.mkdtemp(dir=memory))
    try:
        (home / "base.py").write_text(BASE)
        for number in range(24):
            scene(home / "photos" / f"{number:02d}.png", number)
        yield home / "photos"
    finally:
        shutil.rmtree(home)


def pictures(run: Path) -> dict[str, Path]:
    return {path.name: path for path in (run / "dataset").rglob("*.png")}


def test_a_build_copies_once(elsewhere: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert here(arguments(elsewhere, run))[0] == 0
    first = {name: path.stat().st_ino for name, path in pictures(run).items()}
    assert len(first) == 24
    for name, path in pictures(run).items():
        assert path.read_bytes() == (elsewhere / name).read_bytes()
    # In other splits too. What someone has changed in the dataset is not taken for the user's.
    pictures(run)["03.png"].write_bytes(b"not mine")
    assert here(["build", str(run), "--split", "0.4,0.3,0.3", "--confidence", "0.1", "-q"])[0] == 0
    second = pictures(run)
    assert {name: path.stat().st_ino for name, path in second.items() if name != "03.png"} == {
        name: inode for name, inode in first.items() if name != "03.png"
    }
    assert {path.stat().st_nlink for path in second.values()} == {1}
    for name, path in second.items():
        assert path.read_bytes() == (elsewhere / name).read_bytes()
    whole = [*arguments(elsewhere, tmp_path / "anew"), "--split", "0.4,0.3,0.3", "--confidence", "0.1"]
    assert here(whole)[0] == 0
    assert annotations(tmp_path / "anew") == annotations(run)


def test_a_plan_counts_what_will_be_copied(elsewhere: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, err = here(["plan", *arguments(elsewhere, run)[1:], "--json"])
    assert code == 0, err
    forecast = json.loads(out)
    assert (forecast["copied_images"], forecast["baked_images"]) == (24, 0)
    assert not list(run.glob(".plan-*"))
    assert here(arguments(elsewhere, run, "--resume"))[0] == 0
    written = sum(path.stat().st_size for path in (run / "dataset").rglob("*") if path.is_file())
    images = sum(path.stat().st_size for path in elsewhere.iterdir())
    assert written > images
    assert forecast["dataset_bytes"] == pytest.approx(written, rel=0.1)
    out = here(["plan", *arguments(elsewhere, run)[1:], "--resume"])[1]
    assert "24 images copied, because they cannot be hard-linked" in out


def test_a_plan_of_images_that_are_linked(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = {path: path.stat().st_nlink for path in photos.iterdir()}
    code, out, _ = here(["plan", *arguments(photos, run)[1:]])
    assert (code, ", images linked" in out) == (0, True)
    assert {path: path.stat().st_nlink for path in photos.iterdir()} == before
