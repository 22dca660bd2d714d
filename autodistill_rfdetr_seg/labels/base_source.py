"""A base as labelling knows it: how to build it, what it writes with labels, and what row its answer makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..bases.adapter import BaseAdapter, Pending, refuse_parts
from ..bases.base_classes import identity_of
from ..bases.contract import ImageInput, answers_by_image
from ..bases.registry import create_base, find_base
from ..bases.segmenters.segmenter_registry import SEGMENTERS, create_segmenter, find_segmenter
from ..bases.weight_hashes import with_hashes
from ..core.config import BaseConfig, PipelineConfig
from ..core.errors import AutodistillSegError, UsageError
from ..core.types import Classes
from ..images.image_opening import KnownImage, OpenedImage
from ..images.perceptual_hash import perceptual_hash
from ..system.versions import versions
from .label_store import Provenance, StoredLabels

# The file of an image, and its name relative to the folder that was given.
Item = tuple[Path, str]
# A known image was read and not asked about.
Outcome = StoredLabels | KnownImage | AutodistillSegError


class Asking(NamedTuple):
    """How a base is asked, as `BaseConfig` has it: in tiles, and whether again for stability."""

    tiles: int | None = None
    overlap: float = 0.2
    stability: bool = False

    @classmethod
    def of(cls, config: BaseConfig) -> Asking:
        """As the configuration says."""
        return cls(config.tiles, config.overlap, config.stability)

    def told(self) -> dict[str, Any]:
        """What of it decides the labels, to be kept with them; nothing where a base is asked plainly."""
        tiling = {} if self.tiles is None else {"tiles": self.tiles, "overlap": self.overlap}
        return tiling | ({"stability": True} if self.stability else {})


_PLAINLY = Asking()


@dataclass(frozen=True)
class BaseSource:
    """A base that is built when the first image needs it, and what it writes beside its labels."""

    classes: Classes
    provenance: Provenance
    config: BaseConfig | None = None
    model: Any = None
    image_input: ImageInput = "bgr"
    asking: Asking = _PLAINLY
    items: Sequence[Item] = ()

    @classmethod
    def named(cls, config: BaseConfig, classes: Classes) -> BaseSource:
        """A base of the registry, with its segmenter where it has one.

        Raises:
            UnknownNameError: one of them is not there.
            UsageError: a detector has no segmenter, arguments have none to go to, a segmenter is given twice, or the
                base cannot be asked in the way that is asked for.
            DataError: a folder of weights that an argument names is not there.
        """
        entry = find_base(config.name)
        config = _with_own_segmenter(config) if entry.own_segmenter else config
        prompts = tuple(prompt for prompt, _ in classes.prompts)
        if not entry.masks and config.segmenter is None:
            raise UsageError(
                f"The base {config.name!r} gives boxes without masks.",
                f"Add a segmenter: --segmenter {' or '.join(sorted(SEGMENTERS))}.",
            )
        if config.segmenter_args and config.segmenter is None:
            raise UsageError("There are arguments for a segmenter, and no segmenter.", "Name it with --segmenter.")
        if entry.by_image:
            refuse_parts(config.tiles, config.stability)
        args = dict(identity_of(entry, config.args))
        if config.segmenter is not None:
            segmenter = identity_of(find_segmenter(config.segmenter), config.segmenter_args)
            args |= {"segmenter": config.segmenter, "segmenter_args": dict(segmenter)}
        asking = Asking.of(config)
        provenance = Provenance(entry.label or config.name, args | asking.told(), prompts, versions())
        return cls(classes, provenance, config, None, entry.image_input, asking)

    @classmethod
    def of_model(cls, model: Any, image_input: ImageInput = "bgr") -> BaseSource:
        """A base that is at hand: any object with `ontology` and `predict`."""
        # It imports autodistill, which takes a second that not every command has to spend.
        from ..bases.grounded_sam import corrected

        classes = Classes.from_ontology(dict(model.ontology.promptMap))
        prompts = tuple(prompt for prompt, _ in classes.prompts)
        provenance = Provenance(_name(model), _shown(model), prompts, versions())
        return cls(classes, provenance, None, corrected(model), image_input)

    def asked(self, config: BaseConfig) -> BaseSource:
        """A base that is at hand, asked as the configuration says."""
        asking = Asking.of(config)
        args = {**self.provenance.args, **asking.told()}
        return dataclasses.replace(self, asking=asking, provenance=dataclasses.replace(self.provenance, args=args))

    @property
    def by_image(self) -> bool:
        """Whether the base answers by image (`contract`, `for_images`). Of a class of the user's it is known once it is
        built."""
        if self.model is not None or self.config is None:
            return answers_by_image(self.model)
        return find_base(self.config.name).by_image

    def expecting(self, items: Sequence[Item]) -> BaseSource:
        """The same, its base told of all images that it may be asked about, where it wants to know them."""
        return dataclasses.replace(self, items=items) if self.by_image else self

    def notes(self) -> Sequence[str]:
        """What the base has to say of the images that it expects. One that is not built yet is for it, without its
        segmenter.

        Raises:
            AutodistillSegError: it cannot be built.
        """
        if not self.by_image:
            return ()
        base = self.model
        if base is None and self.config is not None:
            base = create_base(self.config.name, self.classes, self.config.args)
        return _told_of(base, self.items)

    def built(self) -> BaseSource:
        """The same with its base at hand, built now if it is not.

        Raises:
            UnknownNameError, UsageError, DependencyError, BaseModelError: it cannot be built.
        """
        if self.model is not None or self.config is None:
            return self
        model = create_base(self.config.name, self.classes, self.config.args)
        if self.config.segmenter is not None:
            from ..bases.detector_and_segmenter import SegmentedBase

            segmenter = create_segmenter(self.config.segmenter, self.config.segmenter_args)
            model = SegmentedBase(model, segmenter, self.image_input)
        return dataclasses.replace(self, model=model)

    def portable(self) -> BaseSource:
        """The same as it is sent to another process: built there, where it can be, not sent."""
        return self if self.config is None else dataclasses.replace(self, model=None)

    def adapter(self) -> BaseAdapter:
        """The base behind its adapter; built now if it is not at hand."""
        tiles, overlap, again = self.asking
        of = [index for _, index in self.classes.prompts]
        model = self.built().model
        if self.items:
            _told_of(model, self.items)
        return BaseAdapter(model, len(of), self.image_input, tiles, overlap, stability=again, classes=of)


def _told_of(base: Any, items: Sequence[Item]) -> Sequence[str]:
    expect = getattr(base, "expect", None)
    return expect(items) if callable(expect) else ()


def _with_own_segmenter(config: BaseConfig) -> BaseConfig:
    """The same with the segmenter beside the base among the base's own arguments: it would make every mask twice."""
    given: dict[str, Any] = {"segmenter": config.segmenter} if config.segmenter is not None else {}
    given |= {"segmenter_args": config.segmenter_args} if config.segmenter_args else {}
    if given and any(name.startswith("segmenter") for name in config.args):
        raise UsageError(
            f"The segmenter of {config.name!r} is given twice.",
            "Give it by --segmenter and --segmenter-arg, or among the base's arguments.",
        )
    own = {"args": {**config.args, **given}, "segmenter": None, "segmenter_args": {}}
    return config.model_copy(update=own)


