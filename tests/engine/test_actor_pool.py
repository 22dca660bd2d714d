"""What is decided without a cluster: which call comes next, how many actors there are, what is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.core.config import LabelingConfig, parse
from autodistill_rfdetr_seg.core.errors import BaseModelError, DependencyError, RemoteError, UsageError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.engine import ray_import
from autodistill_rfdetr_seg.engine.call_queue import CallQueue
from autodistill_rfdetr_seg.engine.node_checks import Crew, Needs, crew_for, differing
from autodistill_rfdetr_seg.engine.ray_session import check_address
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.labeling_work import LabelingWork
from autodistill_rfdetr_seg.system.versions import ReleaseRange
from helpers.lamps import BASE, scene


def test_a_lost_call_is_asked_again_one_by_one_by_an_actor_that_has_no_other() -> None:
    calls = CallQueue("abcdefgh")
    first, second = calls.next(3, idle=True), calls.next(3, idle=False)
    assert first is not None and second is not None
    assert (first.items, second.items) == (("a", "b", "c"), ("d", "e", "f"))
    assert calls.lost([first, second], "its process ended") == []
    assert calls.next(3, idle=False) is None
    again = [calls.next(3, idle=True) for _ in range(6)]
    assert [call.items for call in again if call] == [("a",), ("b",), ("c",), ("d",), ("e",), ("f",)]
    assert all(call.alone for call in again if call)
    rest = calls.next(3, idle=True)
    assert rest is not None and rest.items == ("g", "h") and calls.next(3, idle=True) is None


def test_only_the_call_that_was_worked_on_counts_against_an_image() -> None:
    calls = CallQueue("ab")
    for lost in range(3):
        head, behind = calls.next(1, idle=True), calls.next(1, idle=True)
        assert head is not None and behind is not None and (head.items, behind.items) == (("a",), ("b",))
        given_up = calls.lost([head, behind], "its node went away")
        assert len(given_up) == (lost == 2)
    assert given_up[0][0] == "a" and isinstance(given_up[0][1], BaseModelError)
    assert "lost 3 times on it; the last time, its node went away" in given_up[0][1].message
    last = calls.next(1, idle=True)
    assert last is not None and calls.answered(last, ["row"]) == [("b", "row")]


def test_an_actor_takes_a_gpu_where_there_are_some() -> None:
    cpu, gpu = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 4.0}
    assert crew_for([cpu, cpu], None, 3) == Crew(4, Needs(3))
    assert crew_for([cpu, gpu], None, 1) == Crew(4, Needs(1, 1))
    assert crew_for([gpu], None, 8) == Crew(2, Needs(8, 1))
    assert crew_for([cpu, cpu], 1, 1) == Crew(1, Needs(1))
    with pytest.raises(UsageError, match="room for 4 actors, not for 5: each takes 1 CPU and 1 GPU, and there"):
        crew_for([cpu, gpu], 5, 1)


def test_versions_that_differ_are_named() -> None:
    ours = {"ray": "2.60.0", "Python": "3.11.7", "autodistill_rfdetr_seg": "0.1.0"}
    assert differing(ours, dict(ours)) is None
    assert differing(ours, ours | {"Python": "3.12.1"}) == "has Python 3.12.1, this machine 3.11.7"
    assert differing(ours, {"ray": "2.60.0", "Python": "3.11.7"}) == "lacks autodistill_rfdetr_seg"


def test_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_address(f"127.0.0.1:{port}")
    with pytest.raises(RemoteError, match=f"No Ray cluster answers at 127.0.0.1:{port}: Connection refused"):
        check_address(f"127.0.0.1:{port}")
    for wrong in ("ray://127.0.0.1:10001", "127.0.0.1", "host:port", "host:99999", ""):
        with pytest.raises(UsageError, match="is not the address of a Ray cluster"):
            check_address(wrong)


def test_ray_that_is_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_import, "TESTED", ReleaseRange("ray-that-nobody-has", "2.50", "2.61"))
    with pytest.raises(DependencyError, match="not installed") as caught:
        ray_import.check_ray()
    assert caught.value.hint == "Install it with: pip install 'autodistill-rfdetr-seg[ray]'"
    monkeypatch.setattr(ray_import, "TESTED", ReleaseRange("numpy", "1000", "1001"))
    with pytest.raises(DependencyError, match="1000 or newer is needed"):
        ray_import.check_ray()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"engine": "ray", "workers": 2}, "workers and engine ray exclude each other"),
        ({"address": "auto"}, "address needs engine ray"),
        ({"actors": 2}, "actors needs engine ray"),
        ({"cpus_per_base": 2}, "cpus_per_base needs engine ray"),
        ({"engine": "spark"}, "engine"),
    ],
)
def test_options_that_would_not_be_obeyed_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse({"images": "photos", "labeling": options})


def test_where_a_base_is_built() -> None:
    assert LabelingConfig().in_this_process
    for options in ({"workers": 1}, {"timeout_per_image": 1.0}, {"engine": "ray"}):
        assert not LabelingConfig.model_validate(options).in_this_process


def test_a_base_in_a_file_travels_with_its_text(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(BASE)
    scene(tmp_path / "one.png", 1)
    config = parse({"images": "-", "base": {"name": f"{tmp_path / 'base.py'}:Bright"}}).base
    source = BaseSource.from_config(config, Classes.from_ontology({"bright": "lamp"}))
    here = source.for_other_process()
    sent = source.for_other_machine()
    (tmp_path / "base.py").unlink()
    with pytest.raises(UsageError, match="There is no Python file"):
        LabelingWork(here).start()
    with pytest.raises(UsageError, match="There is no Python file"):
        source.for_other_machine()
    (row,) = LabelingWork(sent).start().answer([(tmp_path / "one.png", "one.png")])
    assert len(row.instances) == 1  # type: ignore[union-attr]


def test_the_environment_is_set_for_the_session_only() -> None:
    before = dict(os.environ)
    with ray_import.environment({"RAY_USAGE_STATS_ENABLED": "0", "HOME": "/elsewhere"}):
        assert (os.environ["RAY_USAGE_STATS_ENABLED"], os.environ["HOME"]) == ("0", "/elsewhere")
    assert dict(os.environ) == before
