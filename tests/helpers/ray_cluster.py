"""A Ray cluster of several nodes on this machine, on loopback and with a token; its nodes can be killed and added."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A node of one CPU has room for one actor.
_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class RayCluster:
    """Nodes of one CPU each, of which the first is the head."""

    def __init__(self, cluster: Any, folder: str) -> None:
        self._cluster, self._folder = cluster, folder
        self.nodes = [cluster.head_node]

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, env: Mapping[str, str] | None = None) -> Any:
        node = self._cluster.add_node(**_NODE, env_vars=dict(env or {}))
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """Kills a node's processes at once."""
        self.nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def actors(self) -> set[int]:
        """The processes of its actors that have started."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_bytes().startswith(b"ray::WorkProcess"):
                    node = re.search(r"^PPid:\s+(\d+)", (path.parent / "status").read_text(), re.MULTILINE)
                    # Other tests have clusters too.
                    if node and self._folder.encode() in Path("/proc", node[1], "cmdline").read_bytes():
                        found.add(int(path.parent.name))
        return found


@contextmanager
def ray_cluster(nodes: int = 2) -> Iterator[RayCluster]:
    os.environ.update(SETTINGS, RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray
    from ray.cluster_utils import Cluster

    # What the last of these settings does, if Ray was imported before.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
    # Where it notes the address of the newest cluster; Ray makes this folder only for nodes without one of their own.
    Path(ray._private.utils.get_ray_address_file(None)).parent.mkdir(exist_ok=True)
    # Not in a test's folder: the paths of sockets have about a hundred characters at most.
    folder = tempfile.mkdtemp(prefix="ray-test-", dir="/tmp")
    cluster = Cluster(initialize_head=True, head_node_args={**_NODE, "include_dashboard": False, "temp_dir": folder})
    try:
        made = RayCluster(cluster, folder)
        for _ in range(nodes - 1):
            made.add()
        yield made
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        for name in (*SETTINGS, "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)
