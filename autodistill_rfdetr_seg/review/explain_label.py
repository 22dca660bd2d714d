"""Where one label of a built dataset came from: image, prompt, base, and what each rule did to it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import coco
from ..core import masks
from ..core.config import RefineConfig, options
from ..core.errors import DataError, UsageError
from ..core.types import Classes, ImageLabels, Instance, Rejected
from ..dataset.dataset_index import INDEX, read_index
from ..dataset.refine import by_score, context_of, prepared_rules
from ..dataset.refine_rule import ApplyRule, RefineRule, RuleContext, RuleStep
from ..dataset.refine_rules.mask_nms import overlap_of
from ..labels.label_store import HUMAN, Key, LabelStore
from ..labels.labeler import read_account
from ..system.config_files import read_run_config
from ..system.files import read_json
from ..system.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Step:
    """One rule and its `outcome` for the label: `passed`, `changed` (its mask), or `off`; `detail` is a few words."""

    rule: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Displaced:
    """An instance that is not in the dataset because this label stood in its way.

    Without the label the rule would have kept it, unless another label stood in its way too. `iou` and
    `share_of_smaller` (intersection over the smaller mask) are 0..1.
    """

    class_name: str
    score: float
    reason: str
    iou: float
    share_of_smaller: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a label came from.

    `image` has path, file, dataset_file, split, sha256, height and width (pixels). `base` has name, args, fingerprint,
    versions and weights (the hashes its arguments hold, None where they hold none). Areas are pixels; `raw_area` is
    what the base drew, `area` what the dataset holds. `by_person` tells that the image is as a person left it.
    What a person drew (`source` "human") has no prompt, base, raw area or steps; nor has a label of the base in their
    image that the base's row, by the dataset's rules, no longer gives.
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


@dataclass(frozen=True, slots=True)
class _Pass:
    """One rule's run over an image."""

    rule: RefineRule
    apply: ApplyRule
    found: list[Instance]
    kept: list[Instance]
    taken: list[Rejected]


def explain(run: RunFolder, reference: str) -> Explanation:
    """Where the label `reference` (`train:12`: split and annotation id of the built dataset) came from.

    Raises:
        UsageError: there is no such label; the hint lists those there are.
        DataError: the run has no dataset, or its labels have changed since that was built.
    """
    index = read_index(run.dataset)
    split, number = _parse(reference, {name: count["instances"] for name, count in index["counts"].items()})
    shown, rows, at = _annotation(run.dataset / split / coco.ANNOTATIONS, number)
    file_name = shown["file_name"]
    path = next(p for p, e in index["images"].items() if (e["split"], e["file_name"]) == (split, file_name))
    entry = index["images"][path]
    by_person = entry.get("source") == HUMAN
    image = _image(run, path, entry, shown)
    if rows[at]["source"] == HUMAN:
        return _imported(run, f"{split}:{number}", image, rows[at], at)
    account = read_account(run.labels)
    store = LabelStore(run.labels)
    key = store.keys(account.fingerprint).get(path)
    refine = options(RefineConfig, index["options"]["refine"], str(run.dataset / INDEX))
    found = None
    if key is not None and key.sha256 == entry["sha256"]:
        labels = store.read(key).with_classes(account.classes)
        context = context_of(labels, refine, account.classes)
        passes = _passes(labels, context)
        found = _place(passes[-1].kept, rows, at, by_person=by_person)
    if key is None or found is None:
        if by_person:
            return _imported(run, f"{split}:{number}", image, rows[at], at)
        raise _changed(run, path)
    chain = _chain(passes, found)
    first, last = chain[0], chain[-1]
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
        steps=_steps(passes, chain, context),
        displaced=tuple(
            d for at, one in enumerate(passes) for d in _displaced(one, chain[at], chain[at + 1], account.classes)
        ),
        by_person=by_person,
    )


def explain_text(explanation: Explanation) -> str:
    """The explanation for reading in a terminal."""
    e, image, base = explanation, explanation.image, explanation.base
    further = {"mask score": e.mask_score, "stability": e.stability}
    beside = "".join(f", {name} {value:.3f}" for name, value in further.items() if value is not None)
    facts = {
        "image": f"{image['path']}  ({image['width']} x {image['height']} pixels)",
        "file": image["file"],
        "in dataset": image["dataset_file"],
        "sha256": image["sha256"],
        "source": _source(e),
        "score": f"{e.score:.3f}{beside}",
        "area": f"{e.area} pixels",
    }
    if base is not None:
        facts |= {
            "prompt": "not known" if e.prompt is None else repr(e.prompt),
            "base": f"{base['name']}  (fingerprint {base['fingerprint']})",
            "arguments": ", ".join(f"{name}={value!r}" for name, value in base["args"].items()) or "none",
            "weights": ", ".join(f"{k} {v}" for k, v in base["weights"].items())
            if base["weights"]
            else "hash not known",
            "versions": ", ".join(f"{name} {version}" for name, version in base["versions"].items()),
            "area": f"{e.raw_area} pixels from the base, {e.area} kept",
        }
    lines = [f"{e.reference}  {e.class_name}", *(f"{name:<12}{value}" for name, value in facts.items())]
    if base is None:
        return "\n".join(lines)
    lines += ["", "rules"]
    lines += [f"  {step.rule:<15}{step.outcome:<9}{step.detail}".rstrip() for step in e.steps]
    lines += ["", "displaced" if e.displaced else "displaced   nothing"]
    lines += [
        f"  {d.class_name} {d.score:.3f}  {d.reason}  IoU {d.iou:.2f}, {d.share_of_smaller:.2f} of the smaller"
        for d in e.displaced
    ]
    return "\n".join(lines)


