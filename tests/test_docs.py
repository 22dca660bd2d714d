"""What the documents say is what the program does: commands exist, run, and are all named."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from autodistill_rfdetr_seg import __version__
from autodistill_rfdetr_seg.cli.command_line import COMMANDS, build_parser, main
from autodistill_rfdetr_seg.core.config import parse
from helpers.square_photos import photo, scenes
from helpers.tiny_pipeline import TINY

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str = README) -> list[list[str]]:
    """Every command of our own in the shell blocks of the README, or of another page."""
    lines = [line for block in blocks("bash", text) + blocks("console", text) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("autodistill-seg ")]


def test_the_table_of_commands_is_the_parsers() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|$", README, re.MULTILINE))
    assert {name: rows.get(name) for name in COMMANDS} == COMMANDS


EVERY = [args for text in (README, *PAGES.values()) for args in commands(text)]


@pytest.mark.parametrize("args", EVERY, ids=" ".join)
def test_every_command_parses(args: list[str]) -> None:
    build_parser().parse_args(args)


def tiny_options() -> list[str]:
    """A tiny target in place of the published weights, which cannot be had everywhere."""
    tiny = [f"--set=target.{key}={yaml.safe_dump(TINY[key], default_flow_style=True)}" for key in ("model", "train")]
    return [*tiny, "--batch-size=4", "--grad-accum-steps=1"]


@pytest.mark.train
def test_the_commands_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenes(tmp_path / "made", 12)
    (tmp_path / "made" / "images").rename(tmp_path / "photos")
    (tmp_path / "gold" / "images").mkdir(parents=True)
    for i in range(2):
        photo(tmp_path / "gold" / "images" / f"{i}.png", 3 + i)
    gold = (tmp_path / "made" / "gold.json").read_text().replace("Square ", "washer")
    data = yaml.safe_load(gold)
    data["images"] = data["images"][:2]
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] <= 2]
    # Not the very files that are labelled: those could be in the train split, and would be left out.
    for i in range(2):
        path = tmp_path / "gold" / "images" / f"{i}.png"
        path.write_bytes(path.read_bytes() + b"\0")
    (tmp_path / "gold" / "_annotations.coco.json").write_text(json.dumps(data))
    # Those that go to Roboflow are run in test_roboflow.py, against a server of our own.
    # What a benchmark needs is time; test_benchmarking.py gives it some.
    elsewhere = ("doctor", "run", "push", "cloud-train", "deploy", "benchmark")
    story = [args for args in commands() if args[0] not in elsewhere and "--endpoint" not in args]
    assert [args[0] for args in story] == [
        *("label", "build", "train", "evaluate", "report", "predict"),
        *("label", "plan", "label", "review", "explain", "import"),
        *("export", "predict"),
    ]
    for args in story:
        extra = [*tiny_options(), "--epochs=1"] if args[0] == "train" else []
        assert main([*args, *extra, "-q"]) == 0, capsys.readouterr().err
    assert (tmp_path / "runs" / "parts" / "report.html").is_file()
    assert (tmp_path / "found" / "predictions.json").is_file()


def test_the_pipeline_file_is_valid() -> None:
    for block in blocks("yaml"):
        assert parse(yaml.safe_load(block)).ontology["a puppy"] == "dog"


def test_python_in_the_documents_compiles_and_imports() -> None:
    for block in [block for text in (README, *PAGES.values()) for block in blocks("python", text)]:
        compile(block, "README", "exec")
        for line in block.splitlines():
            if line.startswith("from autodistill_rfdetr_seg"):
                exec(line, {})


def test_versions_agree() -> None:
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_tables_of_pipelines_and_examples_are_the_folders() -> None:
    for folder in ("pipelines", "examples"):
        table = README.split(f"| `{folder}/` |")[1].split("\n\n")[0]
        files = {path.name for path in (ROOT / folder).iterdir() if path.suffix in (".py", ".yaml")}
        assert set(re.findall(r"^\| `(\w[\w.-]+)` \|", table, re.MULTILINE)) == files


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    for name, text in {"README.md": README, **PAGES}.items():
        home = ROOT if name == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (home / target).is_file(), f"{name} links to {target}"
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
            assert (home / picture).resolve().is_relative_to(ROOT / "docs" / "pictures")
            assert (home / picture).stat().st_size < 150_000
    for page in PAGES:
        assert f"docs/{page}" in README, page
