"""What is known about a base or segmenter before it is imported, and the registry that finds it by its name.

A registry contains the package's own table, what was registered in this process, and what other packages add by an
entry point. The two groups are `autodistill_rfdetr_seg.bases` and `autodistill_rfdetr_seg.segmenters`:

    [project.entry-points."autodistill_rfdetr_seg.bases"]
    lamps = "my_package.entries:LAMPS"

`lamps` is the name for `--base lamps`; an entry point names one of two things:

- a `BaseEntry`. Keep it in a module that imports nothing heavy: the module is imported when the bases are listed.
- a class with `predict` (a base) or `segment` (a segmenter), as `contract` describes. It counts as an entry without a
  license or weights, with the first line of its docstring as summary; a base must give masks and take BGR arrays.

`identity`, `classes` and `for_images` of the class are used as in our own bases. The class is given the ontology (a
base) and the user's arguments. Entry points are searched when a name is not ours, once in a process. An entry point
that cannot be loaded is an error only for those who name it; our own names cannot be replaced.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from typing import Any, Literal

from ..core.errors import DependencyError, UnknownNameError
from .contract import ImageInput, answers_by_image

_PACKAGE = __name__.partition(".")[0]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaseEntry:
    """A base or segmenter that is registered.

    Attributes:
        target: its class, as `package.module:Class`.
        summary: one line for `autodistill-seg bases`.
        image_input: what `predict` takes: `bgr` (HWC uint8 array, as autodistill's own `label()` passes it), `path` or
            `pil` (RGB).
        extra: the optional dependencies of this package that install it.
        masks: False for a detector, which gives boxes and needs a segmenter.
        own_segmenter: it has arguments `segmenter` and `segmenter_args`; a segmenter given by --segmenter goes there.
        license: of code and weights.
        weights: what it downloads on first use: (place, bytes). A place is a model id of the Hugging Face hub, with `@`
            and a commit if it is a certain one, or a path from `~` if the package keeps the file itself.
        args: arguments of the constructor that a user cannot change.
        label: the name that is stored with its labels, if that is not the name the user wrote.
        by_image: it has `for_images` (see `contract`).
        package: the module that must be installed, if that is not the target's own.
        check: raises DependencyError if what is installed cannot work; it imports nothing heavy.
        added_by: the package whose entry point this is, with its version; set by the registry.
    """

    target: str
    summary: str
    image_input: ImageInput = "bgr"
    extra: str | None = None
    masks: bool = True
    own_segmenter: bool = False
    license: str = ""
    weights: tuple[tuple[str, int], ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    by_image: bool = False
    package: str = ""
    check: Callable[[], None] | None = None
    added_by: str = ""

    @property
    def needs(self) -> str:
        """The module that must be importable."""
        return self.package or self.target.rpartition(":")[0]

    @property
    def is_imported_early(self) -> bool:
        """Whether its class may be asked for `identity` and `classes`: it is ours, or came with an installed package.

        A class that a user names as `package.module:Class` is imported when it is built.
        """
        return bool(self.added_by) or self.target.startswith(f"{_PACKAGE}.")


class Registry(MutableMapping[str, BaseEntry]):
    """Entries by name. Iterating gives names and imports nothing; reading an entry of another package imports it."""

    def __init__(self, kind: Literal["base", "segmenter"], entries: Mapping[str, BaseEntry], other_names: str) -> None:
        """`entries` are the package's own; `other_names` ends the hint for an unknown name."""
        self.kind = kind
        self.method = "predict" if kind == "base" else "segment"
        self._entries = dict(entries)
        self._other_names = other_names
        self._added: dict[str, BaseEntry] = {}

    def find(self, name: str) -> BaseEntry:
        """The entry of a registered name, or of a `module:Class` as it is.

        Raises:
            UnknownNameError: neither; the nearest registered name is suggested.
            DependencyError: another package adds the name, and cannot be loaded.
        """
        if name in self:
            return self[name]
        if ":" in name:
            return BaseEntry(name, "")
        raise UnknownNameError(self.kind, name, self, f"Known: {', '.join(sorted(self))}, {self._other_names}.")

    def working(self) -> dict[str, BaseEntry]:
        """The entries by name, without those of other packages that cannot be loaded."""
        found = {}
        for name in sorted(self):
            try:
                found[name] = self[name]
            except DependencyError:
                continue
        return found

    def __getitem__(self, name: str) -> BaseEntry:
        if name in self._entries:
            return self._entries[name]
        if name not in self._added:
            self._added[name] = self._load(self._entry_points[name])
        return self._added[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._entry_points

    def __setitem__(self, name: str, entry: BaseEntry) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._entries, **self._entry_points})

    def __len__(self) -> int:
        return len({**self._entries, **self._entry_points})

    @cached_property
    def _entry_points(self) -> dict[str, metadata.EntryPoint]:
        """Those of other packages, by name; the first package by name has a name that several use."""
        found: dict[str, metadata.EntryPoint] = {}
        for point in sorted(metadata.entry_points(group=f"{_PACKAGE}.{self.kind}s"), key=_added_by):
            owner = _PACKAGE if point.name in self._entries else _added_by(found.get(point.name, point))
            if owner == _added_by(point):
                found[point.name] = point
            else:
                _log.warning(
                    "The %s %r of %s is ignored: %s has that name.", self.kind, point.name, _added_by(point), owner
                )
        return found

    def _load(self, point: metadata.EntryPoint) -> BaseEntry:
        package = _added_by(point)
        try:
            found = point.load()
        except Exception as error:
            raise DependencyError(
                f"The {self.kind} {point.name!r} of {package} cannot be loaded: {type(error).__name__}: {error}.",
                f"Update or remove {package.partition(' ')[0]}; the other {self.kind}s work without it.",
            ) from error
        if isinstance(found, BaseEntry):
            return replace(found, added_by=package)
        if inspect.isclass(found) and callable(getattr(found, self.method, None)):
            summary = next(iter((inspect.getdoc(found) or "").splitlines()), "")
            target = f"{found.__module__}:{found.__qualname__}"
            return BaseEntry(target, summary, by_image=answers_by_image(found), added_by=package)
        raise DependencyError(
            f"The {self.kind} {point.name!r} of {package} is neither a BaseEntry nor a class with `{self.method}`.",
            f"This is an error in {package.partition(' ')[0]}: its entry point is {point.value}.",
        )


def _added_by(point: metadata.EntryPoint) -> str:
    """The package of an entry point and its version."""
    return "another package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
