"""Text files of people and foreign tools are read in the encodings of Unicode, and refused in any other."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.system.config_files import load, parse_ontology
from autodistill_rfdetr_seg.system.files import read_user_text

TEXT = "ложка/фото 1.jpg\n图片.png\na.png\n"
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("text", [TEXT, "a.png\nb.png\n", '{"images": []}', "фото.jpg\n", "照片一.png", "", "x", "abc"])
def test_unicode_is_read(tmp_path: Path, encoding: str, newline: str, marked: bool, text: str) -> None:
    mark = MARKED[encoding] if marked else b""
    file = tmp_path / "list.txt"
    file.write_bytes(mark + text.replace("\n", newline).encode(encoding))
    assert read_user_text(file) == text


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("a.png\r\n\r\ncafé.png\n".encode("cp1252"), r"not UTF-8 text: line 3 has the byte 0xE9"),
        ("ложка".encode("cp1251"), r"not UTF-8 text: line 1 has the byte 0xEB"),
        (codecs.BOM_UTF16_LE + "a.png\nb".encode("utf-16-le") + b"\0", "not UTF-16-LE text: line 2 has"),
        (b"a.png\rb\0.png, and a lot of other text", "not text: line 2 has a zero byte"),
    ],
)
def test_anything_else_is_refused_with_its_line(tmp_path: Path, data: bytes, told: str) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(data)
    with pytest.raises(DataError, match=rf"list\.txt is {told}") as caught:
        read_user_text(file)
    assert "UTF-8" in (caught.value.hint or "")


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt cannot be read: No such file"):
        read_user_text(tmp_path / "gone.txt")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_user_text(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_ontologies_and_pipelines_are_read_so(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "o.json").write_bytes('{"a spoon": "ложка"}\r\n'.encode(encoding))
    assert parse_ontology(f"@{tmp_path / 'o.json'}") == {"a spoon": "ложка"}
    text = "images: photos\r\nontology:\r\n  a spoon: ложка\r\n"
    (tmp_path / "p.yaml").write_bytes(text.encode(encoding))
    assert load(tmp_path / "p.yaml").ontology == {"a spoon": "ложка"}


def test_ontologies_and_pipelines_in_another_encoding_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes("images: photos\nontology:\n  a spoon: ложка\n".encode("cp1251"))
    for read in (lambda: load(path), lambda: parse_ontology(f"@{path}")):
        with pytest.raises(DataError, match=r"p\.yaml is not UTF-8 text: line 3"):
            read()
