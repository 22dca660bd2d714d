"""Numbers, lists and tables as plain text, for messages and the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def number(value: float | None, form: str = ".3f") -> str:
    """A number in a format, or a dash if it is undefined."""
    return "–" if value is None else format(value, form)


def between(bounds: Mapping[str, float] | None, form: str = ".3f") -> str:
    """An interval {"low", "high"} in a format, or a dash if it is undefined."""
    return "–" if bounds is None else f"{format(bounds['low'], form)} to {format(bounds['high'], form)}"


def counted(count: int | None, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 image`, `2 images`, `1,204 images`; a dash and the plural if it is undefined."""
    return f"{number(count, ',')} {noun if count == 1 else plural or noun + 's'}"


def byte_size(count: float) -> str:
    """A number of bytes with three digits: `31.4 GB`, a GB being a thousand million."""
    units = ("B", "kB", "MB", "GB")
    for unit in units[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {units[-1]}"


def short_list(items: Iterable[object], most: int = 5) -> str:
    """The first items and the number of the others: `a, b, c and 3 more`."""
    every = [str(item) for item in items]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the first aligned left, the others right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return "  ".join([cells[0].ljust(len(first)), *rest]).rstrip()

    return "\n".join(line(row) for row in (head, *rows))