def _name(model: Any) -> str:
    return f"{type(model).__module__}:{type(model).__qualname__}"


def _shown(model: Any) -> dict[str, Any]:
    """What a constructor was given: the model's own word (`contract`, `settings`), or else as far as it shows.

    A private attribute is state, which may change by itself.
    """
    from ..bases.detector_and_segmenter import SegmentedBase

    if isinstance(settings := getattr(model, "settings", None), Mapping):
        return dict(settings)
    shown = {name: value for name, value in sorted(vars(model).items()) if not name.startswith("_")}
    plain = {name: value for name, value in shown.items() if isinstance(value, (bool, int, float, str))}
    parts = ("detector", "segmenter") if isinstance(model, SegmentedBase) else ()
    return with_hashes(plain) | {part: {"name": _name(shown[part]), **_shown(shown[part])} for part in parts}


def outcome_of(image: OpenedImage, pending: Pending) -> Outcome:
    """What the base said of an opened image, as a row of the store, or the error it ended in."""
    try:
        answer = pending()
    except AutodistillSegError as error:
        return error
    return StoredLabels(
        image.record,
        answer.instances,
        image.link_suffix,
        image.file_bytes,
        image.mtime_ns,
        answer.seconds,
        answer.dropped,
        frames=image.frames,
        phash=perceptual_hash(image.pixels),
    )


def source_of(config: PipelineConfig) -> BaseSource:
    """The base that the configuration names; raises UnknownNameError or UsageError where it names none."""
    return BaseSource.named(config.base, Classes.from_ontology(config.ontology))
