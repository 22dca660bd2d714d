"""Configuration files: a pipeline's YAML in and out, and the configuration of a run.

Relative paths in a file are relative to that file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..core.bucket_urls import is_bucket_url
from ..core.config import MAX_MEGAPIXELS, PipelineConfig, parse, with_overrides
from ..core.errors import DataError, MissingInputError, UsageError
from .files import read_user_text, write_text
from .run_folder import RunFolder


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> PipelineConfig:
    """The configuration of a YAML file with `overrides` ("target.epochs": 3).

    Raises:
        MissingInputError: there is no such file.
        DataError: it is not YAML, or not a mapping.
        UsageError: as `parse`.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no pipeline file {path}.", "Examples are in the folder `pipelines/`.")
    try:
        data = yaml.safe_load(read_user_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise DataError(
            f"{path} is not a mapping of options.", "It needs at least `images:`, and `ontology:` for most bases."
        )
    config = parse(with_overrides(data, overrides or {}), str(path))
    return _relative_to(config, path.parent)


def dump(config: PipelineConfig) -> str:
    """The resolved configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def parse_ontology(text: str) -> dict[str, str]:
    """An ontology from JSON text, or from the JSON or YAML file that `@file` names.

    Raises:
        UsageError: it is not a non-empty mapping of text to text.
        MissingInputError: the file is not there.
        DataError: it is not text in UTF-8 or UTF-16.
    """
    source = "The ontology"
    if text.startswith("@"):
        path = Path(text[1:])
        source = f"The ontology file {path}"
        if not path.is_file():
            raise MissingInputError(f"There is no ontology file {path}.")
        text = read_user_text(path)
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"{source} is neither JSON nor YAML: {' '.join(str(error).split())}.") from error
    else:
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{source} is not JSON ({error.msg} at character {error.pos}): {text!r}.",
                """Write it as '{"a dog": "dog"}', as @file, or give --class "a dog=dog".""",
            ) from error
    if not isinstance(data, dict) or not data:
        raise UsageError(f"{source} is not a mapping of prompts to classes.", """Write it as '{"a dog": "dog"}'.""")
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in data.items()):
        raise UsageError(f"{source} maps something other than text to text.", """Write it as '{"a dog": "dog"}'.""")
    return data


def _relative_to(config: PipelineConfig, folder: Path) -> PipelineConfig:
    """The configuration with absolute input paths; relative ones are relative to `folder`."""

    def absolute(path: str) -> str:
        return str((folder / Path(path).expanduser()).resolve())

    evaluation = config.evaluation.model_copy(update={"gold": [absolute(p) for p in config.evaluation.gold]})
    # resolve() would follow links, and a pattern is no path: only the folder is prepended.
    images = config.images if is_bucket_url(config.images) else absolute(config.images)
    changed = {"images": images, "evaluation": evaluation, "base": config.base.beside(folder)}
    return config.model_copy(update=changed)


def read_run_config(run: RunFolder, overrides: Mapping[str, Any] | None = None) -> PipelineConfig:
    """The configuration of a run with `overrides` ("target.epochs": 3).

    Raises:
        MissingInputError: the folder is not a run's.
        UsageError: as `parse`.
    """
    if not run.config_file.is_file():
        raise MissingInputError(
            f"{run.root} is not a run's folder: it contains no pipeline.yaml.",
            "Start with `autodistill-seg label IMAGES … --output RUN` or `autodistill-seg run PIPELINE`.",
        )
    return load(run.config_file, overrides)


def run_megapixels(run: RunFolder) -> float:
    """The run's `max_megapixels`; the default if the folder contains no pipeline.yaml."""
    return read_run_config(run).inputs.max_megapixels if run.config_file.is_file() else MAX_MEGAPIXELS


def save_run_config(run: RunFolder, config: PipelineConfig) -> None:
    """Writes the resolved configuration, except what belongs to one call only: its output folder and its slice."""
    labeling = config.labeling.model_copy(update={"slice": None})
    write_text(run.config_file, dump(config.model_copy(update={"output": None, "labeling": labeling})))


def changed_options(run: RunFolder, config: PipelineConfig) -> list[str]:
    """The groups of options that differ between a run's configuration and `config`; how labeling is done is ignored."""
    saved, wanted = (
        one.model_dump(mode="json", exclude={"output", "labeling"}) for one in (read_run_config(run), config)
    )
    return [name for name in wanted if saved[name] != wanted[name]]
