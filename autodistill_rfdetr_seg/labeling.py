"""Images → base → store. Resumable, one unreadable image never stops the rest, memory does not grow with the folder."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .bases import BaseAdapter, create_base
from .bases.registry import ImageInput, find_base
from .config import BaseConfig
from .errors import AutodistillSegError, DataError
from .files import read_json, write_json, write_text
from .images import OpenedImage, open_image
from .records import Classes
from .store import Key, LabelStore, Provenance, StoredLabels
from .versions import versions

_log = logging.getLogger(__name__)
_AHEAD = 4


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
        return cls(classes, Provenance(config.name, config.args, prompts, versions()), config, None, entry.image_input)

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

    def adapter(self) -> BaseAdapter:
        """The base behind its adapter; built now if it is not at hand."""
        return BaseAdapter(self.built().model, len(self.classes.prompts), self.image_input)


@dataclass(frozen=True)
class LabelSummary:
    """What a labelling did: images `labelled` now, `stored` before, `failures` ({path, reason}), and what the base said
    that the contract has no place for (reason → number)."""

    labelled: int
    stored: int
    failures: tuple[Mapping[str, str], ...]
    dropped: Mapping[str, int] = field(default_factory=dict)


def label_images(
    source: BaseSource, images: Sequence[tuple[Path, str]], folder: Path, *, progress: bool = True
) -> LabelSummary:
    """Labels those of `images` (path, name relative to their folder) that the store in `folder` does not hold.

    Writes `labels.json` (classes, base, the names that were asked for) and `failures.jsonl` beside the shards when it
    ends. An image that cannot be read, or that the base fails on, is a failure with a reason; the rest is labelled.

    Raises:
        AutodistillSegError: the base cannot be built.
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    store = LabelStore(folder)
    keys = store.keys(source.provenance.fingerprint)
    todo = [(path, name) for path, name in images if not _is_stored(path, keys.get(name))]
    failures: list[Mapping[str, str]] = []
    dropped: Counter[str] = Counter()
    labelled = 0
    bar = tqdm(total=len(todo), desc="Labelling", unit="image", disable=not (progress and todo), leave=True)
    with bar, store:
        adapter = source.adapter() if todo else None
        for name, opened in _opened_ahead(todo):
            bar.update()
            try:
                image = opened.result()
                if _is_same(keys.get(name), image):
                    continue
                assert adapter is not None
                answer = adapter.ask(image.pixels)
            except AutodistillSegError as error:
                failures.append({"path": name, "reason": error.message})
                _log.warning("%s", error)
                continue
            dropped.update(answer.dropped)
            store.append(_row(image, answer), source.provenance)
            labelled += 1
    _write_account(folder, source, [name for _, name in images], failures)
    return LabelSummary(labelled, len(images) - len(todo), tuple(failures), dict(dropped))


def _row(image: OpenedImage, answer: Any) -> StoredLabels:
    return StoredLabels(
        image.record,
        answer.instances,
        image.link_suffix,
        image.file_bytes,
        image.mtime_ns,
        answer.seconds,
        answer.dropped,
    )


def _opened_ahead(todo: Sequence[tuple[Path, str]]) -> Iterator[tuple[str, Future[OpenedImage]]]:
    """Each image with its decoding under way, a few ahead of the base, so that it does not wait for the disk."""
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode") as pool:
        rest = iter(todo)
        queue = [(name, pool.submit(open_image, path, name)) for path, name in islice(rest, _AHEAD)]
        try:
            while queue:
                yield queue.pop(0)
                queue += [(name, pool.submit(open_image, path, name)) for path, name in islice(rest, 1)]
        finally:
            for _, future in queue:
                future.cancel()


def _is_stored(path: Path, key: Key | None) -> bool:
    """Whether the store's row was made from this very file, told by size and time without reading it."""
    if key is None:
        return False
    try:
        stat = path.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (key.file_bytes, key.mtime_ns)


def _is_same(key: Key | None, image: OpenedImage) -> bool:
    """Whether a file whose time changed still has the content that the store's row was made from."""
    return key is not None and key.sha256 == image.record.sha256


def _write_account(
    folder: Path, source: BaseSource, names: Sequence[str], failures: Sequence[Mapping[str, str]]
) -> None:
    write_text(folder / "failures.jsonl", "".join(json.dumps(f, ensure_ascii=False) + "\n" for f in failures))
    provenance = source.provenance
    write_json(
        folder / "labels.json",
        {
            "base": provenance.base,
            "args": {key: _plain(value) for key, value in provenance.args.items()},
            "fingerprint": provenance.fingerprint,
            "image_input": source.image_input,
            "ontology": source.classes.ontology,
            "versions": dict(provenance.versions),
            "images": sorted(names),
        },
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, list, dict, type(None))) else str(value)


@dataclass(frozen=True)
class LabelAccount:
    """What `labels.json` says: the classes, the base, and the names of the images asked for."""

    classes: Classes
    base: str
    args: Mapping[str, Any]
    fingerprint: str
    images: tuple[str, ...]
    versions: Mapping[str, str]


def read_account(folder: Path) -> LabelAccount:
    """The account of a label store.

    Raises:
        DataError: the folder holds no finished labelling, or its account is not one.
    """
    path = folder / "labels.json"
    if not path.is_file():
        raise DataError(f"There are no finished labels in {folder}.", "Run `autodistill-seg label` first.")
    data = read_json(path)
    try:
        return LabelAccount(
            Classes.from_ontology(data["ontology"]),
            data["base"],
            data["args"],
            data["fingerprint"],
            tuple(data["images"]),
            data["versions"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a label account: {error!r}.") from error


def read_failures(folder: Path) -> list[dict[str, str]]:
    """The images of the last labelling that could not be labelled: {path, reason} each."""
    path = folder / "failures.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
