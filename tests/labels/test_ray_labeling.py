"""Labeling by the actors of a real Ray cluster, under accidents: in the end the dataset is the same to the byte."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import autodistill_rfdetr_seg
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.engine.ray_session import ray_session
from autodistill_rfdetr_seg.labels.label_account import read_failures
from autodistill_rfdetr_seg.system.versions import importable
from helpers.commands import begin_new, finish_new
from helpers.lamps import BASE, annotations, arguments, scene
from helpers.processes import are_gone
from helpers.ray_cluster import RayCluster, ray_cluster

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not importable("ray"), reason="ray is not installed")]

# The same base; each image that it is asked about leaves a line with the number of the process,
# and waits as long as there is a file `hold`.
COUNTED = BASE.replace(
    "        time.sleep(self.pause)",
    '        with open(os.path.join(os.path.dirname(__file__), "asked.txt"), "a") as log:\n'
    '            log.write(f"{os.getpid()}\\n")\n'
    "        time.sleep(PAUSE)\n"
    '        while os.path.exists(os.path.join(os.path.dirname(__file__), "hold")):\n'
    "            time.sleep(0.05)",
)


def slow_base(folder: Path, pause: float) -> None:
    """Writes the base with a pause in seconds, which is no argument: those are stored with the labels."""
    (folder / "base.py").write_text(f"PAUSE = {pause}\n{COUNTED}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster() as made:
        yield made


@pytest.fixture
def expected(photos: Path, tmp_path: Path) -> dict[str, bytes]:
    """The dataset that one process makes of the photos."""
    slow_base(tmp_path, 0.0)
    assert main(arguments(photos, tmp_path / "alone")) == 0
    (tmp_path / "asked.txt").unlink()
    return annotations(tmp_path / "alone")


def on_ray(cluster: RayCluster, photos: Path, run: Path, *more: str, pause: float | None = None) -> list[str]:
    if pause is not None:
        slow_base(photos.parent, pause)
    return arguments(photos, run, "--engine", "ray", "--address", cluster.address, *more)


def asked(folder: Path) -> list[int]:
    """The process that was asked about each image, so far."""
    log = folder / "asked.txt"
    return [int(line) for line in log.read_text().split()] if log.is_file() else []


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_two_nodes_give_the_same_bytes_and_a_bad_image_costs_itself_alone(
    cluster: RayCluster, photos: Path, tmp_path: Path, expected: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    scene(photos / "05 dies.png", 31, (255, 0, 0))
    scene(photos / "06 raises.png", 32, (0, 0, 0))
    run = tmp_path / "run"
    capfd.readouterr()
    assert main(on_ray(cluster, photos, run, pause=0.1)) == 4
    out, err = capfd.readouterr()
    assert len(err.splitlines()) == 2 and "raylet" not in out  # a line for each bad image, and nothing of Ray's
    reasons = {failure["path"]: failure["reason"] for failure in read_failures(run / "labels")}
    assert set(reasons) == {"05 dies.png", "06 raises.png"}
    assert "lost 3 times" in reasons["05 dies.png"] and "a black corner" in reasons["06 raises.png"]
    processes = asked(tmp_path)
    assert len(set(processes)) >= 3  # one image ended three of them
    assert are_gone(set(processes), 15)
    for name in reasons:
        (photos / name).unlink()
    assert main(arguments(photos, run, "--resume")) == 0
    assert annotations(run) == expected and len(asked(tmp_path)) == len(processes)


def test_a_node_is_killed_and_another_joins(
    cluster: RayCluster, photos: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    (tmp_path / "hold").touch()
    driver = begin_new(on_ray(cluster, photos, tmp_path / "run"))
    wait_until(lambda: len(set(asked(tmp_path))) == 2)
    cluster.kill(cluster.nodes[-1])
    cluster.add()
    # Until an actor on the new node is at work.
    wait_until(lambda: len(set(asked(tmp_path))) == 3)
    (tmp_path / "hold").unlink()
    _, err = driver.communicate(timeout=100)
    assert driver.returncode == 0, err
    assert annotations(tmp_path / "run") == expected


def test_a_base_that_one_actor_cannot_build_is_left_to_the_others_and_ray_ends_with_the_command(
    photos: Path, tmp_path: Path, expected: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    first = f"os.open({str(tmp_path / 'first')!r}, os.O_CREAT | os.O_EXCL)"
    refuse = f"""
        try:
            os.close({first})
        except FileExistsError:
            pass
        else:
            raise RuntimeError("no driver")
        self.ontology"""
    (tmp_path / "base.py").write_text("PAUSE = 0\n" + COUNTED.replace("\n        self.ontology", refuse, 1))
    before = set(Path("/tmp").glob("autodistill-ray-*"))
    command = arguments(photos, tmp_path / "run", "--engine", "ray", "--actors", "2")
    # In a process of its own: a Ray of its own is started.
    code, out, said = finish_new([argument for argument in command if argument != "-q"])
    assert code == 0, said
    assert "An actor stopped; the others continue" in said and "no driver" in said and "on the node" in said
    assert "ray" not in out.lower().replace(str(tmp_path), "")
    assert annotations(tmp_path / "run") == expected
    assert len(set(asked(tmp_path))) == 1 and are_gone(set(asked(tmp_path)), 15)
    # Other tests have a Ray of their own meanwhile, which ends too.
    left = set(Path("/tmp").glob("autodistill-ray-*")) - before
    wait_until(lambda: not any(folder.exists() for folder in left))


def test_ten_accidents_at_times_of_chance(
    cluster: RayCluster, photos: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """The driver is killed, which ends its actors; then the one that resumes loses nine processes."""
    driver = begin_new(on_ray(cluster, photos, tmp_path / "run", pause=0.5))
    wait_until(lambda: len(asked(tmp_path)) > 4)
    driver.kill()
    driver.communicate(timeout=60)
    assert driver.returncode == -signal.SIGKILL and are_gone(set(asked(tmp_path)), 15)
    chance, stop = random.Random(7), threading.Event()
    killed: list[bool] = []  # whether the actor had begun to label

    def accidents() -> None:
        while len(killed) < 9 and not stop.wait(chance.uniform(0.1, 0.6)):
            at_work = set(asked(tmp_path))
            # Three lost starts in a row would cost a place: four of them cannot cost both.
            victims = [one for one in sorted(cluster.actors()) if one in at_work or killed.count(False) < 4]
            if victims:
                victim = chance.choice(victims)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim in at_work)

    thread = threading.Thread(target=accidents)
    thread.start()
    codes: list[int] = []
    try:
        # An image that was hit three times is a failure, and the next run labels it. The dataset without it is removed:
        # a rebuilt one keeps its splits.
        while not codes or codes[-1] == 4:
            codes.append(main(on_ray(cluster, photos, tmp_path / "run", "--resume", pause=0.6)))
            assert len(codes) < 4
            if codes[-1] == 4:
                shutil.rmtree(tmp_path / "run" / "dataset")
    finally:
        stop.set()
        thread.join()
    assert codes[-1] == 0 and len(killed) == 9 and killed.count(True) >= 5
    assert annotations(tmp_path / "run") == expected


def test_a_cluster_without_room_is_refused(
    cluster: RayCluster, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    slow_base(tmp_path, 0.0)
    for more, sentence in (
        (
            ["--actors", "3"],
            "The Ray cluster has room for 2 actors, not for 3: each takes 1 CPU, and there are 2 nodes",
        ),
        (["--cpus-per-base", "2"], "The Ray cluster has room for 0 actors, not for 1: each takes 2 CPUs"),
    ):
        assert main(on_ray(cluster, photos, tmp_path / "run", *more)) == 2
        error, hint = capfd.readouterr().err.splitlines()
        assert error.startswith(f"Error: {sentence}") and hint.startswith("Hint: Give a smaller --actors")
    assert not (tmp_path / "run").exists()

    class Other:
        def here(self) -> bool:
            return True

    with ray_session(cluster.address) as ray:
        # Another's work takes all CPUs; this process is connected, so the connection is used and stays open.
        others = [ray.remote(Other).options(num_cpus=1).remote() for _ in range(2)]
        ray.get([other.here.remote() for other in others])
        command = arguments(photos, tmp_path / "run", "--engine", "ray", "--address", "auto")
        assert main([*command, "--set", "labeling.placement_timeout=1"]) == 1
        assert ray.is_initialized()
        del others
    error, hint = capfd.readouterr().err.splitlines()
    assert error.startswith(
        "Error: None of 2 actors found what it needs free on a node of the Ray cluster in 1 s: 1 CPU"
    )
    assert "ray status" in hint


def test_another_token_is_refused(
    cluster: RayCluster,
    photos: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_base(tmp_path, 0.0)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    assert main(on_ray(cluster, photos, tmp_path / "run")) == 1
    error, hint = capfd.readouterr().err.splitlines()
    assert error == f"Error: What answers at {cluster.address} is not a Ray cluster that accepts this process."
    assert "RAY_AUTH_TOKEN_PATH" in hint and not (tmp_path / "run").exists()


def test_another_release_of_ray_is_refused(
    cluster: RayCluster, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    slow_base(tmp_path, 0.0)
    with ray_session(cluster.address) as ray:
        store = ray._private.worker.global_worker.gcs_client
        metadata = store.internal_kv_get(b"CLUSTER_METADATA", b"cluster")
        other = json.dumps({**json.loads(metadata), "ray_version": "2.49.0"}).encode()
        store.internal_kv_put(b"CLUSTER_METADATA", other, True, b"cluster")
    try:
        assert main(on_ray(cluster, photos, tmp_path / "run")) == 1
        error, hint = capfd.readouterr().err.splitlines()
        assert error.startswith(f"Error: The Ray cluster at {cluster.address} has Ray 2.49.0 and Python 3.")
        assert hint == "Hint: Install the same versions on all machines."
    finally:
        store.internal_kv_put(b"CLUSTER_METADATA", metadata, True, b"cluster")


def test_a_node_with_another_version_is_refused_before_work_begins(
    cluster: RayCluster, photos: Path, tmp_path: Path
) -> None:
    slow_base(tmp_path, 0.0)
    package = Path(autodistill_rfdetr_seg.__file__).parent
    shutil.copytree(package, tmp_path / "other" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    init = tmp_path / "other" / package.name / "__init__.py"
    init.write_text(init.read_text().replace(f'"{autodistill_rfdetr_seg.__version__}"', '"9.9.9"'))
    node = cluster.add({"PYTHONPATH": str(tmp_path / "other")})
    try:
        # Not in the repository's folder: Ray lets actors import from the folder that the driver was started in.
        env = {"PYTHONPATH": str(package.parent)}
        ended = finish_new(on_ray(cluster, photos, tmp_path / "run"), env=env, cwd=tmp_path)
    finally:
        cluster.kill(node)
    error, hint = ended[2].splitlines()
    assert ended[0] == 1
    assert re.match(r"Error: The node .* has autodistill_rfdetr_seg 9\.9\.9, this machine \d", error)
    assert hint == "Hint: Install the same versions on all machines."
    assert asked(tmp_path) == [] and not (tmp_path / "run").exists()
