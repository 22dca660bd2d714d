"""Options of the command line that stand for options of the configuration. Their defaults are read from there."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..core.config import PipelineConfig
from ..core.errors import UsageError


@dataclass(frozen=True)
class Option:
    """A flag that sets `key` ("refine.min_area") of the configuration; `many` may be repeated and gives a list."""

    flag: str
    key: str
    kind: Callable[[str], Any]
    help: str
    metavar: str | None = None
    many: bool = False


def yaml_value(text: str) -> Any:
    """A value as YAML reads it: 3, 0.5, true, [1, 2], text; `none`, as defaults are shown, is none."""
    try:
        return None if text == "none" else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a value") from error


def integer_or_auto(text: str) -> int | str:
    """A number, or the word auto."""
    return text if text == "auto" else int(text)


def shares(text: str) -> dict[str, float]:
    """`0.8,0.1,0.1` as the shares of train, valid and test."""
    parts = text.replace("/", ",").split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not three shares such as 0.8,0.1,0.1")
    return dict(zip(("train", "valid", "test"), map(float, parts), strict=True))


def from_one(text: str) -> int:
    """A number of at least 1."""
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def share(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8)."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 1/4")
    return int(index), int(count)


def absolute_path(text: str) -> str:
    """A path made absolute, as it is kept in the run's folder."""
    return str(Path(text).expanduser().resolve())


LABEL_OPTIONS = (
    Option("--base", "base.name", str, "what labels: a name, package.module:Class, or the path of a run", "NAME"),
    Option("--base-arg", "base.args", str, "an argument of the base; repeat it", "NAME=VALUE", many=True),
    Option("--segmenter", "base.segmenter", str, "what makes masks of a detector's boxes: sam2, onnx-sam …", "NAME"),
    Option(
        "--segmenter-arg", "base.segmenter_args", str, "an argument of the segmenter; repeat it", "NAME=VALUE", True
    ),
    Option("--stability", "base.stability", yaml_value, "ask again, and keep how much each mask agrees", "true|false"),
)

INPUT_OPTIONS = (
    Option("--limit", "inputs.limit", int, "the first so many images by name", "N"),
    Option("--sample", "inputs.sample", int, "a seeded choice of so many images", "N"),
    Option("--every", "inputs.every", int, "of a video every n-th frame", "N"),
    Option("--fps", "inputs.fps", float, "of a video so many frames a second; 1 where --every is not given", "X"),
    Option("--scene-changes", "inputs.scene_changes", yaml_value, "of a video, prefer changed frames", "true|false"),
    Option("--max-megapixels", "inputs.max_megapixels", float, "refuse images of more million pixels", "X"),
    Option("--tiles", "base.tiles", int, "cut larger images into tiles of so many pixels", "N"),
    Option("--overlap", "base.overlap", float, "share by which tiles overlap", "X"),
)

LABELING_OPTIONS = (
    Option("--workers", "labeling.workers", int, "processes with a base each, one a GPU; 0 for none", "N"),
    Option("--batch", "labeling.batch_size", int, "images asked about at a time, where the base takes batches", "N"),
    Option("--timeout-per-image", "labeling.timeout_per_image", float, "end a base that takes longer", "SECONDS"),
    Option("--start-timeout", "labeling.start_timeout", float, "end a worker that builds its base longer", "SECONDS"),
    Option("--max-failures", "labeling.max_failures", int, "stop once more images than this have failed", "N"),
    Option("--shard", "labeling.share", share, "label share I of N only, beside other processes", "I/N"),
)

BUILD_OPTIONS = (
    Option("--confidence", "refine.confidence", str, "drop labels scoring less; repeat for classes", "X|CLASS=X", True),
    Option("--min-stability", "refine.min_stability", yaml_value, "drop labels whose stability is less", "X"),
    Option("--nms-iou", "refine.nms_iou", yaml_value, "mask NMS within a class, by IoU", "X"),
    Option("--nms-iom", "refine.nms_iom", yaml_value, "the same for nested masks, by share of the smaller", "X"),
    Option("--agnostic-nms-iou", "refine.agnostic_nms_iou", yaml_value, "mask NMS across classes, by IoU", "X"),
    Option("--agnostic-nms-iom", "refine.agnostic_nms_iom", yaml_value, "the same for nested masks", "X"),
    Option("--min-area", "refine.min_area", float, "least mask area: pixels, or a share of the image under 1", "A"),
    Option("--max-area", "refine.max_area", yaml_value, "largest mask area, likewise", "A"),
    Option("--island-area", "refine.island_area", float, "remove a mask's loose parts under this area", "A"),
    Option("--hole-area", "refine.hole_area", float, "fill a mask's holes up to this area", "A"),
    Option("--max-instances", "refine.max_instances", yaml_value, "at most so many instances an image", "N"),
    Option("--split", "split", shares, "shares of train, valid and test", "T,V,T"),
    Option("--near-duplicates", "split.near_duplicates", yaml_value, "bits by which look-alikes may differ", "N"),
    Option("--split-seed", "split.seed", int, "another split of the same images", "N"),
    Option("--format", "dataset.segmentation", str, "how masks are written: rle or polygon", "FORMAT"),
)

TRAIN_OPTIONS = (
    Option("--size", "target.size", str, "preview, nano, small, medium, large, xlarge or 2xlarge", "SIZE"),
    Option("--epochs", "target.epochs", int, "passes over the training images", "N"),
    Option("--batch-size", "target.batch_size", integer_or_auto, "images a step, or auto", "N"),
    Option("--grad-accum-steps", "target.grad_accum_steps", int, "steps an update", "N"),
    Option("--preset", "target.preset", str, "both for a GPU's memory: auto, 8gb, 16gb, 24gb, 40gb or 80gb", "PRESET"),
    Option("--lr", "target.lr", float, "learning rate", "X"),
    Option("--device", "target.device", str, "auto, cpu, cuda, cuda:1 …", "DEVICE"),
    Option("--devices", "target.devices", int, "train on so many GPUs, each in its own process", "N"),
    Option("--early-stopping", "target.early_stopping", int, "end after N validations without a better mask AP", "N"),
    Option("--logger", "target.loggers", str, "tensorboard or wandb, beside metrics.csv; repeat it", "NAME", True),
    Option("--seed", "target.seed", int, "seed of weights and shuffling", "N"),
)

