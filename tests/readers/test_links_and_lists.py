"""Links, patterns, lists and COCO files as people have them, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.system.folders import Links, expand, walk
from helpers.commands import finish, here
from helpers.lamps import BASE, arguments, scene


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "base.py").write_text(BASE)
    return tmp_path


def lamps(folder: Path, *numbers: int) -> None:
    for number in numbers:
        scene(folder / f"{number:02d}.png", number)


def label(home: Path, source: str, *more: str, output: str = "run") -> tuple[int, str, str]:
    command = arguments(home / "any", home / output, "--split", "1,0,0", *more)
    command[1] = source
    return here(command)


def labelled(home: Path, output: str = "run") -> list[str]:
    """The names of the images in the dataset."""
    index: dict[str, Any] = json.loads((home / output / "dataset" / "dataset.json").read_text())
    return sorted(index["images"])


def failures(home: Path) -> dict[str, str]:
    rows = map(json.loads, (home / "run" / "labels" / "failures.jsonl").read_text().splitlines())
    return {row["path"]: row["reason"] for row in rows}


def test_a_folder_of_linked_folders(home: Path) -> None:
    lamps(home / "one", 0, 1)
    lamps(home / "two" / "deep", 2)
    lamps(home / "set" / "own", 3)
    for name, target in (("cam2", "two"), ("cam1", "one"), ("again", "one"), (".hidden", "two")):
        (home / "set" / name).symlink_to(home / target)
    (home / "set" / "own" / "up").symlink_to(home / "set")
    (home / "set" / "out").symlink_to(home)
    (home / "two" / "back").symlink_to(home / "two", target_is_directory=True)
    code, _, err = label(home, str(home / "set"))
    assert code == 0, err
    # Of two links to one folder the first by name is followed.
    assert labelled(home) == ["again/00.png", "again/01.png", "cam2/deep/02.png", "own/03.png"]
    assert "Linked folders followed: 2, such as again; not followed, as they lead back or to " in err
    assert "folders that are read anyway: 4, such as cam1." in err
    assert len(list((home / "one").iterdir())) == 2


def test_a_linked_folder_is_not_written_to(home: Path) -> None:
    lamps(home / "one", 0)
    (home / "set").mkdir()
    (home / "set" / "cam").symlink_to(home / "one")
    code, _, err = label(home, str(home / "set"), output="one/run")
    assert (code, "is inside the images' folder" in err) == (2, True), err
    (home / "set" / "cam").unlink()
    lamps(home / "run" / "frames", 1)
    (home / "set" / "cam").symlink_to(home / "run" / "frames")
    code, _, err = label(home, str(home / "set"), "--overwrite")
    assert (code, "which the run would replace" in err) == (2, True), err
    assert (home / "run" / "frames" / "01.png").is_file()


def test_a_real_folder_is_itself_whatever_links_to_it(tmp_path: Path) -> None:
    (tmp_path / "set" / "z").mkdir(parents=True)
    (tmp_path / "set" / "a").symlink_to("z")
    (tmp_path / "else" / "inner").mkdir(parents=True)
    (tmp_path / "set" / "whole").symlink_to(tmp_path / "else")
    (tmp_path / "set" / "part").symlink_to(tmp_path / "else" / "inner")
    links = Links()
    found = [folder.relative_to(tmp_path / "set").as_posix() for folder, _ in walk(tmp_path / "set", links)]
    assert found == [".", "z", "part", "whole"]
    assert [path.name for path in links.followed] == ["part", "whole"]
    assert [path.name for path in links.not_followed] == ["a"]


def test_a_pattern_among_links_that_lead_in_circles(home: Path) -> None:
    lamps(home / "lp", 0, 1, 2)
    for name in ("a", "b"):
        (home / "lp" / name).symlink_to(".")
    command = arguments(home / "any", home / "run", "--split", "1,0,0")
    command[1] = str(home / "lp" / "**" / "*.png")
    assert finish(command)[0] == 0  # ended after two minutes where it never ends
    assert labelled(home) == ["00.png", "01.png", "02.png"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.jpg", ["a.jpg", "x/b.jpg", "x/y/c.jpg", "z/d.jpg"]),
        ("**", ["a.jpg", "x/b.jpg", "x/y/c.jpg", "x/y/e", "z/d.jpg"]),
        ("x/**/*.jpg", ["x/b.jpg", "x/y/c.jpg"]),
        ("**/y/**/*", ["x/y/c.jpg", "x/y/e"]),
        ("**/**/[ac].*", ["a.jpg", "x/y/c.jpg"]),
        ("*/**/c.jpg", ["x/y/c.jpg"]),
        ("z/*", ["z/d.jpg"]),
        ("gone/**/*", []),
        ("a.jpg/**", []),
    ],
)
def test_two_stars_stand_for_folders_of_any_depth(tmp_path: Path, pattern: str, found: list[str]) -> None:
    (tmp_path / "else").mkdir()
    names = ("set/a.jpg", "set/x/b.jpg", "set/x/y/c.jpg", "set/x/y/e", "set/.h/f.jpg", "set/x/.g.jpg", "else/d.jpg")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "set" / "z").symlink_to(tmp_path / "else")
    files = {path for path in expand(tmp_path / "set" / pattern) if path.is_file()}
    assert sorted(path.relative_to(tmp_path / "set").as_posix() for path in files) == found


def test_a_pattern_takes_images_by_their_content_too(home: Path) -> None:
    lamps(home / "shots", 0, 1, 2)
    (home / "shots" / "00.png").rename(home / "shots" / "0001")
    (home / "shots" / "01.png").rename(home / "shots" / "0002.dat")
    (home / "shots" / "notes").write_text("no image")
    (home / "shots" / "dead.png").symlink_to("nowhere.png")
    code, _, err = label(home, str(home / "shots" / "*"))
    assert labelled(home) == ["0001", "0002.dat", "02.png"]
    # As a folder has it: a link that leads nowhere is told.
    assert (code, list(failures(home))) == (4, ["dead.png"]), err


def test_a_list_with_dead_lines_is_labelled_but_for_those(home: Path) -> None:
    lamps(home / "in", 0, 1, 2)
    lines = ["00.png", "gone.png", "# a comment", "../out/else.png", "0[12].png", "night*/*.png", "00.png"]
    (home / "in" / "list.txt").write_text("\n".join(lines))
    code, out, err = label(home, str(home / "in" / "list.txt"))
    # What is not there has its say in the names, so that they stay when it comes back.
    assert (code, labelled(home)) == (4, ["in/00.png", "in/01.png", "in/02.png"]), err
    reasons = failures(home)
    assert list(reasons) == ["in/gone.png", "in/night*/*.png", "out/else.png"]
    for name, reason in reasons.items():
        assert reason == f"{home / name} cannot be read: No such file or directory."
        assert f"failed  {name}: {reason}" in out
    assert (
        f"3 lines of {home / 'in' / 'list.txt'} cannot be followed, the first is line 2: there is no file gone.png."
        in err
    )
    lamps(home / "out", 3)
    (home / "out" / "03.png").rename(home / "out" / "else.png")
    code, _, err = label(home, str(home / "in" / "list.txt"), "--resume")
    assert (code, labelled(home)[-1], list(failures(home))) == (4, "out/else.png", list(reasons)[:2]), err


def test_a_coco_file_with_a_missing_image_is_labelled_but_for_that(home: Path) -> None:
    lamps(home / "set", 0, 1)
    rows = [
        {"id": at, "file_name": name, "height": 48, "width": 56}
        for at, name in enumerate(("00.png", "deep/gone.png", "01.png"))
    ]
    (home / "set" / "set.json").write_text(json.dumps({"images": rows, "annotations": [], "categories": []}))
    code, _, err = label(home, str(home / "set" / "set.json"))
    assert (code, labelled(home)) == (4, ["00.png", "01.png"]), err
    assert list(failures(home)) == ["deep/gone.png"]
    gone = home / "set" / "deep" / "gone.png"
    assert f"1 of 3 images of {home / 'set' / 'set.json'} cannot be found, the first is {gone}." in err


@pytest.mark.parametrize("name", ["list.txt", "set.json"])
def test_of_what_is_named_nothing_is_there(home: Path, name: str) -> None:
    (home / "list.txt").write_text("gone.png\nnight/*.png\n")
    rows = [{"id": 1, "file_name": "gone.png", "height": 48, "width": 56}]
    (home / "set.json").write_text(json.dumps({"images": rows, "annotations": [], "categories": []}))
    code, _, err = label(home, str(home / name))
    assert (code, "gone.png" in err, "Hint: " in err) == (3, True, True), err
    assert not (home / "run").exists()
