"""What is done ahead: its order, how far ahead, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from autodistill_rfdetr_seg.system.read_ahead import iterate_ahead, work_ahead


def test_work_is_in_order_and_no_further_ahead_than_asked() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item * item

    seen = []
    for item, result in work_ahead(range(20), work, 4):
        seen.append((item, result.result()))
        assert max(started) <= item + 4
    assert seen == [(n, n * n) for n in range(20)]


def test_an_iterator_is_read_in_another_thread_up_to_its_error() -> None:
    threads = set()
    made = []

    def items() -> Iterator[int]:
        for item in range(10):
            threads.add(threading.get_ident())
            made.append(item)
            yield item
        raise ValueError("broken off")

    seen = []
    with pytest.raises(ValueError, match="broken off"):
        for item in iterate_ahead(items(), 3):
            seen.append(item)
            assert len(made) <= item + 4
    assert seen == list(range(10))
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_closing_stops_reading() -> None:
    made = []
    with closing(iterate_ahead((made.append(n) or n for n in range(1000)), 3)) as ahead:
        assert [next(ahead), next(ahead)] == [0, 1]
    assert len(made) <= 5
    assert list(iterate_ahead(iter("abc"), 8)) == ["a", "b", "c"]
    assert list(iterate_ahead(iter(()), 8)) == []
