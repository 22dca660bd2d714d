"""Tasks in several processes: real interpreters, their order, their errors, and what is left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.core.errors import AutodistillSegError, UnknownNameError
from autodistill_rfdetr_seg.system.task_processes import TaskProcesses
from helpers.processes import are_gone, is_there

WORK = """
import errno, os, signal, time
from autodistill_rfdetr_seg.core.errors import UnknownNameError

def answer(fixed, task):
    print("a library says something")
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "a.json")
    if task == "unknown":
        raise UnknownNameError("class", "dgo", ["dog", "cat"])
    if task == "who":
        return os.getpid()
    time.sleep(0.05 if task % 3 == 0 else 0)
    return fixed + task
"""


def run_tasks(function: Any, fixed: Any, tasks: Iterable[Any], processes: int) -> Iterator[Any]:
    with TaskProcesses(function, fixed, processes) as crew:
        yield from crew.run(tasks)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A module with a function for tasks, which only `sys.path` leads to."""
    (tmp_path / "work_of_test.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    import work_of_test

    yield work_of_test.answer
    del sys.modules["work_of_test"]


@pytest.mark.slow
def test_answers_come_in_the_order_of_the_tasks_from_several_processes(work) -> None:  # type: ignore[no-untyped-def]
    assert list(run_tasks(work, 100, range(20), 3)) == list(range(100, 120))
    who = set(run_tasks(work, 100, ["who"] * 12, 2))
    assert os.getpid() not in who
    assert len(who) == 2
    assert are_gone(who, 0)


def test_one_process_is_this_one(work) -> None:  # type: ignore[no-untyped-def]
    assert list(run_tasks(work, 0, ["who", 5], 1)) == [os.getpid(), 5]


@pytest.mark.slow
def test_errors_are_raised_as_they_were(work) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnknownNameError) as unknown:
        list(run_tasks(work, 0, [1, "unknown", 2], 2))
    assert unknown.value.message == "Unknown class 'dgo' (did you mean 'dog'?)."
    assert unknown.value.exit_code == 2
    with pytest.raises(OSError, match="No space left") as full:
        list(run_tasks(work, 0, ["full"], 2))
    assert (full.value.errno, full.value.filename) == (28, "a.json")


@pytest.mark.slow
def test_a_killed_process_ends_the_work_with_an_error(work) -> None:  # type: ignore[no-untyped-def]
    answers = run_tasks(work, 0, ["who"] * 8 + ["die"] + [1] * 8, 2)
    who = {next(answers) for _ in range(4)}
    with pytest.raises(AutodistillSegError, match="exit code -9"):
        list(answers)
    assert are_gone(who, 0)


@pytest.mark.slow
def test_a_caller_that_stops_early_leaves_no_process(work) -> None:  # type: ignore[no-untyped-def]
    answers = run_tasks(work, 0, ["who"] * 10_000, 2)
    who = {next(answers) for _ in range(20)}
    assert all(map(is_there, who))
    answers.close()
    assert are_gone(who, 0)


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """A script without `if __name__ == "__main__"`, which is not run again, and which is killed."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys, time
        sys.path.insert(0, sys.argv[1])
        print("script", flush=True)
        from autodistill_rfdetr_seg.system.task_processes import TaskProcesses
        from work_of_test import answer
        with TaskProcesses(answer, 0, 2) as crew:
            answers = crew.run(["who"] * 1000)
            print(next(answers), next(answers), flush=True)
            time.sleep(60)
        """)
    )
    (tmp_path / "work_of_test.py").write_text(WORK)
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "script\n"
        workers = {int(word) for word in process.stdout.readline().split()}
        process.kill()
        assert process.stdout.read() == ""
    assert are_gone(workers)
