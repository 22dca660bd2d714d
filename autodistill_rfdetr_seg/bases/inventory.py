"""What bases and segmenters there are: which are installed, under what licence, and whether their weights are here.

Nothing of theirs is imported and nothing is fetched: packages are looked up, and files.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import DependencyError
from .registry import BASES, SEGMENTERS, BaseEntry


@dataclass(frozen=True, slots=True)
class Weights:
    """What a base fetches on first use: its `place` as in `BaseEntry.weights`, its size, and whether it is here."""

    place: str
    bytes: int
    here: bool


@dataclass(frozen=True, slots=True)
class Known:
    """A base or segmenter: `kind` is `base`, `detector` (boxes only: it needs a segmenter) or `segmenter`; `problem`
    says why it would be refused although it is installed; `install` is the command that cures its absence or the
    problem, empty where there is none."""

    kind: Literal["base", "detector", "segmenter"]
    name: str
    installed: bool
    install: str
    licence: str
    summary: str
    weights: tuple[Weights, ...]
    problem: str = ""


def inventory() -> list[Known]:
    """Every registered base, then every segmenter, by name."""
    bases = [_known("base" if entry.masks else "detector", name, entry) for name, entry in sorted(BASES.items())]
    return bases + [_known("segmenter", name, entry) for name, entry in sorted(SEGMENTERS.items())]


def importable(module: str) -> bool:
    """Whether a module is installed, told without importing it (of a dotted name, what is before its last dot is)."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def is_here(place: str) -> bool:
    """Whether weights are on this machine: at a path from `~`, or those of a model id in the hub's cache, and of the
    branch, tag or commit behind its `@`, or else of `main`."""
    if place.startswith("~"):
        return Path(place).expanduser().is_file()
    model, _, revision = place.partition("@")
    repository = _hub_cache() / f"models--{model.replace('/', '--')}"
    name = repository / "refs" / (revision or "main")
    commit = name.read_text(encoding="utf-8").strip() if name.is_file() else revision
    # A file gets its name in a snapshot only once it is complete.
    return bool(commit) and any(path.is_file() for path in (repository / "snapshots" / commit).glob("*.safetensors"))


def _known(kind: Literal["base", "detector", "segmenter"], name: str, entry: BaseEntry) -> Known:
    module = entry.needs
    installed = Path(module).is_file() if module.endswith(".py") else importable(module)
    install = f"pip install 'autodistill-rfdetr-seg[{entry.extra}]'" if entry.extra else ""
    weights = tuple(Weights(place, size, is_here(place)) for place, size in entry.weights)
    problem = ""
    try:
        if installed and entry.check is not None:
            entry.check()
    except DependencyError as error:
        problem, install = error.message, error.hint or ""
    return Known(kind, name, installed, install, entry.licence, entry.summary, weights, problem)


def _hub_cache() -> Path:
    """Where huggingface_hub keeps what it has fetched, by the same variables; it reads them when it is imported."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()


def bases_table(found: Sequence[Mapping[str, Any]]) -> str:
    """What `bases` lists, for reading: two lines each, and one for each file of weights."""
    lines = []
    for known in found:
        state = "installed" if known["installed"] else f"missing  → {known['install'] or 'install its package'}"
        if known["problem"]:
            state = f"refused: {known['problem']}  → {known['install']}"
        lines.append(f"{known['kind'] + ' ' + known['name']:<26}{state}")
        licence = f" ({known['licence']})" if known["licence"] else ""
        lines.append(f"    {known['summary']}{licence}")
        for one in known["weights"]:
            where = "here" if one["here"] else "fetched on first use"
            lines.append(f"    weights  {one['place']}  {one['bytes'] / 1e9:.2f} GB  {where}")
    lines.append("any class as package.module:Class or file.py:Class, and any run of your own by its path")
    return "\n".join(lines)
