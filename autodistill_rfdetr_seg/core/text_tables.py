"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float | None, form: str = ".3f") -> str:
    """A number, or a dash where it is undefined."""
    return "–" if value is None else format(value, form)


def many(number: int, one: str, more: str | None = None) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, the first to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return "  ".join([cells[0].ljust(len(first)), *rest]).rstrip()

    return "\n".join(line(row) for row in (head, *rows))
