"""A base as labeling uses it: how it is built and asked, what is stored with its labels, and the row of an answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bases.adapter import BaseAdapter, PendingAnswer, refuse_parts
from ..bases.base_classes import code_of, identity_of
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
from .stored_labels import Provenance, StoredLabels

# The file of an image, and its name relative to the folder that was given.
Item = tuple[Path, str]
# A known image was read and not asked about.
Outcome = StoredLabels | KnownImage | AutodistillSegError


@dataclass(frozen=True)
class BaseSource:
    """A base, how it is asked, and what is stored with its labels.

    Attributes:
        classes: the classes, and the prompts that find them.
        config: the base's name and arguments, how it is asked (tiles, stability), and its segmenter.
        provenance: what is stored with each label.
        image_input: what its `predict` takes.
        model: the base itself; None if it has not been built yet.
        is_own_object: `model` is an object of the user, which cannot be built from `config`.
        items: the images that it may be asked about, if it wants to know them.
        code: the content of the user's Python files that the base and its segmenter are in, by their paths, for a
            machine that does not have these files.
    """

    classes: Classes
    config: BaseConfig
    provenance: Provenance
    image_input: ImageInput = "bgr"
    model: Any = None
    is_own_object: bool = False
    items: Sequence[Item] = ()
    code: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: BaseConfig, classes: Classes) -> BaseSource:
        """A base by its name, with its segmenter if it needs one. It is not built yet.

        Raises:
            UnknownNameError: one of them is not known.
            DependencyError: another package adds one of them, and cannot be loaded.
            UsageError: a detector has no segmenter, there are arguments for a segmenter and none is named, a segmenter
                is given twice, or the base cannot be asked in this way.
            DataError: there is no folder of weights where an argument names one.
        """
        entry = find_base(config.name)
        config = _with_own_segmenter(config) if entry.own_segmenter else config
        if not entry.masks and config.segmenter is None:
            raise UsageError(
                f"The base {config.name!r} gives boxes without masks.",
                f"Add a segmenter: --segmenter {' or '.join(sorted(SEGMENTERS))}.",
            )
        if config.segmenter_args and config.segmenter is None:
            raise UsageError("There are arguments for a segmenter, but no segmenter.", "Name it with --segmenter.")
        if entry.by_image:
            refuse_parts(config.tiles, config.stability)
        args = dict(identity_of(entry, config.args))
        if config.segmenter is not None:
            segmenter = identity_of(find_segmenter(config.segmenter), config.segmenter_args)
            args |= {"segmenter": config.segmenter, "segmenter_args": dict(segmenter)}
        return cls(classes, config, _provenance(entry.label or config.name, args, config, classes), entry.image_input)

    @classmethod
    def from_model(cls, model: Any, image_input: ImageInput = "bgr", config: BaseConfig | None = None) -> BaseSource:
        """A base that the user has built: any object with `ontology` and `predict`.

        `config` says how it is asked; its name and arguments are those that `describe_model` gives.
        """
        # It imports autodistill, which takes a second that not every command needs.
        from ..bases.grounded_sam import corrected

        described = describe_model(model)
        config = described if config is None else config
        classes = Classes.from_ontology(dict(model.ontology.promptMap))
        provenance = _provenance(described.name, described.args, config, classes)
        return cls(classes, config, provenance, image_input, corrected(model), is_own_object=True)

    @property
    def by_image(self) -> bool:
        """Whether the base has `for_images` (see `contract`). For a class of the user it is known once it is built."""
        return answers_by_image(self.model) if self.model is not None else find_base(self.config.name).by_image

    def with_items(self, items: Sequence[Item]) -> BaseSource:
        """The same; its base is told about all images that it may be asked about, if it wants to know them."""
        return dataclasses.replace(self, items=items) if self.by_image else self

    def notes(self) -> Sequence[str]:
        """What the base reports about its images. One that is not built yet is built for it, without its segmenter.

        Raises:
            AutodistillSegError: it cannot be built.
        """
        if not self.by_image:
            return ()
        base = self.model
        if base is None:
            base = create_base(self.config.name, self.classes, self.config.args)
        return _announce(base, self.items)

    def with_model(self) -> BaseSource:
        """The same with its base, which is built now unless it was before.

        Raises:
            UnknownNameError, UsageError, DependencyError, BaseModelError: it cannot be built.
        """
        if self.model is not None:
            return self
        model = create_base(self.config.name, self.classes, self.config.args, self.code)
        if self.config.segmenter is not None:
            from ..bases.detector_and_segmenter import SegmentedBase

            segmenter = create_segmenter(self.config.segmenter, self.config.segmenter_args, code=self.code)
            model = SegmentedBase(model, segmenter, self.image_input)
        return dataclasses.replace(self, model=model)

    def for_other_process(self) -> BaseSource:
        """The same to be sent to another process, which builds the base itself unless it is the user's own object."""
        return self if self.is_own_object else dataclasses.replace(self, model=None)

    def for_other_machine(self) -> BaseSource:
        """As `for_other_process`; the user's Python files that it is built from travel with it.

        Raises:
            UsageError: there is no such file.
        """
        if self.is_own_object:
            return self
        code = code_of(find_base(self.config.name))
        if self.config.segmenter is not None:
            code |= code_of(find_segmenter(self.config.segmenter))
        return dataclasses.replace(self.for_other_process(), code=code)

    def adapter(self) -> BaseAdapter:
        """The base behind its adapter; built now if it was not before."""
        class_of_prompt = [index for _, index in self.classes.prompts]
        model = self.with_model().model
        if self.items:
            _announce(model, self.items)
        return BaseAdapter(
            model,
            len(class_of_prompt),
            self.image_input,
            self.config.tiles,
            self.config.overlap,
            stability=self.config.stability,
            classes=class_of_prompt,
        )


