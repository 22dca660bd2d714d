"""How often the base is asked, and built: once for each content, whatever its files are called and whoever asks."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from autodistill_rfdetr_seg.core.config import BaseConfig, LabelingConfig, parse
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.labels import worker_labeling
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.label_account import read_failures
from autodistill_rfdetr_seg.labels.labeler import label_images
from autodistill_rfdetr_seg.review.label_preview import label_sample
from helpers.commands import finish, here
from helpers.lamps import BASE, annotations, arguments, scene

# Notes each time that it is built or asked.
NOTING = BASE.replace(
    "        self.ontology, self.pause = ontology, pause",
    "        self.ontology, self.pause = ontology, pause\n        note('built')",
).replace("        time.sleep(self.pause)", "        note('asked')\n        time.sleep(self.pause)")
NOTING += """

def note(word):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "notes.txt"), "a") as file:
        file.write(word + "\\n")
"""
WAYS = pytest.mark.parametrize("workers", ["0", "1"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """`photos` of 12 lamps, and a base that notes when it is built or asked."""
    for i in range(12):
        scene(tmp_path / "photos" / f"{i:02d}.png", i)
    (tmp_path / "base.py").write_text(NOTING)
    return tmp_path


def notes(home: Path) -> tuple[int, int]:
    """How often the base was built, and asked, since the last time."""
    path = home / "notes.txt"
    words = path.read_text().split() if path.is_file() else []
    path.unlink(missing_ok=True)
    return words.count("built"), words.count("asked")


def label(home: Path, output: str, *more: str, images: Path | None = None) -> str:
    """Labels `photos`; gives what was said."""
    command = [part for part in arguments(images or home / "photos", home / output, *more) if part != "-q"]
    command[command.index("--base") + 1] = f"{home / 'base.py'}:Bright"
    code, _, err = here(command)
    assert code == 0, err
    return err


@pytest.mark.slow
@WAYS
def test_the_same_content_under_other_names_is_not_asked_for(home: Path, workers: str) -> None:
    label(home, "run", "--workers", workers)
    assert notes(home)[1] == 12
    shutil.copytree(home / "photos", home / "photos" / "again")
    assert "0 images labeled, 24 already had labels" in label(home, "run", "--resume", "--workers", workers)
    assert notes(home) == (0, 0)
    # As backups and sync services write them: other times, other names.
    (home / "photos" / "day1").mkdir()
    for number, path in enumerate(sorted((home / "photos").glob("*.png"))):
        path.rename(home / "photos" / "day1" / f"IMG_{number}.PNG.png")
        os.utime(home / "photos" / "day1" / f"IMG_{number}.PNG.png", (1, 1))
    said = label(home, "run", "--resume", "--workers", workers)
    assert "0 images labeled, 24 already had labels" in said
    assert notes(home) == (0, 0)
    label(home, "fresh")
    assert annotations(home / "run") == annotations(home / "fresh")
    rows = pq.read_table(sorted((home / "run" / "labels").glob("part-*.parquet"))[-1]).to_pylist()
    assert {row["path"] for row in rows} == {f"day1/IMG_{number}.PNG.png" for number in range(12)}
    assert len({row["image_id"] for row in rows}) == 12


@pytest.mark.slow
@WAYS
def test_touched_files_are_not_asked_for(home: Path, workers: str) -> None:
    label(home, "run", "--workers", workers)
    shards = sorted((home / "run" / "labels").glob("part-*.parquet"))
    for path in (home / "photos").iterdir():
        os.utime(path, (1, 1))
    notes(home)
    assert "0 images labeled, 12 already had labels" in label(home, "run", "--resume", "--workers", workers)
    assert notes(home) == (0, 0)
    assert sorted((home / "run" / "labels").glob("part-*.parquet")) == shards


@pytest.mark.slow
@WAYS
def test_what_is_known_is_found_behind_what_is_new(home: Path, workers: str) -> None:
    label(home, "run")
    notes(home)
    scene(home / "photos" / "00new.png", 40)
    scene(home / "photos" / "zz.png", 41)
    shutil.copytree(home / "photos", home / "more", ignore=shutil.ignore_patterns("00new*", "zz*"))
    shutil.move(home / "more", home / "photos" / "more")
    said = label(home, "run", "--resume", "--workers", workers)
    assert "2 images labeled, 24 already had labels" in said
    assert notes(home)[1] == 2
    label(home, "fresh")
    # What had a place keeps it, so that only a dataset made anew is the same.
    shutil.rmtree(home / "run" / "dataset")
    assert here(["build", str(home / "run"), "-q"])[0] == 0
    assert annotations(home / "run") == annotations(home / "fresh")


def test_a_list_that_gains_a_line_shifts_names_and_asks_for_nothing(home: Path) -> None:
    shutil.move(home / "photos", home / "deep" / "photos")
    (home / "deep").mkdir(exist_ok=True)
    listed = home / "listed.txt"
    lines = [str(path) for path in sorted((home / "deep" / "photos").iterdir())]
    listed.write_text("\n".join(lines))
    label(home, "run", images=listed)
    scene(home / "deep" / "one.png", 50)
    listed.write_text("\n".join([*lines, str(home / "deep" / "one.png")]))
    notes(home)
    assert "1 images labeled, 12 already had labels" in label(home, "run", "--resume", images=listed)
    assert notes(home)[1] == 1
    index = json.loads((home / "run" / "dataset" / "dataset.json").read_text())["images"]
    assert set(index) == {f"photos/{i:02d}.png" for i in range(12)} | {"one.png"}


def test_another_question_is_asked(home: Path) -> None:
    label(home, "run")
    shutil.move(home / "photos", home / "photos2")
    shutil.move(home / "photos2", home / "photos" / "moved")
    notes(home)
    for more in (("--class", "glow=glow"), ("--tiles", "32"), ("--stability",)):
        label(home, "run", "--resume", *more)
        assert notes(home)[1] >= 12, more
        (home / "photos" / "moved").rename(home / "photos" / f"moved{len(more[0])}")
        label(home, "run", "--resume", *more)
        assert notes(home) == (0, 0), more
        (home / "photos" / f"moved{len(more[0])}").rename(home / "photos" / "moved")


def test_an_overwritten_photo_that_comes_back_is_known(home: Path) -> None:
    label(home, "run")
    kept = (home / "photos" / "03.png").read_bytes()
    scene(home / "photos" / "03.png", 40)
    notes(home)
    label(home, "run", "--resume")
    assert notes(home)[1] == 1
    (home / "photos" / "03.png").write_bytes(kept)
    label(home, "run", "--resume")
    assert notes(home) == (0, 0)
    label(home, "fresh")
    assert annotations(home / "run") == annotations(home / "fresh")


def test_a_row_taken_again_says_what_made_it(home: Path) -> None:
    classes = Classes.from_ontology({"bright": "lamp"})
    source = BaseSource.from_config(BaseConfig(name=f"{home / 'base.py'}:Bright"), classes)
    source.provenance.versions.clear()  # type: ignore[attr-defined]
    source.provenance.versions["transformers"] = "1.0"  # type: ignore[index]
    label_images(source, [(home / "photos" / "00.png", "00.png")], home / "labels", progress=False)
    source.provenance.versions["transformers"] = "2.0"  # type: ignore[index]
    for i, name in enumerate(("00.png", "01.png")):
        label_images(source, [(home / "photos" / name, f"other{i}.png")], home / "labels", progress=False)
    rows = [row for shard in (home / "labels").glob("*.parquet") for row in pq.read_table(shard).to_pylist()]
    made = {row["path"]: json.loads(row["versions"])["transformers"] for row in rows}
    assert made == {"00.png": "1.0", "other0.png": "1.0", "other1.png": "2.0"}


def test_copies_are_asked_for_by_one_share_only(home: Path) -> None:
    """Each share on a machine of its own, none of which sees what the others have stored."""
    for folder in ("a", "b", "c"):
        shutil.copytree(home / "photos", home / folder)
    for folder in ("a", "b", "c"):
        shutil.move(home / folder, home / "photos" / folder)
    items = [(path, path.relative_to(home / "photos").as_posix()) for path in sorted((home / "photos").rglob("*.png"))]
    source = BaseSource.from_config(
        BaseConfig(name=f"{home / 'base.py'}:Bright"), Classes.from_ontology({"bright": "lamp"})
    )
    stored: list[str] = []
    for number in (1, 2, 3):
        folder = home / f"labels{number}"
        label_images(source, items, folder, LabelingConfig(slice=(number, 3)), progress=False)
        rows = [row["path"] for shard in folder.glob("*.parquet") for row in pq.read_table(shard).to_pylist()]
        assert rows
        stored += rows
    assert sorted(stored) == [name for _, name in sorted(items, key=lambda item: item[1])]
    assert notes(home)[1] == 12


HANGING = NOTING.replace("        note('built')", "        note('built')\n        hang()")
HANGING += """
def hang():
    folder = os.path.dirname(os.path.abspath(__file__))
    if os.path.exists(folder + "/hang"):
        built = open(folder + "/notes.txt").read().split().count("built")
        time.sleep(3600 if built > int(open(folder + "/hang").read()) else 0)
