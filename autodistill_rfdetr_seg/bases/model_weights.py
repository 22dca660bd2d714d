"""Published weights: which ones are meant, and whether they are on this machine. Nothing is downloaded or imported."""

from __future__ import annotations

import os
from pathlib import Path

# The commit is part of it: what the name alone stands for may change.
GROUNDING_DINO = "IDEA-Research/grounding-dino-tiny@a2bb814dd30d776dcf7e30523b00659f4f141c71"


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


def _hub_cache() -> Path:
    """Where huggingface_hub keeps its downloads, by the same variables; it reads them when it is imported."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()
