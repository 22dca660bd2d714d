"""Explains one label of a built dataset: its image, prompt and base, and what each refine rule did to it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import masks
from ..core.config import RefineConfig, options
from ..core.errors import DataError, UsageError
from ..core.types import Instance
from ..dataset.dataset_index import INDEX, BuiltDataset
from ..dataset.refine import context_of
from ..labels.label_account import read_account
from ..labels.label_store import LabelStore
from ..labels.stored_labels import HUMAN, Key
from ..system.config_files import read_run_config
from ..system.run_folder import RunFolder
from .rule_replay import Displaced, Step, displaced_by, instance_history, replay, rule_steps


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a label comes from.

    `image` has path, file, dataset_file, split, sha256, height and width (pixels). `base` has name, args, fingerprint,
    versions and weights (the hashes in its arguments, or None). Areas are in pixels: `raw_area` of the base's mask,
    `area` of the mask in the dataset. `by_person` is True if a person corrected the image. A label that a person drew
    (`source` "human") has no prompt, base, raw area or steps. The same holds for a label of the base in a corrected
    image, if the stored output of the base no longer leads to it.
    """

    reference: str
    image: Mapping[str, Any]
    prompt: str | None
    class_name: str
    source: str
    base: Mapping[str, Any] | None
    score: float
    mask_score: float | None
    stability: float | None
    raw_area: int | None
    area: int
    steps: tuple[Step, ...]
    displaced: tuple[Displaced, ...]
    by_person: bool = False

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return dataclasses.asdict(self)


def explain(run: RunFolder, reference: str) -> Explanation:
    """Explains the label `reference` (`train:12`: split and annotation id of the built dataset).

    Raises:
        UsageError: there is no such label; the hint lists the existing ones.
        DataError: the run has no dataset, or its labels have changed since the dataset was built.
    """
    dataset = BuiltDataset.of_folder(run.dataset)
    index = dataset.head
    split, number = _parse(reference, {name: count["instances"] for name, count in index["counts"].items()})
    image_row, annotations, at, class_names = _annotation(dataset, split, number)
    file_name = image_row["file_name"]
    path, entry = next(one for one in dataset.images() if (one[1]["split"], one[1]["file_name"]) == (split, file_name))
    by_person = entry.get("source") == HUMAN
    image = _image(run, path, entry, image_row)
    if annotations[at]["source"] == HUMAN:
        return _from_dataset(f"{split}:{number}", image, annotations[at], class_names)
    account = read_account(run.labels)
    store = LabelStore(run.labels)
    key = store.keys(account.fingerprint).get(path)
    refine = options(RefineConfig, index["options"]["refine"], str(run.dataset / INDEX))
    kept_index = None
    if key is not None and key.sha256 == entry["sha256"]:
        labels = store.read(key).with_classes(account.classes)
        context = context_of(labels, refine, account.classes)
        passes = replay(labels, context)
        kept_index = _index_in_kept(passes[-1].kept, annotations, at, by_person=by_person)
    if key is None or kept_index is None:
        if by_person:
            return _from_dataset(f"{split}:{number}", image, annotations[at], class_names)
        raise _labels_changed(run, path)
    history = instance_history(passes, kept_index)
    first, last = history[0], history[-1]
    prompts = account.classes.prompts
    return Explanation(
        reference=f"{split}:{number}",
        image=image,
        prompt=None if first.prompt_index is None else prompts[first.prompt_index][0],
        class_name=account.classes.names[last.class_index],
        source=first.source,
        base=_base(run.labels, key, account.fingerprint),
        score=first.score,
        mask_score=first.mask_score,
        stability=first.stability,
        raw_area=masks.area(first.rle),
        area=masks.area(last.rle),
        steps=rule_steps(passes, history, context),
        displaced=displaced_by(passes, history, account.classes),
        by_person=by_person,
    )


def _parse(reference: str, counts: Mapping[str, int]) -> tuple[str, int]:
    split, colon, number = reference.partition(":")
    # `isdigit` accepts digits of other scripts, and `int` does not accept all of those.
    id_ = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else 0
    if not colon or split not in counts or not 1 <= id_ <= counts[split]:
        known = ", ".join(f"{name}:1 to {name}:{count}" if count else f"{name}: none" for name, count in counts.items())
        raise UsageError(f"There is no label {reference!r} in the dataset.", f"Labels are {known}.")
    return split, id_


