"""A connection to a Ray cluster, or to a Ray of our own on this machine, which ends with the connection."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import AutodistillSegError, DependencyError, RemoteError, UsageError
from .ray_import import environment, import_ray, quiet

_log = logging.getLogger(__name__)

# Seconds to wait for a cluster's head to accept a connection.
_CONNECT_SECONDS = 5.0
# How often to ask it, once a second, whether it is a Ray cluster.
_CONNECT_ATTEMPTS = 5
# Bytes of shared memory of a Ray of our own: calls hold paths, and answers hold run-length masks and pictures. What is
# too much for it goes to files.
_OBJECT_STORE = 256 * 2**20
_LOOPBACK = "127.0.0.1"
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:/]+):(?P<port>\d{1,5})")
_NO_USAGE_REPORT = {"RAY_USAGE_STATS_ENABLED": "0"}
# So that a node without GPUs in its actors' demands keeps its variables; without it Ray prints a warning.
_DEVICES = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address`; None starts a Ray on this machine for this session.

    A process that is connected already keeps its connection, which is used and stays open.

    Raises:
        DependencyError: Ray is not installed, is too old, or the cluster has another version of Ray or Python.
        RemoteError: there is no cluster at the address, or it refuses this process.
        UsageError: the address is not one.
    """
    if address is not None:
        check_address(address)
    with environment(_own_settings() if address is None else _NO_USAGE_REPORT | _token_mode()):
        ray = import_ray()
        with quiet(ray):
            if not ray.is_initialized():
                with _own_cluster(ray) if address is None else _connection(ray, address):
                    yield ray
            elif address in (None, "auto"):
                yield ray
            else:
                raise UsageError(
                    "This process is connected to a Ray cluster already.",
                    "Leave out the address, or call ray.shutdown() before.",
                )


def check_address(address: str) -> None:
    """Checks that something answers at the address of a cluster; `auto` is looked up when the session starts.

    Raises:
        UsageError: it is neither `auto` nor HOST:PORT.
        RemoteError: nothing answers there.
    """
    if address == "auto":
        return
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or int(found["port"]) > 65535:
        raise UsageError(
            f"{address!r} is not the address of a Ray cluster.",
            "Give auto on a machine of the cluster, or HOST:PORT of its head, such as 10.0.0.1:6379 "
            "(an address that starts with ray:// is that of a Ray client, which cannot be used here).",
        )
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _CONNECT_SECONDS).close()
    except OSError as error:
        raise RemoteError(
            f"No Ray cluster answers at {address}: {error.strerror or error}.",
            "Start its head with `ray start --head`, and give the address that it prints.",
        ) from error


def _own_settings() -> dict[str, str]:
    """What a Ray of our own is started with: a token made for it, loopback alone, and no usage report.

    `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0`, or `ENABLE_RAY_CLUSTER` in Ray's constants, tells Ray that no other machine
    joins. It then takes 127.0.0.1 as the address of this machine, and its processes listen there and nowhere else.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {**_NO_USAGE_REPORT, **_DEVICES, **token, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def _token_mode() -> dict[str, str]:
    """For a given address Ray looks for a token only if it is asked to."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    return {"RAY_AUTH_MODE": "token"} if named or Path("~/.ray/auth_token").expanduser().is_file() else {}


@contextlib.contextmanager
def _own_cluster(ray: Any) -> Iterator[None]:
    """A Ray of our own on this machine, whose files are removed at the end."""
    # Not below a long TMPDIR: the paths of sockets have about a hundred characters at most.
    folder = tempfile.mkdtemp(prefix="autodistill-ray-", dir="/tmp" if sys.platform != "win32" else None)
    try:
        _refresh_settings(ray)
        with _constants(ray, ENABLE_RAY_CLUSTER=False):
            try:
                ray.init(
                    address="local",
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    object_store_memory=_OBJECT_STORE,
                    _node_ip_address=_LOOPBACK,
                    _temp_dir=folder,
                )
            except (RuntimeError, OSError, ValueError) as error:
                raise RemoteError(f"Ray could not be started on this machine: {_first_line(error)}") from error
        if ray.nodes()[0]["NodeManagerAddress"] != _LOOPBACK:
            _log.warning("This release of Ray listens on all network interfaces; a token guards it.")
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _constants(ray: Any, **values: Any) -> Iterator[None]:
    """Sets what Ray reads from the environment once, when it is imported, and restores it at the end."""
    constants = ray._private.ray_constants
    before = {name: getattr(constants, name) for name in values}
    try:
        for name, value in values.items():
            setattr(constants, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)


def _refresh_settings(ray: Any) -> None:
    """Makes Ray read the variables of the environment again, and the token: it keeps those of an earlier session."""
    ray._raylet.Config.initialize("")
    with contextlib.suppress(AttributeError):  # releases without tokens
        ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _connection(ray: Any, address: str) -> Iterator[None]:
    _refresh_settings(ray)
    try:
        # Something answers at the address already.
        with _constants(ray, NUM_REDIS_GET_RETRIES=_CONNECT_ATTEMPTS):
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ray.exceptions.RayError, RuntimeError, OSError, ValueError) as error:
        ray.shutdown()
        raise _connection_error(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _connection_error(address: str, error: Exception) -> AutodistillSegError:
    text = str(error)
    if (found := re.findall(r"(Ray|Python): (\S+)", text)) and "ersion mismatch" in text:
        theirs, ours = (" and ".join(f"{name} {version}" for name, version in part) for part in (found[:2], found[2:4]))
        return DependencyError(
            f"The Ray cluster at {address} has {theirs}, this machine has {ours}.",
            "Install the same versions on all machines.",
        )
    if isinstance(error, ConnectionError) and address == "auto":
        return RemoteError(
            "No Ray cluster runs on this machine, or several do.",
            "Start one with `ray start --head`, give the address of its head, or leave out the address.",
        )
    if "Failed to connect" in text or type(error).__name__ == "AuthenticationError":
        return RemoteError(
            f"What answers at {address} is not a Ray cluster that accepts this process.",
            "A cluster with a token needs it here too: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to its file.",
        )
    return RemoteError(
        f"The Ray cluster at {address} cannot be used: {_first_line(error)}",
        "Run the command on a machine of the cluster, that is one where `ray start` was run.",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."
