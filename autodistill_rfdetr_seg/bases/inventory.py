"""The bases and segmenters that are known: which are installed, their license, and whether their weights are here.

Nothing of theirs is imported (except the entry points of other packages) and nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import DependencyError
from ..system.versions import importable
from .base_entries import BaseEntry, Registry
from .model_weights import is_here
from .registry import BASES
from .segmenters.segmenter_registry import SEGMENTERS

Kind = Literal["base", "detector", "segmenter"]


@dataclass(frozen=True, slots=True)
class Weights:
    """What a base downloads on first use: its `place` as in `BaseEntry.weights`, its size, and whether it is here."""

    place: str
    bytes: int
    here: bool


@dataclass(frozen=True, slots=True)
class ListedBase:
    """A base or segmenter: `kind` is `base`, `detector` (boxes only: it needs a segmenter) or `segmenter`; `problem`
    says why it would be refused although it is installed; `install` is the command that installs it or solves the
    problem, empty where there is none; `added_by` is the other package that adds it."""

    kind: Kind
    name: str
    installed: bool
    install: str
    license: str
    summary: str
    weights: tuple[Weights, ...]
    problem: str = ""
    added_by: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data; `licence` is the name that `license` had in release 0.1.0."""
        return {**dataclasses.asdict(self), "licence": self.license}


def inventory() -> list[ListedBase]:
    """Every registered base, then every segmenter, by name."""
    return [_listed(registry, name) for registry in (BASES, SEGMENTERS) for name in sorted(registry)]


def _listed(registry: Registry, name: str) -> ListedBase:
    try:
        entry = registry[name]
    except DependencyError as error:
        return ListedBase(registry.kind, name, True, error.hint or "", "", "", (), error.message)
    kind: Kind = "detector" if registry.kind == "base" and not entry.masks else registry.kind
    module = entry.needs
    installed = Path(module).is_file() if module.endswith(".py") else importable(module)
    install = f"pip install 'autodistill-rfdetr-seg[{entry.extra}]'" if entry.extra else ""
    weights = tuple(Weights(place, size, is_here(place)) for place, size in entry.weights)
    problem = _problem(entry) if installed else None
    if problem is not None:
        install = problem.hint or ""
    message = "" if problem is None else problem.message
    return ListedBase(kind, name, installed, install, entry.license, entry.summary, weights, message, entry.added_by)


def _problem(entry: BaseEntry) -> DependencyError | None:
    try:
        if entry.check is not None:
            entry.check()
    except DependencyError as error:
        return error
    return None


def bases_table(found: Sequence[Mapping[str, Any]]) -> str:
    """What `bases` prints: two lines each, and one for each file of weights."""
    lines = []
    for known in found:
        state = "installed" if known["installed"] else f"missing  → {known['install'] or 'install its package'}"
        if known["problem"]:
            state = f"refused: {known['problem']}  → {known['install']}"
        lines.append(f"{known['kind'] + ' ' + known['name']:<26}{state}")
        license_ = f" ({known['license']})" if known["license"] else ""
        added_by = f"; added by {known['added_by']}" if known["added_by"] else ""
        if said := f"{known['summary']}{license_}{added_by}".removeprefix("; "):
            lines.append(f"    {said}")
        for one in known["weights"]:
            where = "here" if one["here"] else "downloaded on first use"
            lines.append(f"    weights  {one['place']}  {one['bytes'] / 1e9:.2f} GB  {where}")
    lines.append("any class as package.module:Class or file.py:Class, and any run of your own by its path")
    return "\n".join(lines)
