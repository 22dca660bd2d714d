"""A command is one file: the parser lists it, parses its arguments and runs it. Flags take no value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.cli import commands
from autodistill_rfdetr_seg.cli.command_line import COMMANDS, build_parser, main
from autodistill_rfdetr_seg.cli.option_flags import overrides

COMMAND_FILE = '''
"""Counts the files of a folder."""

from pathlib import Path

from autodistill_rfdetr_seg.cli.command import Command
from autodistill_rfdetr_seg.cli.output import print_json, print_text


def _add_arguments(parser):
    parser.add_argument("folder", metavar="FOLDER", help="the folder to count in")


def _run(args):
    count = len(list(Path(args.folder).iterdir()))
    print_json({"files": count}) if args.json else print_text(f"{count} files")
    return 4


COMMANDS = (Command("count", "count the files of a folder", 35, _add_arguments, _run),)
'''
IN_ORDER = [
    *("demo", "label", "plan", "build", "import", "train", "evaluate", "predict", "export", "benchmark", "run"),
    *("report", "review", "calibrate", "tune", "audit", "certify", "explain", "diff", "validate", "repair"),
    *("push-run", "pull-run", "push", "cloud-train", "deploy", "bases", "doctor"),
]


@pytest.fixture
def count_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "count_command.py").write_text(COMMAND_FILE)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(folder)])


def test_the_commands_of_the_package_in_their_order() -> None:
    assert list(COMMANDS) == IN_ORDER


def test_a_file_in_the_folder_is_a_command(
    count_command: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^ {4}(\S+)(?: +(.+))?$", capsys.readouterr().out, re.MULTILINE)
    assert [name for name, _ in listed] == [*IN_ORDER[:3], "count", *IN_ORDER[3:]]
    assert ("count", "count the files of a folder") in listed
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").touch()
    assert main(["count", str(tmp_path / "photos")]) == 4
    assert capsys.readouterr().out == "1 files\n"
    assert main(["count", str(tmp_path / "photos"), "--json"]) == 4
    assert capsys.readouterr().out.split() == ["{", '"files":', "1", "}"]
    assert main(["count"]) == 2
    assert "FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], {}),
        (["--stability"], {"base.stability": True}),
        (["--stability", "true", "--scene-changes=True"], {"base.stability": True, "inputs.scene_changes": True}),
        (["--stability", "false", "--limit", "3"], {"inputs.limit": 3}),
        (["--slice", "2/8"], {"labeling.slice": (2, 8)}),
        (["--shard", "2/8"], {"labeling.slice": (2, 8)}),
    ],
)
def test_flags_take_no_value_and_old_spellings_are_read(arguments: list[str], found: dict[str, object]) -> None:
    parsed = build_parser().parse_args(["label", "--output", "run", *arguments, "photos"])
    assert parsed.images == "photos"
    assert overrides(parsed) == found


def test_a_flag_does_not_take_the_images_as_its_value() -> None:
    parsed = build_parser().parse_args(["label", "--output", "run", "--stability", "photos"])
    assert (parsed.images, overrides(parsed)) == ("photos", {"base.stability": True})
