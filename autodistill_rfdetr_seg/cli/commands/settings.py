"""A run's configuration with the command line's changes put over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.config import PipelineConfig, parse
from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder


def of_run(run: RunFolder, changes: Mapping[str, Any]) -> PipelineConfig:
    """A run's own configuration, with the changes; raises MissingInputError where the folder is not a run's."""
    return read_run_config(run, changes)


def changed(data: Mapping[str, Any], changes: Mapping[str, Any]) -> PipelineConfig:
    """The configuration of `data`, with the changes."""
    return parse({**data, **nested(changes)}, "the options")


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    nested: dict[str, Any] = {}
    for key, value in changes.items():
        at = nested
        *groups, last = key.split(".")
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = value
    return nested
