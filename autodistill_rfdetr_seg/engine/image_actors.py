"""Asks the actors of a Ray cluster about images, whose files have the same paths on all nodes."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.config import EngineConfig
from ..core.errors import AutodistillSegError, BaseModelError, MissingInputError
from .actor_pool import TimeLimits, ask_actors
from .actor_work import StartedWork, Work
from .node_checks import Crew, alive_nodes, check_versions, crew_for
from .ray_actor import node_name
from .ray_import import check_ray
from .ray_session import ray_session

# An image: its path, and its name in the results.
Item = tuple[Path, str]
_SHARE = "All nodes must see the images under the same paths, as on a shared file system."


def ask_about_images(
    work: Work, items: Sequence[Item], options: EngineConfig, seconds: float | None = None, *, gpus: bool = True
) -> Generator[tuple[Item, Any], None, None]:
    """Each item, with an absolute path, with its answer or its error, in the order in which they are done.

    An item that takes longer than `seconds` is an error. Each actor takes a GPU if the cluster has some, unless `gpus`
    is false.

    Raises:
        DependencyError: Ray is not installed, or the nodes have other versions than this machine.
        UsageError: there are not enough nodes, the work cannot be sent to them, or the address is not one.
        RemoteError: there is no cluster at the address, or it has nothing free.
        AutodistillSegError: no node could start the work.
    """
    if not items:
        return
    items = [(path.absolute(), name) for path, name in items]
    limits = TimeLimits(options.placement_timeout, options.start_timeout, seconds)
    with ray_session(options.address) as ray:
        crew = _checked_crew(ray, options, gpus)
        yield from ask_actors(ray, _NodeWork(work, _folder(items)), items, crew, limits)


def check_cluster(options: EngineConfig, *, gpus: bool = True) -> None:
    """Checks, before anything is written, that Ray is installed, the cluster answers, its nodes have the versions of
    this machine, and the actors have room. A Ray of our own is not started for it.

    Raises as `ask_about_images`.
    """
    if options.address is None:
        check_ray()
        _crew([{"CPU": os.cpu_count() or 1}], options, gpus)
        return
    with ray_session(options.address) as ray:
        _checked_crew(ray, options, gpus)


def _checked_crew(ray: Any, options: EngineConfig, gpus: bool) -> Crew:
    """The actors for the nodes that are alive, once those with room for one have the versions of this machine."""
    nodes = alive_nodes(ray)
    crew = _crew([node["Resources"] for node in nodes], options, gpus)
    check_versions(ray, [node for node in nodes if crew.needs.room(node["Resources"])])
    return crew


def _crew(nodes: Sequence[Mapping[str, float]], options: EngineConfig, gpus: bool) -> Crew:
    seen = nodes if gpus else [{**node, "GPU": 0} for node in nodes]
    return crew_for(seen, options.actors, options.cpus_per_base)


@dataclass(frozen=True)
class _NodeWork:
    """The work on a node, which may not see the images: `folder` is one that they are in."""

    work: Work
    folder: Path | None

    def start(self) -> _StartedOnNode:
        """Starts the work; refuses a node that would fail on all images, and so be asked about the most."""
        if self.folder is not None and not self.folder.is_dir():
            raise MissingInputError(f"There is no folder {self.folder}.", _SHARE)
        return _StartedOnNode(self.work.start())


@dataclass(frozen=True)
class _StartedOnNode:
    started: StartedWork

    @property
    def batch(self) -> int:
        return self.started.batch

    def answer(self, items: Sequence[Item]) -> list[Any]:
        answers = self.started.answer(items)
        return [_with_node(path, answer) for (path, _), answer in zip(items, answers, strict=True)]


def _with_node(path: Path, answer: Any) -> Any:
    """Names the node in the reason of an image that is not there."""
    if not isinstance(answer, AutodistillSegError) or path.exists():
        return answer
    return BaseModelError(f"{path} is not on the node {node_name()}.", _SHARE)


def _folder(items: Sequence[Item]) -> Path | None:
    """The folder of the first image, if it exists here."""
    folder = items[0][0].parent
    return folder if folder.is_dir() else None
