from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import portalocker
import pytest

from helpers.bucket_server import KEYS, BucketServer, Proxy
from helpers.lamps import BASE, scene
from helpers.paths import SHARED_DATA

# With torch and transformers imported, the collector's walks through all objects take a tenth of the tests' time.
gc.set_threshold(50_000, 20, 20)


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared real images are not here")
    return SHARED_DATA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that train come first, so that with several workers none of them is left for the end."""
    for item in items:
        if {"trained_run", "speaking_run"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("train")
    train = {item.path for item in items if item.get_closest_marker("train")}
    items.sort(key=lambda item: item.path not in train)


@pytest.fixture(scope="session", autouse=True)
def _signals() -> Iterator[None]:
    """Ctrl-C and a closed terminal end what is started here, as they do by default.

    A shell's job in the background ignores SIGINT, one under nohup SIGHUP, and so would all that these tests start.
    """
    ordinary = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    numbers = {getattr(signal, name): handler for name, handler in ordinary.items() if hasattr(signal, name)}
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in numbers.items():
        if before[number] is signal.SIG_IGN:
            signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], Any]], Path]:
    """Gives the folder of a name, made by a function once for all of the session's worker processes.

    It is not to be changed.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    place /= "shared"
    place.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], Any]) -> Path:
        with portalocker.Lock(place / f"{name}.lock", timeout=600):
            if not (place / name).is_dir():
                (place / f"{name}.partial").mkdir()
                make(place / f"{name}.partial")
                (place / f"{name}.partial").rename(place / name)
        return place / name

    return folder


@pytest.fixture(scope="session")
def trained_run(made_once: Callable[[str, Callable[[Path], Any]], Path]) -> Path:
    """A run's folder with a dataset of six red squares and a tiny model of `ant` and `bee` after one epoch on it.

    It is not to be changed.
    """
    from helpers.tiny_target import save_trained

    return made_once("trained", save_trained)


@pytest.fixture(scope="session")
def speaking_run(made_once: Callable[[str, Callable[[Path], Any]], Path], trained_run: Path) -> Path:
    """A run's folder with that model, made to find something; not to be changed."""
    from helpers.tiny_target import make_speak

    def make(folder: Path) -> None:
        shutil.copytree(trained_run / "training", folder / "training")
        make_speak(folder, [-2.0, -2.0, -9.0])

    return made_once("speaking", make)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 pictures of a lamp, and the base that finds it, `base.py`, beside their folder."""
    for i in range(24):
        scene(tmp_path / "photos" / f"{i:02d}.png", i)
    (tmp_path / "base.py").write_text(BASE)
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def _bucket_server() -> Iterator[BucketServer]:
    server = BucketServer()
    yield server
    server.stop()


@pytest.fixture
def bucket(_bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> BucketServer:
    """An empty bucket of an S3 server, which the environment names."""
    _bucket_server.clear()
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": _bucket_server.url}.items():
        monkeypatch.setenv(name, value)
    return _bucket_server


@pytest.fixture
def proxy(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What lies between us and the server of `bucket`."""
    between = Proxy(bucket.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
    yield between
    between.stop()
