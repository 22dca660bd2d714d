"""Reads the page of a report."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from autodistill_rfdetr_seg.report import PageData, write_page

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The rows of the page's tables, its text, its tags with their attributes, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next([cell.replace("\N{NO-BREAK SPACE}", " ") for cell in r] for r in self.rows if r[0].startswith(name))

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(tmp_path: Path, data: PageData) -> Page:
    write_page(tmp_path / "report.html", data)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))
