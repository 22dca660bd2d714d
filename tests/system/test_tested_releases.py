"""What an installed release of another package gets: older ones are refused, newer ones named in a warning."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from PIL import Image

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import DependencyError
from autodistill_rfdetr_seg.system.versions import ReleaseRange
from autodistill_rfdetr_seg.targets import rfdetr_import, vendor
from helpers.paths import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PIP = "pip install 'rfdetr[train]>=1.11.2,<1.12'"
HINT = f"Install it with: {PIP}"


def claim(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, version: str) -> None:
    """What is installed says that it is of that version; its code is what it was."""
    made = folder / version / f"{package.replace('-', '_')}-{version}.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(made.parent)
    rfdetr_import._warn_untested.cache_clear()


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        *(("1.11.2", "tested"), ("1.11.2.post1", "tested"), ("1.11.10", "tested"), ("1.11.3rc1", "tested")),
        *(("1.11.1", "older"), ("1.11.2rc1", "older"), ("1.9.12", "older"), ("0.99", "older")),
        *(("1.12", "newer"), ("1.12.0rc1", "newer"), ("1.100.0", "newer"), ("2.0.0.dev3", "newer")),
    ],
)
def test_where_a_release_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, expected: str) -> None:
    claim(tmp_path, monkeypatch, "some-package", version)
    tested = ReleaseRange("some-package", "1.11.2", "1.12")
    assert (tested.installed(), tested.requirement) == (expected, ">=1.11.2,<1.12")


@pytest.mark.parametrize("version", ["1.11.2", "1.11.9"])
def test_a_tested_release_of_rfdetr_gets_no_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    claim(tmp_path, monkeypatch, "rfdetr", version)
    rfdetr_import.check_release()
    assert caplog.records == []


@pytest.mark.parametrize("version", ["1.12.0", "1.14.1", "2.0.0"])
def test_a_newer_rfdetr_works_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    claim(tmp_path, monkeypatch, "rfdetr", version)
    for _ in range(2):
        assert vendor.model_config("nano", {"resolution": 96}).resolution == 96
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            f"rfdetr {version} has not been tested with this package; rfdetr>=1.11.2,<1.12 has. "
            f"If something fails, install that: {PIP}",
        )
    ]


@pytest.mark.parametrize("version", ["1.11.1", "1.10.9"])
def test_an_older_rfdetr_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    claim(tmp_path, monkeypatch, "rfdetr", version)
    with pytest.raises(DependencyError, match=rf"rfdetr {version} .*1\.11\.2 or newer.*corrupt") as error:
        vendor.model_config("nano", {})
    assert error.value.hint == HINT


def test_the_warning_is_printed_beside_what_rfdetr_says_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(tmp_path, monkeypatch, "rfdetr", "1.13.0")
    # The checkpoint is no model: rfdetr is asked for it first.
    (tmp_path / "model.pth").write_bytes(b"no model")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code = main(["predict", str(tmp_path / "model.pth"), str(tmp_path / "a.png"), "--output", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.count("rfdetr 1.13.0 has not been tested") == 1


def test_a_size_that_rfdetr_no_longer_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rfdetr.config

    claim(tmp_path, monkeypatch, "rfdetr", "2.0.0")
    monkeypatch.delattr(rfdetr.config, "RFDETRSegPreviewConfig")
    with pytest.raises(DependencyError, match=r"^rfdetr 2\.0\.0 has no RF-DETR Seg preview\.") as error:
        vendor.build("preview", {"pretrain_weights": None})
    assert error.value.hint == HINT
    assert vendor.model_config("nano", {}).resolution == 312


def test_pip_is_asked_for_the_oldest_tested_release_and_may_take_a_newer_one() -> None:
    found = re.search(r'"rfdetr\[train\]>=([\d.]+),<([\d.]+)"', PYPROJECT)
    assert found is not None
    assert found.groups() == (rfdetr_import.TESTED.oldest, "2")
