"""Labeling by the actors of a Ray cluster: `worker_labeling` on many machines. The files of the images and weights have
the same paths on all nodes. This process alone writes the store."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.config import MAX_MEGAPIXELS, LabelingConfig
from ..core.errors import AutodistillSegError, BaseModelError, MissingInputError
from ..engine.actor_pool import TimeLimits, ask_actors
from ..engine.node_checks import Crew, alive_nodes, check_versions, crew_for
from ..engine.ray_actor import node_name
from ..engine.ray_import import check_ray
from ..engine.ray_session import ray_session
from .base_source import BaseSource, Item, Outcome
from .labeling_work import LabelingWork, StartedLabeling

_SHARE = "All nodes must see the images under the same paths, as on a shared file system."


def label_in_actors(
    source: BaseSource,
    items: Sequence[Item],
    known: Collection[str],
    options: LabelingConfig,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[tuple[Item, Outcome]]:
    """Each item with its row, its error, or as a known image where its content (SHA-256) is `known`, in the order in
    which they are done.

    Raises:
        DependencyError: Ray is not installed, or the nodes have other versions than this machine.
        UsageError: there are not enough nodes, the base cannot be sent to them, or the address is not one.
        RemoteError: there is no cluster at the address, or it has nothing free.
        AutodistillSegError: no node could build the base.
    """
    work = LabelingWork(source.for_other_machine(), frozenset(known), options.batch_size, max_megapixels)
    items = [(path.absolute(), name) for path, name in items]
    limits = TimeLimits(options.placement_timeout, options.start_timeout, options.timeout_per_image)
    with ray_session(options.address) as ray:
        crew = _crew(ray, options)
        check_versions(ray, [node for node in alive_nodes(ray) if crew.needs.room(node["Resources"])])
        yield from ask_actors(ray, _NodeWork(work, _folder(items)), items, crew, limits)


def check_cluster(options: LabelingConfig) -> None:
    """Checks, before anything is written, that Ray is installed, the cluster answers, and the actors have room. A Ray
    of our own is not started for it.

    Raises as `label_in_actors`.
    """
    if options.address is None:
        check_ray()
        crew_for([{"CPU": os.cpu_count() or 1}], options.actors, options.cpus_per_base)
        return
    with ray_session(options.address) as ray:
        _crew(ray, options)


def _crew(ray: Any, options: LabelingConfig) -> Crew:
    return crew_for([node["Resources"] for node in alive_nodes(ray)], options.actors, options.cpus_per_base)


@dataclass(frozen=True)
class _NodeWork:
    """The work on a node, which may not see the images: `folder` is one that they are in."""

    work: LabelingWork
    folder: Path | None

    def start(self) -> _StartedOnNode:
        """Builds the base; refuses a node that would fail on all images, and so be asked about the most."""
        if self.folder is not None and not self.folder.is_dir():
            raise MissingInputError(f"There is no folder {self.folder}.", _SHARE)
        return _StartedOnNode(self.work.start())


@dataclass(frozen=True)
class _StartedOnNode:
    started: StartedLabeling

    @property
    def batch(self) -> int:
        return self.started.batch

    def answer(self, items: Sequence[Item]) -> list[Outcome]:
        answers = self.started.answer(items)
        return [_with_node(path, answer) for (path, _), answer in zip(items, answers, strict=True)]


def _with_node(path: Path, answer: Outcome) -> Outcome:
    """Names the node in the reason of an image that is not there."""
    if not isinstance(answer, AutodistillSegError) or path.exists():
        return answer
    return BaseModelError(f"{path} is not on the node {node_name()}.", _SHARE)


def _folder(items: Sequence[Item]) -> Path | None:
    """The folder of the first image, if it exists here."""
    folder = items[0][0].parent
    return folder if folder.is_dir() else None
