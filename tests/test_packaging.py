"""What a wheel of this package holds, and that what names its parts elsewhere agrees with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "autodistill_rfdetr_seg"
AUTHORS = "the autodistill-rfdetr-seg authors"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy without the network, as pip and build do it in an environment that has setuptools."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / PACKAGE, source / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"import setuptools.build_meta as backend; print(backend.build_wheel({str(output)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_the_license(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {f"{PACKAGE}/py.typed", f"{PACKAGE}/__init__.py"} < files
    assert {Path(name).suffix for name in files} >= {".py", ".css", ".jinja"}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert files - packed.keys() == set()
    assert {name for name in packed if ".dist-info/" not in name} == files
    assert all(packed[name] == (ROOT / name).read_bytes() for name in files)
    licenses = [name for name in packed if name.endswith(".dist-info/licenses/LICENSE")]
    assert [packed[name] for name in licenses] == [(ROOT / "LICENSE").read_bytes()]


def test_the_command_is_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert f"autodistill-seg = {PACKAGE}.cli:main" in archive.read(name).decode().splitlines()


def test_authors_license_and_version_are_the_same_in_every_file(metadata: Message) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (metadata["Author"], citation["authors"]) == (AUTHORS, [{"name": AUTHORS}])
    assert metadata["License-Expression"] == citation["license"] == "Apache-2.0"
    assert metadata["Version"] == str(citation["version"])
    assert metadata["Name"] == citation["title"]


def test_extras_are_those_that_the_makefile_and_the_hints_name(metadata: Message) -> None:
    extras = set(metadata.get_all("Provides-Extra"))
    assert extras == {"grounded-sam", "heic", "onnx", "openvino", "ray", "video"}
    makefile = re.search(r"^EXTRAS := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert makefile is not None and set(makefile[1].split(",")) == extras
    texts = [path.read_text(encoding="utf-8") for path in [*(ROOT / PACKAGE).rglob("*.py"), *ROOT.glob("*.md")]]
    lists = [found for text in texts for found in re.findall(r"autodistill-rfdetr-seg\[([\w,-]+)\]", text)]
    named = {name for found in lists for name in found.split(",")}
    assert named <= extras and named >= {"grounded-sam", "onnx"}


def test_nothing_for_development_is_installed_for_users(metadata: Message) -> None:
    needs = {re.split(r"[<>=!~;\[ ]", one)[0].lower() for one in metadata.get_all("Requires-Dist")}
    assert {"rfdetr", "torch", "transformers"} < needs
    assert needs.isdisjoint({"pytest", "pytest-xdist", "mypy", "ruff", "hypothesis", "playwright", "mkdocs-material"})


def test_addresses_are_public() -> None:
    """No address of a private host: there is none but those of the projects that it joins."""
    text = (ROOT / "pyproject.toml").read_text() + (ROOT / "CITATION.cff").read_text()
    assert set(re.findall(r"https?://([^/\s\"]+)", text)) == {"github.com"}
