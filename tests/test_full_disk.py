"""A disk that is really full, at any moment of labelling and building: one sentence, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from test_workers import BASE, annotations, arguments, scene

from autodistill_rfdetr_seg.cli import main

KILOBYTE = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path, kilobytes: int) -> Path:
    """Takes all of the disk but so much."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(16 * KILOBYTE))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - kilobytes * KILOBYTE))
    return ballast


def test_a_disk_full_at_any_moment(tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    for i in range(300):
        scene(photos / f"{i:03d}.png", i)
    for path in sorted(photos.iterdir())[::10]:
        # Alpha is baked: the dataset's copy takes room where a link would take none.
        with Image.open(path) as image:
            image.convert("RGBA").save(path)
    (tmp_path / "base.py").write_text(BASE)
    assert main(arguments(photos, tmp_path / "whole")) == 0
    expected = annotations(tmp_path / "whole")
    reached = set()
    for number, free in enumerate((4, 16, 32, 64, 96, 128, 192, 256, 320, 384)):
        run = disk / f"run{number}"
        ballast = fill(disk, free)
        capsys.readouterr()
        code = main(arguments(photos, run))
        error = capsys.readouterr().err
        assert code == 1, f"{free} kB were enough"
        assert "No space left on device" in error
        assert "Traceback" not in error
        stored = len(list((run / "labels").glob("part-*.parquet")))
        reached.add("dataset" if (run / "labels" / "labels.json").is_file() else f"{stored} shards")
        assert not (run / "dataset").exists()
        ballast.unlink()
        assert main(arguments(photos, run, "--resume")) == 0
        assert annotations(run) == expected
        assert not [path for path in run.rglob(".*") if path.suffix in (".partial", ".old")]
        subprocess.run(["rm", "-r", run], check=True)
    # It was full before anything was stored, between two shards, and while the dataset was built.
    assert {"0 shards", "dataset"} < reached
    assert reached & {"1 shards", "2 shards"}
