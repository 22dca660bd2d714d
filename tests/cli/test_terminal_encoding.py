"""What the terminal's encoding lacks is written escaped: a name never costs a run its result."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.cli.command_line import main
from helpers.commands import finish
from helpers.square_photos import photo

# Beyond ASCII, beyond cp1252, and beyond the first 65,536 characters.
CLASS = "ложка é 😀"
BROKEN = "поднос 😀.png"


def command(encoding: str, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line in a process whose streams have that encoding."""
    return finish([*map(str, arguments)], {"PYTHONIOENCODING": encoding})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for at in range(4):
        photo(tmp_path / "photos" / f"снимок {at}.png", 4 + 6 * at)
    (tmp_path / "photos" / BROKEN).write_bytes(b"not an image")
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_command_falls_over_a_name(photos: Path, tmp_path: Path, encoding: str) -> None:
    run = tmp_path / "run"
    args = ["label", photos, "--base", "threshold", "--class", f"red={CLASS}", "--split", "0.5,0.5,0", "--output", run]
    code, out, err = command(encoding, *args)
    assert code == 4, err
    assert "failed  \\u043f\\u043e\\u0434\\u043d\\u043e\\u0441 \\U0001f600.png: " in out
    assert "Traceback" not in err and "UnicodeEncodeError" not in err
    code, out, err = command(encoding, *args, "--resume", "--json", "-q")
    assert code == 4, err
    told = json.loads(out)
    assert (list(told["per_class"]), told["failures"][0]["path"]) == ([CLASS], BROKEN)
    code, out, err = command(encoding, "explain", run, "train:1", "--json")
    assert code == 0 and CLASS in json.dumps(json.loads(out), ensure_ascii=False), err
    code, out, err = command(encoding, "review", run)
    assert code == 0 and "Traceback" not in err, err
    # What goes wrong is told too.
    code, out, err = command(encoding, "build", run, "--confidence", "вилка=0.5")
    assert code == 2 and "\\u0432\\u0438\\u043b\\u043a\\u0430" in err and "\\u043b\\u043e\\u0436\\u043a\\u0430" in err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_help_has_signs_of_its_own(encoding: str) -> None:
    code, out, err = command(encoding, "label", "--help")
    assert code == 0 and "--confidence" in out, err


def test_utf_8_is_written_as_it_is(photos: Path, tmp_path: Path) -> None:
    args = ["label", photos, "--base", "threshold", "--class", f"red={CLASS}", "--split", "0.5,0.5,0"]
    code, out, err = command("utf-8", *args, "--output", tmp_path / "run", "--json", "-q")
    assert code == 4 and f'"{CLASS}"' in out and BROKEN in out, err


def test_a_programs_own_streams_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["bases", "-q"]) == 0
    assert stream.errors == "strict"
