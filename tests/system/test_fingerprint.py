"""The fingerprint of content is the same in one piece and row by row."""

from __future__ import annotations

from typing import Any

import pytest

from autodistill_rfdetr_seg.system.files import fingerprint, fingerprint_of_rows


@pytest.mark.parametrize("rows", [{}, {"a": 1}, {"ä\n": [1, None, 0.1], "b": {"y": 2, "x": "é"}, "a b": ()}])
def test_the_fingerprint_of_rows_is_that_of_their_mapping(rows: dict[str, Any]) -> None:
    assert fingerprint_of_rows(["ant", "bee"], sorted(rows.items())) == fingerprint(["ant", "bee"], rows)