"""


def hanging(home: Path, after: int) -> list[str]:
    """`label` by a base that hangs when it is built, but for the first so many times."""
    (home / "base.py").write_text(HANGING)
    (home / "hang").write_text(str(after))
    return arguments(home / "photos", home / "run", "--workers", "2", "--timeout-per-image", "60")


@pytest.mark.slow
def test_a_base_that_hangs_while_it_is_built_is_ended(home: Path) -> None:
    code, out, err = finish([*hanging(home, 0), "--start-timeout", "2"])
    assert (code, out) == (1, "")
    said, hint = err.splitlines()[-2:]
    assert said == "Error: The base took longer than 2 s to be built."
    assert "--start-timeout" in hint


@pytest.mark.slow
def test_a_worker_that_never_starts_leaves_the_work_to_the_others(home: Path) -> None:
    code, _, err = finish([*hanging(home, 1), "--start-timeout", "3600"])
    assert code == 0, err
    assert notes(home)[1] == 12


@pytest.mark.slow
def test_the_others_work_on_while_a_lost_worker_is_replaced(home: Path) -> None:
    scene(home / "photos" / "00.png", 30, (255, 0, 0))
    code, _, err = finish([*hanging(home, 2), "--start-timeout", "3600"])
    assert code == 4, err
    failures = read_failures(home / "run" / "labels")
    assert [failure["path"] for failure in failures] == ["00.png"]
    assert "exit code 7" in failures[0]["reason"]
    index = json.loads((home / "run" / "dataset" / "dataset.json").read_text())["images"]
    assert set(index) == {f"{i:02d}.png" for i in range(1, 12)}


@pytest.mark.slow
def test_what_was_labelled_is_kept_when_no_worker_is_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SecondHasNoTime(worker_labeling._Worker):
        """A worker that is out of time at once, where another has built the base before it."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            if (home / "notes.txt").exists():
                self.deadline = time.monotonic()

    monkeypatch.setattr(worker_labeling, "_Worker", SecondHasNoTime)
    scene(home / "photos" / "05.png", 30, (255, 0, 0))
    command = [part for part in hanging(home, 1) if part != "-q"]
    command[command.index("--workers") + 1] = "1"
    code, _, err = here([*command, "--start-timeout", "3600"])
    assert code == 1, err
    assert "The base took longer than 3600 s to be built." in err
    monkeypatch.undo()
    (home / "hang").unlink()
    code, _, err = finish([*command, "--resume"])
    assert code == 4, err
    assert "6 images labeled, 5 already had labels, 1 failed" in err


def test_what_is_known_is_not_part_of_what_a_sample_took(home: Path) -> None:
    """A forecast counts the seconds of what it has asked for, not those of a row that it has taken again."""
    source = BaseSource.from_config(
        BaseConfig(name=f"{home / 'base.py'}:Bright"), Classes.from_ontology({"bright": "lamp"})
    )
    config = parse({"images": str(home / "photos"), "ontology": {"bright": "lamp"}})
    items = [(path, path.name) for path in sorted((home / "photos").iterdir())]
    assert len(label_sample(config, items[:6], source, home / "labels", False).new) == 6
    renamed = [(path, f"moved/{name}") for path, name in items[:8]]
    assert label_sample(config, renamed, source, home / "labels", False).new == ("moved/06.png", "moved/07.png")


def test_an_unreadable_file_among_known_ones_needs_no_base(home: Path) -> None:
    label(home, "run")
    notes(home)
    for path in (home / "photos").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    (home / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    code, _, err = here([part for part in arguments(home / "photos", home / "run", "--resume") if part != "-q"])
    assert code == 4, err
    assert "0 images labeled, 12 already had labels, 1 failed" in err
    assert notes(home) == (0, 0)
