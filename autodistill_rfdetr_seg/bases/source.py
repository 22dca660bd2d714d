"""A base as labelling knows it: how to build it, what it writes with labels, and what row its answer makes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..config import BaseConfig
from ..images import OpenedImage
from ..records import Classes
from ..similar import perceptual_hash
from ..store import Provenance, StoredLabels
from ..versions import versions
from .adapter import Answer, BaseAdapter
from .registry import ImageInput, create_base, find_base


@dataclass(frozen=True)
class BaseSource:
    """A base that is built when the first image needs it, and what it writes beside its labels."""

    classes: Classes
    provenance: Provenance
    config: BaseConfig | None = None
    model: Any = None
    image_input: ImageInput = "bgr"

    @classmethod
    def named(cls, config: BaseConfig, classes: Classes) -> BaseSource:
        """A base of the registry; raises UnknownNameError for one that is not there."""
        entry = find_base(config.name)
        prompts = tuple(prompt for prompt, _ in classes.prompts)
        args = dict(config.args)
        if config.tiles is not None:
            args |= {"tiles": config.tiles, "overlap": config.overlap}
        return cls(classes, Provenance(config.name, args, prompts, versions()), config, None, entry.image_input)

    @classmethod
    def of_model(cls, model: Any, image_input: ImageInput = "bgr") -> BaseSource:
        """A base that is at hand: any object with `ontology` and `predict`."""
        classes = Classes.from_ontology(dict(model.ontology.promptMap))
        kind = type(model)
        # What its constructor was given, as far as it shows; a private attribute is state, which may change by itself.
        shown = {name: value for name, value in sorted(vars(model).items()) if not name.startswith("_")}
        args = {name: value for name, value in shown.items() if isinstance(value, (bool, int, float, str))}
        prompts = tuple(prompt for prompt, _ in classes.prompts)
        name = f"{kind.__module__}:{kind.__qualname__}"
        return cls(classes, Provenance(name, args, prompts, versions()), None, model, image_input)

    def built(self) -> BaseSource:
        """The same with its base at hand, built now if it is not.

        Raises:
            UnknownNameError, UsageError, DependencyError, BaseModelError: it cannot be built.
        """
        if self.model is not None or self.config is None:
            return self
        return dataclasses.replace(self, model=create_base(self.config.name, self.classes, self.config.args))

    def portable(self) -> BaseSource:
        """The same as it is sent to another process: built there, where it can be, not sent."""
        return self if self.config is None else dataclasses.replace(self, model=None)

    def adapter(self) -> BaseAdapter:
        """The base behind its adapter; built now if it is not at hand."""
        tiling = (None, 0.0) if self.config is None else (self.config.tiles, self.config.overlap)
        return BaseAdapter(self.built().model, len(self.classes.prompts), self.image_input, *tiling)


def row_of(image: OpenedImage, answer: Answer) -> StoredLabels:
    """What the base said of an opened image, as a row of the store."""
    return StoredLabels(
        image.record,
        answer.instances,
        image.link_suffix,
        image.file_bytes,
        image.mtime_ns,
        answer.seconds,
        answer.dropped,
        phash=perceptual_hash(image.pixels),
    )