def _parse(reference: str, counts: Mapping[str, int]) -> tuple[str, int]:
    split, colon, number = reference.partition(":")
    # Digits of other scripts are digits to `isdigit` too, and some of them none to `int`.
    id_ = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else 0
    if not colon or split not in counts or not 1 <= id_ <= counts[split]:
        known = ", ".join(f"{name}:1 to {name}:{count}" if count else f"{name}: none" for name, count in counts.items())
        raise UsageError(f"There is no label {reference!r} in the dataset.", f"Labels are {known}.")
    return split, id_


def _annotation(path: Path, number: int) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """The row of the image that annotation `number` is of, all annotations of that image, and its place among them."""
    data = read_json(path)
    image_id = next((row["image_id"] for row in data["annotations"] if row["id"] == number), None)
    if image_id is None:
        raise DataError(f"{path} holds no annotation {number}, which dataset.json counts.", "Build the dataset anew.")
    rows = [row for row in data["annotations"] if row["image_id"] == image_id]
    image = next(row for row in data["images"] if row["id"] == image_id)
    return image, rows, next(at for at, row in enumerate(rows) if row["id"] == number)


def _imported(run: RunFolder, reference: str, image: Mapping[str, Any], row: Mapping[str, Any], at: int) -> Explanation:
    """The label at place `at` of a person's image, by what the dataset itself says of it."""
    truth = coco.read(run.dataset / image["split"])
    name = Path(image["dataset_file"]).name
    label = next(one for one in truth.images if one.image_id == name).instances[at]
    return Explanation(
        reference=reference,
        image=image,
        prompt=None,
        class_name=truth.classes.names[label.class_index],
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


def _source(explanation: Explanation) -> str:
    if explanation.source == HUMAN:
        return "a person's, imported"
    return (
        f"{explanation.source}, in an image that is as a person left it"
        if explanation.by_person
        else explanation.source
    )


def _place(kept: Sequence[Instance], rows: Sequence[Mapping[str, Any]], at: int, *, by_person: bool) -> int | None:
    """Which of the instances that the rules kept the annotation at place `at` of its image's `rows` is."""
    drawn = [place for place, one in enumerate(kept) if masks.area(one.rle)]
    given = [(round(kept[place].score, 6), masks.area(kept[place].rle)) for place in drawn]
    told = [(row["score"], row["area"]) for row in rows]
    if not by_person:
        return drawn[at] if given == told else None
    boxes = [list(masks.bbox_xywh(kept[place].rle)) for place in drawn]
    same = (p for p, one, box in zip(drawn, given, boxes, strict=True) if (one, box) == (told[at], rows[at]["bbox"]))
    return next(same, None)


def _passes(labels: ImageLabels, context: RuleContext) -> list[_Pass]:
    found = by_score(labels.instances)
    passes = []
    for rule, apply in prepared_rules(context):
        kept, taken = apply(found)
        passes.append(_Pass(rule, apply, found, kept, taken))
        found = kept
    return passes


def _steps(passes: Sequence[_Pass], chain: Sequence[Instance], context: RuleContext) -> tuple[Step, ...]:
    """What each rule says of the instance that has the forms of `chain`."""
    steps = []
    for at, one in enumerate(passes):
        seen = RuleStep(context, one.found, one.kept, chain[at], chain[at + 1])
        steps.append(Step(one.rule.name, *one.rule.explain(seen)))
    return tuple(steps)


def _chain(passes: list[_Pass], at: int) -> list[Instance]:
    """The forms of the instance that ends at place `at`: as the base gave it, then after each rule."""
    chain = [passes[-1].kept[at]]
    for one in reversed(passes):
        # A rule that drops hands on the same objects; one that changes them drops none, so that places stay.
        at = next(i for i, f in enumerate(one.found) if f is one.kept[at]) if one.taken else at
        chain.insert(0, one.found[at])
    return chain


def _displaced(one: _Pass, before: Instance, after: Instance, classes: Classes) -> list[Displaced]:
    """What the rule took and would take beside this instance alone, but not by itself."""
    place = {id(instance): at for at, instance in enumerate(one.found)}
    return [
        Displaced(classes.names[r.instance.class_index], r.instance.score, r.reason, *overlap_of(after, r.instance))
        for r in one.taken
        if place[id(before)] < place[id(r.instance)]
        and not one.apply([r.instance])[1]
        and one.apply([before, r.instance])[1]
    ]


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
    """What made the row itself: `labels.json` knows the last labelling only, and versions may have changed since."""
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


def _weights(args: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """What names the weights in a base's arguments: hashes, and model ids of the hub with their revisions."""
    for name, value in args.items():
        if isinstance(value, Mapping):
            yield from _weights(value, f"{place}{name}.")
        elif isinstance(value, str) and ("sha256" in name or place.endswith("weights.")):
            yield f"{place}{name}", value
    if isinstance(args.get("model"), str) and isinstance(args.get("revision"), str):
        yield f"{place}model", f"{args['model']} at {args['revision']}"


def _changed(run: RunFolder, path: str) -> DataError:
    return DataError(
        f"The labels of {path} are not those that the dataset in {run.dataset} was built from.",
        f"Build it anew: `autodistill-seg build {run.root}`.",
    )
