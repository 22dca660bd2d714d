"""The nodes of a cluster: how many actors they have room for, and whether they have the versions of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import DependencyError, RemoteError, UsageError
from ..core.plain_text import counted

# Seconds in which each node must say what versions it has.
_PROBE_SECONDS = 60.0
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Needs:
    """What each actor takes of its node."""

    cpus: int = 1
    gpus: int = 0

    def __str__(self) -> str:
        return counted(self.cpus, "CPU") + (f" and {counted(self.gpus, 'GPU')}" if self.gpus else "")

    def room(self, resources: Mapping[str, float]) -> int:
        """How many actors a node with these resources has room for."""
        room = int(resources.get("CPU", 0)) // self.cpus
        return min(room, int(resources.get("GPU", 0)) // self.gpus) if self.gpus else room


@dataclass(frozen=True)
class Crew:
    """How many actors work, and what each takes."""

    actors: int
    needs: Needs


def crew_for(nodes: Sequence[Mapping[str, float]], actors: int | None, cpus: int) -> Crew:
    """The actors for nodes with these resources: `actors`, or as many as there is room for. Each takes `cpus` CPUs, and
    a GPU if the cluster has some.

    Raises:
        UsageError: there is no room for so many.
    """
    gpus = any(node.get("GPU", 0) >= 1 for node in nodes)
    needs = Needs(cpus, 1 if gpus else 0)
    room = sum(needs.room(node) for node in nodes)
    if room < (actors or 1):
        total = {name: int(sum(node.get(name, 0) for node in nodes)) for name in ("CPU", "GPU")}
        has = f"{counted(len(nodes), 'node')} with {counted(total['CPU'], 'CPU')} and {counted(total['GPU'], 'GPU')}"
        raise UsageError(
            f"The Ray cluster has room for {counted(room, 'actor')}, not for {actors or 1}: each takes {needs}, and "
            f"there {'is' if len(nodes) == 1 else 'are'} {has}.",
            "Give a smaller --actors or --cpus-per-base, or add nodes with `ray start --address`.",
        )
    return Crew(actors or room, needs)


def alive_nodes(ray: Any) -> list[dict[str, Any]]:
    """Ray's descriptions of the nodes that are alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def check_versions(ray: Any, nodes: Iterable[Mapping[str, Any]]) -> None:
    """Asks each node what it has installed.

    Raises:
        DependencyError: a node has other versions of Ray, Python or this package than this machine.
        RemoteError: a node does not answer.
    """
    ours = _probe(_PACKAGE)
    asked = {}
    for node in nodes:
        pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        # No CPU: it need not wait for other work. Sent by value, because the node may lack this package.
        probe = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=pinned)(_by_value(ray, _probe))
        asked[probe.remote(_PACKAGE)] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=_PROBE_SECONDS)
    if late:
        raise RemoteError(f"The node {asked[late[0]]} of the Ray cluster does not answer.", "Remove or restart it.")
    for answer in ready:
        try:
            theirs = ray.get(answer)
        except ray.exceptions.RayError:
            # It has died since it was listed.
            continue
        if problem := differing(ours, theirs):
            raise DependencyError(
                f"The node {asked[answer]} of the Ray cluster {problem}.", "Install the same versions on all machines."
            )


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """What a node has other versions of, as the end of a sentence; None if they are the same."""
    for name, version in ours.items():
        if theirs.get(name) != version:
            return f"has {name} {theirs[name]}, this machine {version}" if name in theirs else f"lacks {name}"
    return None


def _by_value(ray: Any, function: Any) -> Any:
    """A copy of a function that Ray sends with its code."""
    copy = type(function)(function.__code__, {"__builtins__": __builtins__}, function.__name__)
    copy.__module__ = "__main__"
    return copy


def _probe(package: str) -> dict[str, str]:
    """The versions on this machine. Needs no name of this module: it runs on nodes that may not have it."""
    import contextlib
    import importlib
    import platform

    import ray

    found = {"ray": ray.__version__, "Python": platform.python_version()}
    with contextlib.suppress(ImportError):
        found[package] = importlib.import_module(package).__version__
    return found