def _provenance(name: str, args: Mapping[str, Any], config: BaseConfig, classes: Classes) -> Provenance:
    """The base's name and arguments, and of how it is asked what determines the labels."""
    how = {} if config.tiles is None else {"tiles": config.tiles, "overlap": config.overlap}
    how |= {"stability": True} if config.stability else {}
    return Provenance(name, {**args, **how}, tuple(prompt for prompt, _ in classes.prompts), versions())


def _announce(base: Any, items: Sequence[Item]) -> Sequence[str]:
    expect = getattr(base, "expect", None)
    return expect(items) if callable(expect) else ()


def _with_own_segmenter(config: BaseConfig) -> BaseConfig:
    """The same with --segmenter moved to the base's own arguments: beside the base it would make every mask twice."""
    named: dict[str, Any] = {"segmenter": config.segmenter} if config.segmenter is not None else {}
    named |= {"segmenter_args": config.segmenter_args} if config.segmenter_args else {}
    if named and any(name.startswith("segmenter") for name in config.args):
        raise UsageError(
            f"The segmenter of {config.name!r} is given twice.",
            "Give it by --segmenter and --segmenter-arg, or among the base's arguments.",
        )
    return config.model_copy(update={"args": {**config.args, **named}, "segmenter": None, "segmenter_args": {}})


def describe_model(model: Any) -> BaseConfig:
    """The name and arguments of a base that the user has built, as far as it shows them (see `contract`)."""
    return BaseConfig(name=_name(model), args=_settings(model))


def _name(model: Any) -> str:
    return f"{type(model).__module__}:{type(model).__qualname__}"


def _settings(model: Any) -> dict[str, Any]:
    """The model's own `settings`, or its public attributes that are plain values.

    A private attribute is state, which may change by itself.
    """
    from ..bases.detector_and_segmenter import SegmentedBase

    if isinstance(settings := getattr(model, "settings", None), Mapping):
        return dict(settings)
    public = {name: value for name, value in sorted(vars(model).items()) if not name.startswith("_")}
    plain = {name: value for name, value in public.items() if isinstance(value, (bool, int, float, str))}
    parts = ("detector", "segmenter") if isinstance(model, SegmentedBase) else ()
    return with_hashes(plain) | {part: {"name": _name(public[part]), **_settings(public[part])} for part in parts}


def outcome_of(image: OpenedImage, pending: PendingAnswer) -> Outcome:
    """The base's answer for an opened image as a row of the store, or the error."""
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
    """The base that the configuration names; raises as `BaseSource.from_config`."""
    return BaseSource.from_config(config.base, Classes.from_ontology(config.ontology))
