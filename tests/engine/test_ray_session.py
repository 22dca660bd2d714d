"""A Ray of our own on this machine: reached by nobody else, and gone with the process that started it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.system.versions import importable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not importable("ray"), reason="ray is not installed")]

# Starts a session, labels nothing, and says where it is.
SESSION = """
import json, os, sys
from autodistill_rfdetr_seg.engine.ray_session import ray_session
with ray_session(None) as ray:
    class Held:
        def number(self): return os.getpid()
    held = ray.remote(Held).remote()
    node = ray.nodes()[0]
    actor = ray.get(held.number.remote())
    address = ray._private.worker.global_worker.node.gcs_address
    folder = ray._private.worker.global_worker.node.get_temp_dir_path()
    secret = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED")}
    print(json.dumps([actor, address, node["NodeManagerPort"], folder, secret]), flush=True)
    sys.stdin.readline()
"""


def session() -> tuple[subprocess.Popen[str], list[object]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    return process, json.loads(line) if line else [process.communicate()]


def processes_of(folder: str) -> set[int]:
    """The processes of the Ray whose files are in a folder."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def other_address() -> str | None:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
        return None if address.startswith("127.") else address


def test_it_is_on_loopback_with_a_token_and_ends_with_a_process_that_is_killed() -> None:
    process, said = session()
    actor, address, port, folder, secret = said
    assert isinstance(secret, dict) and isinstance(folder, str) and isinstance(port, int)
    assert secret["RAY_AUTH_MODE"] == "token" and len(secret["RAY_AUTH_TOKEN"]) == 64
    assert secret["RAY_USAGE_STATS_ENABLED"] == "0"
    host, _, head = str(address).rpartition(":")
    assert host == "127.0.0.1"
    for one in (port, int(head)):
        socket.create_connection(("127.0.0.1", one), 5).close()
        if (outside := other_address()) is not None:
            with pytest.raises(OSError):
                socket.create_connection((outside, one), 5).close()
    assert processes_of(folder) and Path(f"/proc/{actor}").exists()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until = time.monotonic() + 20
    while (processes_of(folder) or Path(f"/proc/{actor}").exists()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not processes_of(folder) and not Path(f"/proc/{actor}").exists()
    # A killed process cannot remove its files.
    shutil.rmtree(folder)
