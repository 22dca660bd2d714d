"""Bases by name: `threshold`, `grounded-sam`, any class as `package.module:Class` or `path/to/file.py:Class`, or the
path of a run or checkpoint, whose model is then the base."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core import plug_points
from ..core.config import BaseConfig
from ..core.errors import AutodistillSegError, BaseModelError, DependencyError, UnknownNameError, UsageError
from ..core.moved_modules import current_module
from ..core.types import Classes
from . import groundingdino_compat
from .weight_hashes import with_hashes

ImageInput = Literal["bgr", "path", "pil"]


@dataclass(frozen=True)
class BaseEntry:
    """Where a base's class is, how it wants its images, and what its absence is cured by.

    `image_input` is `bgr` (HWC uint8 array, what autodistill's own `label()` passes), `path` or `pil` (RGB). `masks` is
    False for a detector, which needs a segmenter. `licence` is that of code and weights; `weights` lists what it
    fetches on first use where nothing else is given: (place, bytes), a place being a model id of the hub, with `@` and
    a commit where that one is meant, or a path from `~` where the package keeps the file. `own_segmenter`: it has
    arguments `segmenter` and `segmenter_args`, and a segmenter that is named beside it goes there. `args` are given to
    the constructor whatever the user adds, and `label` is what its labels name as their base where that is not what the
    user wrote.
    `by_image`: it answers by image (`contract`, `for_images`).
    `package` is what must be installed for it, where that is not the target's own; `check` raises DependencyError where
    what is installed would not do, and imports nothing of theirs.
    """

    target: str
    summary: str
    image_input: ImageInput = "bgr"
    extra: str | None = None
    masks: bool = True
    own_segmenter: bool = False
    licence: str = ""
    weights: tuple[tuple[str, int], ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    by_image: bool = False
    package: str = ""
    check: Callable[[], None] | None = None

    @property
    def needs(self) -> str:
        """The module that must be importable for it."""
        return self.package or self.target.rpartition(":")[0]


# The commit that is meant: what the name alone stands for may change.
GROUNDING_DINO = "IDEA-Research/grounding-dino-tiny@a2bb814dd30d776dcf7e30523b00659f4f141c71"

BASES: dict[str, BaseEntry] = {
    "threshold": BaseEntry(
        "autodistill_rfdetr_seg.bases.threshold.threshold_base:ThresholdBase",
        "embedded, no weights: bright, dark or coloured objects on a plain ground",
        licence="Apache-2.0",
    ),
    "grounded-sam": BaseEntry(
        "autodistill_rfdetr_seg.bases.grounded_sam:GroundedSAMBase",
        "Grounding DINO boxes into SAM masks; free-text prompts; a GPU is advised",
        extra="grounded-sam",
        licence="Apache-2.0",
        package="autodistill_grounded_sam",
        weights=(
            ("~/.cache/autodistill/groundingdino/groundingdino_swint_ogc.pth", 693_997_677),
            ("~/.cache/autodistill/segment_anything/sam_vit_h_4b8939.pth", 2_564_550_879),
            ("bert-base-uncased", 440_449_768),
        ),
        check=groundingdino_compat.check,
    ),
    "sam3": BaseEntry(
        "autodistill_rfdetr_seg.bases.sam3:Sam3",
        "SAM 3: free-text prompts straight to masks; its weights are given on request; a GPU is advised",
        licence="SAM License",
        weights=(("facebook/sam3", 3_439_938_512),),
    ),
    "grounded-sam-hf": BaseEntry(
        "autodistill_rfdetr_seg.bases.grounded_sam_hf:GroundedSAMHF",
        "the same by transformers' own classes, in batches, with a segmenter of choice; a GPU is advised",
        own_segmenter=True,
        licence="Apache-2.0",
        weights=(
            (GROUNDING_DINO, 689_359_096),
            ("facebook/sam2.1-hiera-base-plus", 323_000_000),
        ),
    ),
    "boxes": BaseEntry(
        "autodistill_rfdetr_seg.bases.given_boxes:GivenBoxes",
        "boxes that people have already, of a COCO file or a YOLO data.yaml: file=boxes.json; needs no weights",
        masks=False,
        licence="Apache-2.0",
        by_image=True,
    ),
    "grounding-dino": BaseEntry(
        "autodistill_rfdetr_seg.bases.grounding.grounding_dino:GroundingDino",
        "free text into boxes, many prompts at a time; a GPU is advised",
        masks=False,
        licence="Apache-2.0",
        weights=((GROUNDING_DINO, 689_359_096),),
    ),
}


# What makes masks of boxes; see `contract.Segmenter`.
SEGMENTERS: dict[str, BaseEntry] = {
    "onnx-sam": BaseEntry(
        "autodistill_rfdetr_seg.bases.segmenters.onnx_sam:OnnxSam",
        "any SAM exported to ONNX (MobileSAM, EdgeSAM, SAM), from files of yours: model=DIR; quick without a GPU",
        extra="onnx",
        licence="Apache-2.0; weights have their own",
        package="onnxruntime",
    ),
    "sam": BaseEntry(
        "autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters:Sam",
        "Segment Anything, ViT-H as in GroundedSAM",
        licence="Apache-2.0",
        weights=(("facebook/sam-vit-huge", 2_560_000_000),),
    ),
    "sam-hq": BaseEntry(
        "autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters:SamHq",
        "SAM with a head for finer edges",
        licence="Apache-2.0",
        weights=(("syscv-community/sam-hq-vit-huge", 2_570_000_000),),
    ),
    "sam2": BaseEntry(
        "autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters:Sam2",
        "SAM 2.1 (base plus), a much smaller encoder than SAM's",
        licence="Apache-2.0",
        weights=(("facebook/sam2.1-hiera-base-plus", 323_000_000),),
    ),
}


def register_base(name: str, target: str, summary: str = "", image_input: ImageInput = "bgr") -> None:
    """Makes `package.module:Class` known under `name`, for `label(base=name)` in this process."""
    BASES[name] = BaseEntry(target, summary, image_input)


def find_base(name: str) -> BaseEntry:
    """The entry of a registered name, of a `module:Class` as it is, or of the path of a run or checkpoint.

    Raises:
        UnknownNameError: none of these; the nearest registered name is suggested.
    """
    if name in BASES:
        return BASES[name]
    if ":" in name:
        return BaseEntry(name, "")
    if (path := BaseConfig(name=name).path) is not None:
        return BaseEntry(
            plug_points.home_of("model_as_base"),
            "a model of this package's own",
            args={"checkpoint": str(path)},
            label="student",
        )
    known = ", ".join(sorted(BASES))
    hint = f"Known: {known}, any class as package.module:Class, or the path of a run, such as ./runs/dogs."
    raise UnknownNameError("base", name, BASES, hint)


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

    entry = find_base(name)
    cls = _import(entry, "base", name, "predict")
    given = {**entry.args, "ontology": CaptionOntology(classes.ontology)}
    return _built(cls, f"base {name!r}", dict(args or {}), **given)


def create_segmenter(name: str, args: Mapping[str, Any] | None = None, offered: Mapping[str, Any] | None = None) -> Any:
    """A segmenter of that name, its constructor given `args`, and those of `offered` that it takes; raises as
    `create_base`."""
    entry = find_segmenter(name)
    cls = _import(entry, "segmenter", name, "segment")
    taken = inspect.signature(cls).parameters
    more = {argument: value for argument, value in (offered or {}).items() if argument in taken}
    return _built(cls, f"segmenter {name!r}", {**more, **(args or {})}, **entry.args)


def identity_of(entry: BaseEntry, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """What decides the answers of a base or segmenter built with `args`: see `contract`. Loads no model.

    One that is not ours is not imported for it: its arguments are what counts, and the content of files that they name.

    Raises:
        UsageError: an argument is of a type that it cannot be.
    """
    identity = _told_by(entry, "identity")
    try:
        return with_hashes(args) if identity is None else identity({**args, **entry.args})
    except (TypeError, AttributeError) as error:
        # An option is checked where it is used; this is for what no one thought of.
        written = ", ".join(f"{name}={value!r}" for name, value in args.items())
        raise UsageError(f"The arguments of the base cannot be used ({written}): {error}.") from error


def own_ontology(config: BaseConfig) -> dict[str, str] | None:
    """What a base labels where no ontology is given: all it knows, by its own names. None for one that takes any.

    Raises:
        UnknownNameError: there is no such base.
        MissingInputError, TrainingError: its model is not there or cannot be read.
    """
    entry = find_base(config.name)
    classes = _told_by(entry, "classes")
    return None if classes is None else {name: name for name in classes({**config.args, **entry.args})}


def _told_by(entry: BaseEntry, what: str) -> Any:
    """The class or static method of that name, where the base is ours and has it."""
    module, _, attribute = entry.target.rpartition(":")
    if not module.startswith(__package__.partition(".")[0] + "."):
        return None
    return getattr(getattr(importlib.import_module(current_module(module)), attribute), what, None)


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
        if entry.package and importlib.util.find_spec(entry.package) is None:
            raise ModuleNotFoundError(name=entry.package)
        return _module_of_file(Path(name)) if name.endswith(".py") else importlib.import_module(current_module(name))
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
