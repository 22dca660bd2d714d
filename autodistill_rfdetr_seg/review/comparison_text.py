"""The comparison of two runs as text for a terminal."""

from __future__ import annotations

from ..core.plain_text import short_list, table
from .compare_runs import Comparison

_SHOWN_IMAGES = 10


def comparison_text(comparison: Comparison) -> str:
    """Totals, options that differ, and the images with the most changes."""
    c = comparison
    head = ["", "A", "B", "same", "changed", "gained", "lost"]
    rows = [[name, *map(str, count.values())] for name, count in (*c.per_class.items(), ("all", c.totals))]
    lines = [table(head, rows), "", f"{c.images_in_both} images in both, {len(c.images)} of them differ"]
    for title, paths in (
        ("only in A", c.only_a),
        ("only in B", c.only_b),
        ("in another split", [f"{i.path} ({i.split_a} → {i.split_b})" for i in c.moved]),
        ("with other content", [i.path for i in c.images if i.content]),
    ):
        if paths:
            lines.append(f"{len(paths)} {title}: {short_list(paths)}")
    lines += [f"option {key}: {old} → {new}" for key, (old, new) in c.options.items()]
    most = sorted((i for i in c.images if i.size), key=lambda i: (-i.size, i.path))[:_SHOWN_IMAGES]
    if most:
        rows = [[i.path, *(str(len(part)) for part in (i.changed, i.gained, i.lost))] for i in most]
        lines += ["", table(["most changed", "changed", "gained", "lost"], rows)]
    return "\n".join(lines)