EVALUATE_OPTIONS = (
    Option(
        "--gold", "evaluation.gold", absolute_path, "annotated by people: COCO or a data.yaml; repeat it", "GOLD", True
    ),
    Option("--max-detections", "evaluation.max_detections", int, "best detections an image that count", "N"),
    Option("--score-floor", "evaluation.score_floor", float, "gather predictions over this score", "X"),
    Option("--area-from", "evaluation.area_from", str, "size classes by the file's area or the mask's", "file|mask"),
    Option("--crowds", "evaluation.crowds", str, "iscrowd 1: to ignore, or objects like others", "ignore|objects"),
    Option("--look-alikes", "evaluation.look_alikes", yaml_value, "bits by which gold may differ from training", "N"),
    Option("--gate", "evaluation.gates", str, "exit with 5 where target.mask.ap50 (say) is less", "METRIC=X", True),
)

ALL_OPTIONS = LABEL_OPTIONS + INPUT_OPTIONS + LABELING_OPTIONS + BUILD_OPTIONS + TRAIN_OPTIONS + EVALUATE_OPTIONS


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Adds the flags, each help text ending with the configuration's default, and `--set` for all the rest."""
    group = parser.add_argument_group(
        "options (kept in RUN/pipeline.yaml)",
        "In NAME=VALUE and KEY=VALUE the first = ends the name, in CLASS=X and METRIC=X the last.",
    )
    for option in options:
        group.add_argument(
            option.flag,
            dest=option.key,
            type=option.kind,
            action="append" if option.many else "store",
            default=argparse.SUPPRESS,  # what is not given is told from what is given as none
            metavar=option.metavar,
            help=f"{option.help} (default: {default(option.key)})".replace("%", "%%"),
        )
    group.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="any option of a pipeline file, such as target.model.resolution=312; repeat it",
    )


def default(key: str) -> str:
    """The configuration's default of a dotted key, as text."""
    value: Any = PipelineConfig.model_construct()
    for part in key.split("."):
        value = getattr(value, part)
    if key == "split":
        return f"{value.train:g},{value.valid:g},{value.test:g}"
    return "none" if value is None or value == {} or value == [] else str(value)


def overrides(parsed: argparse.Namespace) -> dict[str, Any]:
    """The configuration's keys that the command line sets: dotted key → value.

    Raises:
        UsageError: a `NAME=VALUE` is not one.
    """
    given = vars(parsed)
    found: dict[str, Any] = {}
    for option in ALL_OPTIONS:
        if option.key not in given:
            continue
        value = given[option.key]
        if option.key in ("base.args", "base.segmenter_args"):
            found[option.key] = pairs(value, option.flag)
        elif option.key == "evaluation.gates":
            found[option.key] = pairs(value, option.flag, last=True)
        elif option.key == "refine.confidence":
            found[option.key] = _confidence(value, option.flag)
        elif option.key == "split":
            found.update({f"split.{name}": share for name, share in value.items()})
        else:
            found[option.key] = value
    found.update(pairs(given.get("set") or (), "--set"))
    return found


def pairs(texts: Sequence[str], flag: str, *, last: bool = False) -> dict[str, Any]:
    """`NAME=VALUE` texts as a mapping, values read as YAML.

    The first `=` of a text ends the name: a value, such as a path, may hold more of them. With `last` it is the last
    one, where the name may hold some, such as a class's, and the value is a number.

    Raises:
        UsageError: a text has no name or no `=`, or its value is not YAML.
    """
    found = {}
    for text in texts:
        name, equals, value = text.rpartition("=") if last else text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag} {text!r} is not of the form NAME=VALUE.")
        try:
            found[name.strip()] = yaml_value(value)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{flag} {text!r} has no value: {error}.") from error
    return found


def _confidence(texts: Sequence[str], flag: str) -> float | Mapping[str, Any]:
    if len(texts) == 1 and "=" not in texts[0]:
        try:
            return float(texts[0])
        except ValueError as error:
            raise UsageError(f"{flag} {texts[0]!r} is neither a number nor CLASS=NUMBER.") from error
    return pairs(texts, flag, last=True)


def ontology(parsed: argparse.Namespace) -> dict[str, str]:
    """The ontology of `--ontology` or of repeated `--class PROMPT[=CLASS]`, where the first `=` ends the prompt.

    Raises:
        UsageError: neither or both are given, it is not an ontology, or a prompt is given two classes.
    """
    from ..system.config_files import parse_ontology

    if bool(parsed.ontology) == bool(parsed.classes):
        raise UsageError(
            "Say what to label with either --ontology or --class.",
            """--ontology '{"a dog": "dog"}', --ontology @file.json, or --class "a dog=dog" --class cat.""",
        )
    if parsed.ontology:
        return parse_ontology(parsed.ontology)
    found: dict[str, str] = {}
    for text in parsed.classes:
        before, equals, after = text.partition("=")
        prompt = before.strip()
        name = after.strip() if equals else prompt
        if found.setdefault(prompt, name) != name:
            raise UsageError(
                f"--class gives the prompt {prompt!r} two classes: {found[prompt]!r} and {name!r}.",
                "A prompt finds one class; several prompts may find the same one.",
            )
    return found
