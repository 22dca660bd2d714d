"""Training on several machines, the nodes: which node this process is on, and where the nodes meet.

The same command runs once on every node, in a file system that all of them share. Node 0 checks the options, prepares
the data and writes the result; the others wait for it, and then only train. Lightning connects their processes.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ...core.errors import TrainingError, UsageError

_log = logging.getLogger(__name__)

_PORT = 29500  # torch's own default
# torchrun listens on MASTER_PORT itself.
_TORCHRUN_OFFSET = 1
_WAIT = 1800.0  # seconds for node 0 to check and prepare the data
_HINT = (
    "Set NODE_RANK (0, 1 …) and MASTER_ADDR (the name of node 0) on each node, or start the command with torchrun "
    "or srun, one process a node."
)
# What Lightning would read instead of the node's own variables.
_LAUNCHER_PREFIXES = ("SLURM_", "TORCHELASTIC_", "PET_")
_LAUNCHER_NAMES = (
    *("LOCAL_RANK", "NODE_RANK", "GLOBAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME"),
)


@dataclass(frozen=True, slots=True)
class TrainingNode:
    """One of `count` machines that train together; the processes meet at `port` of node 0, whose name is `address`."""

    rank: int = 0
    count: int = 1
    address: str = "127.0.0.1"
    port: int = _PORT

    @classmethod
    def from_environment(cls, count: int, environment: Mapping[str, str] | None = None) -> TrainingNode:
        """This process's node, by NODE_RANK and MASTER_ADDR, or the variables of torchrun or Slurm.

        Raises:
            UsageError: the variables are missing, or say something else than `count` nodes with a process each.
        """
        given = os.environ if environment is None else environment
        if count == 1:
            return cls()
        if "NODE_RANK" in given:
            names, port = {"rank": "NODE_RANK"}, _number(given, "MASTER_PORT", _PORT)
        elif "GROUP_RANK" in given:
            names = {"rank": "GROUP_RANK", "count": "GROUP_WORLD_SIZE", "processes": "LOCAL_WORLD_SIZE"}
            port = _number(given, "MASTER_PORT", _PORT) + _TORCHRUN_OFFSET
        elif "SLURM_NODEID" in given:
            names = {"rank": "SLURM_NODEID", "count": "SLURM_NNODES", "tasks": "SLURM_NTASKS"}
            # Two jobs may share a node.
            port = _number(given, "MASTER_PORT", 20000 + _number(given, "SLURM_JOB_ID", 0) % 10000)
        else:
            raise UsageError(f"{count} nodes are requested, and nothing says which of them this is.", _HINT)
        rank, stated = _number(given, names["rank"]), _number(given, names.get("count", ""), count)
        processes = _number(given, names.get("processes", ""), 1)
        if stated != count or not 0 <= rank < count:
            raise UsageError(
                f"{count} nodes are requested, and the environment says that this is node {rank} of {stated} "
                "(they count from 0).",
                _HINT,
            )
        if processes != 1 or _number(given, names.get("tasks", ""), count) != count:
            raise UsageError(
                "Several processes were started on this node; one is needed, which starts another for each device.",
                "Use --nproc-per-node 1 with torchrun, --ntasks-per-node 1 with Slurm, and --devices N.",
            )
        return cls(rank, count, _address(given), port)

    def worker_environment(self, devices: int) -> dict[str, str]:
        """The environment of this node's training process: Lightning finds the other nodes by it."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _LAUNCHER_NAMES and not name.startswith(_LAUNCHER_PREFIXES)
        }
        if self.count == 1:
            return kept
        own = {"NODE_RANK": str(self.rank), "MASTER_ADDR": self.address, "MASTER_PORT": str(self.port)}
        # Before the processes are connected, Lightning takes one without a rank for the first, which writes files.
        first = {"RANK": str(self.rank * devices)} if self.rank else {}
        return {**kept, **own, **first}

    def wait_for_first(self, seconds: float = _WAIT) -> None:
        """Returns when node 0 has begun to train.

        Raises:
            TrainingError: it has not within so many seconds.
        """
        place = f"{self.address}:{self.port}"
        _log.info("Node %d waits for node 0 at %s.", self.rank, place)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((self.address, self.port), timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        raise TrainingError(
            f"Node {self.rank} has waited {seconds:.0f} s for node 0 at {place}.",
            "Start the same command on node 0, and let the nodes reach each other's ports.",
        )


def _number(given: Mapping[str, str], name: str, default: int | None = None) -> int:
    """The whole number in a variable."""
    text = given.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        raise UsageError(f"The variable {name} must be a whole number, not {text!r}.", _HINT) from error


def _address(given: Mapping[str, str]) -> str:
    """The name of node 0: as stated, else the first of Slurm's list."""
    if stated := given.get("MASTER_ADDR"):
        return stated
    names = given.get("SLURM_STEP_NODELIST") or given.get("SLURM_JOB_NODELIST")
    if not names:
        raise UsageError("Nothing says which machine is node 0.", _HINT)
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    return str(SLURMEnvironment.resolve_root_node_address(names))