def _annotation(
    dataset: BuiltDataset, split: str, number: int
) -> tuple[dict[str, Any], list[dict[str, Any]], int, Mapping[Any, str]]:
    """The image row of annotation `number`, all annotations of that image, the index of `number` among them, and the
    class names by category id."""
    with dataset.labels(split) as file:
        image = file.image_of(number)
        if image is None:
            raise DataError(
                f"{file.path} has no annotation {number}, but dataset.json counts one.",
                "Delete the dataset and build it again.",
            )
        rows = file.annotations(image)
        height, width = file.sizes[image].tolist()
        row = {"file_name": file.names[image], "height": height, "width": width}
        return row, rows, next(at for at, one in enumerate(rows) if one["id"] == number), file.class_names


def _from_dataset(
    reference: str, image: Mapping[str, Any], row: Mapping[str, Any], class_names: Mapping[Any, str]
) -> Explanation:
    """The label of a corrected image that is the annotation `row`, from the data in the dataset only."""
    return Explanation(
        reference=reference,
        image=image,
        prompt=None,
        class_name=class_names[row["category_id"]],
        source=row["source"],
        base=None,
        score=row["score"],
        mask_score=row.get("mask_score"),
        stability=row.get("stability"),
        raw_area=None,
        area=row["area"],
        steps=(),
        displaced=(),
        by_person=True,
    )


def _index_in_kept(
    kept: Sequence[Instance], annotations: Sequence[Mapping[str, Any]], at: int, *, by_person: bool
) -> int | None:
    """The index in `kept` of the instance that is annotation `at` of its image; None if it is none of them."""
    with_area = [index for index, one in enumerate(kept) if masks.area(one.rle)]
    of_kept = [(round(kept[index].score, 6), masks.area(kept[index].rle)) for index in with_area]
    of_annotations = [(row["score"], row["area"]) for row in annotations]
    if not by_person:
        return with_area[at] if of_kept == of_annotations else None
    boxes = [list(masks.bbox_xywh(kept[index].rle)) for index in with_area]
    wanted = (of_annotations[at], annotations[at]["bbox"])
    equal = (index for index, *found in zip(with_area, of_kept, boxes, strict=True) if tuple(found) == wanted)
    return next(equal, None)


def _image(run: RunFolder, path: str, entry: Mapping[str, str], size: Mapping[str, int]) -> dict[str, Any]:
    return {
        "path": path,
        "file": str((read_account(run.labels).root or Path(read_run_config(run).images)) / path),
        "dataset_file": str(run.dataset / entry["split"] / entry["file_name"]),
        "split": entry["split"],
        "sha256": entry["sha256"],
        "height": size["height"],
        "width": size["width"],
    }


def _base(labels: Path, key: Key, fingerprint: str) -> dict[str, Any]:
    """The base that made this row: `labels.json` only has the latest `label`, and versions may have changed since."""
    import pyarrow.parquet as pq

    columns = ["base", "base_args", "versions"]
    row = pq.read_table(labels / key.shard, columns=columns).slice(key.row, 1).to_pylist()[0]
    args = json.loads(row["base_args"])
    weights = dict(_weights(args))
    return {
        "name": row["base"],
        "args": args,
        "fingerprint": fingerprint,
        "versions": json.loads(row["versions"]),
        "weights": weights or None,
    }


def _weights(args: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """What identifies the weights in the arguments of a base: hashes, and model ids of the hub with their revisions."""
    for name, value in args.items():
        if isinstance(value, Mapping):
            yield from _weights(value, f"{prefix}{name}.")
        elif isinstance(value, str) and ("sha256" in name or prefix.endswith("weights.")):
            yield f"{prefix}{name}", value
    if isinstance(args.get("model"), str) and isinstance(args.get("revision"), str):
        yield f"{prefix}model", f"{args['model']} at {args['revision']}"


def _labels_changed(run: RunFolder, path: str) -> DataError:
    return DataError(
        f"The labels of {path} have changed since the dataset in {run.dataset} was built.",
        f"Build it again: `autodistill-seg build {run.root}`.",
    )
