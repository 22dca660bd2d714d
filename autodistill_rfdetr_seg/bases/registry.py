"""Bases by name: `threshold`, `grounded-sam`, or any class as `package.module:Class` or `path/to/file.py:Class`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import AutodistillSegError, BaseModelError, DependencyError, UnknownNameError, UsageError
from ..records import Classes

ImageInput = Literal["bgr", "path", "pil"]


@dataclass(frozen=True)
class BaseEntry:
    """Where a base's class is, how it wants its images, and what its absence is cured by.

    `image_input` is `bgr` (HWC uint8 array, what autodistill's own `label()` passes), `path` or `pil` (RGB). `masks` is
    False for a detector, which needs a segmenter. `licence` is that of code and weights; `weights` lists what it
    fetches on first use where nothing else is given: (name, bytes).
    """

    target: str
    summary: str
    image_input: ImageInput = "bgr"
    extra: str | None = None
    masks: bool = True
    licence: str = ""
    weights: tuple[tuple[str, int], ...] = ()


BASES: dict[str, BaseEntry] = {
    "threshold": BaseEntry(
        "autodistill_rfdetr_seg.bases.threshold:ThresholdBase",
        "embedded, no weights: bright, dark or coloured objects on a plain ground",
    ),
    "grounded-sam": BaseEntry(
        "autodistill_grounded_sam:GroundedSAM",
        "Grounding DINO boxes into SAM masks; free-text prompts; a GPU is advised",
        extra="grounded-sam",
    ),
    "grounded-sam-hf": BaseEntry(
        "autodistill_rfdetr_seg.bases.grounded_sam_hf:GroundedSAMHF",
        "the same by transformers' own classes, in batches, with a segmenter of choice; a GPU is advised",
        licence="Apache-2.0",
        weights=(
            ("IDEA-Research/grounding-dino-tiny", 689_000_000),
            ("facebook/sam2.1-hiera-base-plus", 323_000_000),
        ),
    ),
}


# What makes masks of boxes; see `contract.Segmenter`.
SEGMENTERS: dict[str, BaseEntry] = {
    "sam": BaseEntry(
        "autodistill_rfdetr_seg.bases.segmenters:Sam",
        "Segment Anything, ViT-H as in GroundedSAM",
        licence="Apache-2.0",
        weights=(("facebook/sam-vit-huge", 2_560_000_000),),
    ),
    "sam-hq": BaseEntry(
        "autodistill_rfdetr_seg.bases.segmenters:SamHq",
        "SAM with a head for finer edges",
        licence="Apache-2.0",
        weights=(("syscv-community/sam-hq-vit-huge", 2_570_000_000),),
    ),
    "sam2": BaseEntry(
        "autodistill_rfdetr_seg.bases.segmenters:Sam2",
        "SAM 2.1 (base plus), a much smaller encoder than SAM's",
        licence="Apache-2.0",
        weights=(("facebook/sam2.1-hiera-base-plus", 323_000_000),),
    ),
}


def register_base(name: str, target: str, summary: str = "", image_input: ImageInput = "bgr") -> None:
    """Makes `package.module:Class` known under `name`, for `label(base=name)` in this process."""
    BASES[name] = BaseEntry(target, summary, image_input)


def find_base(name: str) -> BaseEntry:
    """The entry of a registered name, or of a `module:Class` as it is.

    Raises:
        UnknownNameError: neither; the nearest registered name is suggested.
    """
    if name in BASES:
        return BASES[name]
    if ":" in name:
        return BaseEntry(name, "")
    raise UnknownNameError(
        "base", name, BASES, f"Known: {', '.join(sorted(BASES))}, or any class as package.module:Class."
    )


def find_segmenter(name: str) -> BaseEntry:
    """The entry of a registered segmenter, or of a `module:Class` as it is.

    Raises:
        UnknownNameError: neither; the nearest registered name is suggested.
    """
    if name in SEGMENTERS:
        return SEGMENTERS[name]
    if ":" in name:
        return BaseEntry(name, "")
    raise UnknownNameError(
        "segmenter", name, SEGMENTERS, f"Known: {', '.join(sorted(SEGMENTERS))}, or any class as package.module:Class."
    )


def create_base(name: str, classes: Classes, args: Mapping[str, Any] | None = None) -> Any:
    """A base of that name over the ontology of `classes`, its constructor given `args`.

    Raises:
        UnknownNameError: the name, or an argument of a registered base, is not known.
        DependencyError: the package it is in is not installed.
        BaseModelError: its constructor failed.
    """
    from autodistill.detection import CaptionOntology

    cls = _import(find_base(name), "base", name, "predict")
    return _built(cls, f"base {name!r}", dict(args or {}), ontology=CaptionOntology(classes.ontology))


def create_segmenter(name: str, args: Mapping[str, Any] | None = None) -> Any:
    """A segmenter of that name, its constructor given `args`; raises as `create_base`."""
    cls = _import(find_segmenter(name), "segmenter", name, "segment")
    return _built(cls, f"segmenter {name!r}", dict(args or {}))


def identity_of(entry: BaseEntry, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """What decides the answers of a base or segmenter built with `args`: see `contract`. Loads no model.

    One that is not ours is not imported for it: its arguments are what counts.
    """
    module, _, attribute = entry.target.rpartition(":")
    if not module.startswith(__package__.partition(".")[0] + "."):
        return args
    identity = getattr(getattr(importlib.import_module(module), attribute), "identity", None)
    return args if identity is None else identity(dict(args))


def _built(cls: Any, what: str, args: Mapping[str, Any], **given: Any) -> Any:
    parameters = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        known = [p for p in parameters if p not in given]
        for argument in args:
            if argument not in known:
                raise UnknownNameError(f"argument of {what}:", argument, known)
    try:
        return cls(**given, **args)
    except AutodistillSegError:
        raise
    except Exception as error:
        raise BaseModelError(f"The {what} could not be built: {type(error).__name__}: {error}.") from error


def _import(entry: BaseEntry, kind: str, name: str, method: str) -> Any:
    module_name, _, attribute = entry.target.rpartition(":")
    found: Any = _module(module_name, entry)
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise UsageError(
            f"There is no {attribute!r} in {module_name!r}.", "Write it as package.module:Class."
        ) from error
    if not inspect.isclass(found) or not callable(getattr(found, method, None)):
        raise UsageError(f"The {kind} {name!r} is not a class with a `{method}` method.")
    return found


def _module(name: str, entry: BaseEntry) -> Any:
    try:
        return _module_of_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        hint = f"pip install 'autodistill-rfdetr-seg[{entry.extra}]'" if entry.extra else f"Install {missing!r} first."
        raise DependencyError(f"The base needs the package {missing!r}, which is not installed.", hint) from error
    except ImportError as error:
        raise DependencyError(f"The module {name!r} cannot be imported: {error}.") from error


def _module_of_file(path: Path) -> Any:
    """The module of a Python file, without a change to `sys.path`."""
    if not path.is_file():
        raise UsageError(f"There is no Python file {path}.", "Write a base as path/to/file.py:Class.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python module.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
