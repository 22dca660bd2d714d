"""Flags that set an option of the configuration. Their defaults are read from there."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.config import PipelineConfig
from .option_values import (
    absolute_path,
    integer_or_auto,
    name_values,
    number_or_per_class,
    slice_of_images,
    split_fractions,
    yaml_value,
)


@dataclass(frozen=True)
class Option:
    """A flag that sets `key` ("refine.min_area") of the configuration.

    `kind` reads its value; bool is a flag without a value. `many` may be repeated and gives a list. `alias` is an
    older name of the flag.
    """

    flag: str
    key: str
    kind: Callable[[str], Any]
    help: str
    metavar: str | None = None
    many: bool = False
    alias: str | None = None


LABEL_OPTIONS = (
    Option("--base", "base.name", str, "what labels: a name, package.module:Class, or the path of a run", "NAME"),
    Option("--base-arg", "base.args", str, "an argument of the base; repeatable", "NAME=VALUE", many=True),
    Option("--segmenter", "base.segmenter", str, "what makes masks from a detector's boxes: sam2, onnx-sam …", "NAME"),
    Option(
        "--segmenter-arg", "base.segmenter_args", str, "an argument of the segmenter; repeatable", "NAME=VALUE", True
    ),
    Option("--stability", "base.stability", bool, "run the base again, and store how well each mask agrees"),
)

INPUT_OPTIONS = (
    Option("--limit", "inputs.limit", int, "use only the first N images by name", "N"),
    Option("--sample", "inputs.sample", int, "use only N images, chosen with a seed", "N"),
    Option("--every", "inputs.every", int, "use every N-th frame of a video", "N"),
    Option("--fps", "inputs.fps", float, "use X frames per second of a video; 1 if --every is not given", "X"),
    Option("--scene-changes", "inputs.scene_changes", bool, "prefer frames of a video where the scene changed"),
    Option("--max-megapixels", "inputs.max_megapixels", float, "skip images larger than X megapixels", "X"),
    Option(
        "--mirror-limit",
        "inputs.mirror_limit",
        str,
        "images of a bucket on the disk at a time, as 20GB",
        "SIZE",
    ),
    Option("--tiles", "base.tiles", int, "cut larger images into tiles of N x N pixels", "N"),
    Option("--overlap", "base.overlap", float, "fraction of a tile's side that it shares with its neighbor", "X"),
)

# Of `predict` too, where they are fields of `EngineConfig` alone.
ENGINE_OPTIONS = (
    Option("--engine", "labeling.engine", str, "where models run: auto (this machine), or ray (a cluster)", "ENGINE"),
    Option("--address", "labeling.address", str, "a Ray cluster: auto, or HOST:PORT of its head", "ADDRESS"),
    Option("--actors", "labeling.actors", int, "Ray actors, each with its own model; as many as have room", "N"),
    Option("--cpus-per-base", "labeling.cpus_per_base", int, "CPUs that each Ray actor takes", "N"),
)

LABELING_OPTIONS = (
    Option("--workers", "labeling.workers", int, "worker processes, each with its own base; 0: none", "N"),
    Option("--batch", "labeling.batch_size", int, "images in a batch, if the base takes batches", "N"),
    Option("--timeout-per-image", "labeling.timeout_per_image", float, "stop a base that takes longer", "SECONDS"),
    Option("--start-timeout", "labeling.start_timeout", float, "stop a worker that takes longer to start", "SECONDS"),
    *ENGINE_OPTIONS,
    Option("--max-failures", "labeling.max_failures", int, "stop when more than N images have failed", "N"),
    Option(
        "--slice",
        "labeling.slice",
        slice_of_images,
        "label only slice I of N, next to other processes",
        "I/N",
        alias="--shard",
    ),
)

BUILD_OPTIONS = (
    Option(
        "--confidence",
        "refine.confidence",
        str,
        "drop labels with a lower score; repeatable for classes",
        "X|CLASS=X",
        True,
    ),
    Option("--min-stability", "refine.min_stability", yaml_value, "drop labels with a lower stability", "X"),
    Option("--nms-iou", "refine.nms_iou", yaml_value, "mask NMS within a class: IoU", "X"),
    Option("--nms-iom", "refine.nms_iom", yaml_value, "the same, relative to the smaller mask", "X"),
    Option("--agnostic-nms-iou", "refine.agnostic_nms_iou", yaml_value, "mask NMS across classes: IoU", "X"),
    Option(
        "--agnostic-nms-iom",
        "refine.agnostic_nms_iom",
        yaml_value,
        "the same, relative to the smaller mask",
        "X",
    ),
    Option(
        "--min-area", "refine.min_area", float, "smallest mask area: pixels, or under 1 a fraction of the image", "A"
    ),
    Option("--max-area", "refine.max_area", yaml_value, "largest mask area, in the same units", "A"),
    Option("--island-area", "refine.island_area", float, "remove separate parts of a mask smaller than this", "A"),
    Option("--hole-area", "refine.hole_area", float, "fill holes of a mask up to this area", "A"),
    Option("--max-instances", "refine.max_instances", yaml_value, "keep at most N instances per image", "N"),
    Option("--split", "split", split_fractions, "fractions of train, valid and test", "T,V,T"),
    Option(
        "--near-duplicates",
        "split.near_duplicates",
        yaml_value,
        "images that differ in at most N of 64 hash bits stay in one split",
        "N",
    ),
    Option("--split-seed", "split.seed", int, "another seed gives another split of the same images", "N"),
    Option("--format", "dataset.segmentation", str, "how masks are written: rle or polygon", "FORMAT"),
    Option(
        "--split-json",
        "dataset.split_json",
        yaml_value,
        "write the annotations also in files of at most N images each",
        "N",
    ),
)

TRAIN_OPTIONS = (
    Option("--size", "target.size", str, "preview, nano, small, medium, large, xlarge or 2xlarge", "SIZE"),
    Option("--epochs", "target.epochs", int, "passes over the training images", "N"),
    Option("--batch-size", "target.batch_size", integer_or_auto, "images per step, or auto", "N"),
    Option("--grad-accum-steps", "target.grad_accum_steps", int, "steps per weight update", "N"),
    Option(
        "--preset",
        "target.preset",
        str,
        "sets both for the memory of a GPU: auto, 8gb, 16gb, 24gb, 40gb or 80gb",
        "PRESET",
    ),
    Option("--lr", "target.lr", float, "learning rate", "X"),
    Option("--device", "target.device", str, "auto, cpu, cuda, cuda:1 …", "DEVICE"),
    Option("--devices", "target.devices", int, "train on N GPUs, one process each", "N"),
    Option("--nodes", "target.nodes", int, "train on N machines, on each of which this command is started", "N"),
    Option("--early-stopping", "target.early_stopping", int, "stop after N validations without a better mask AP", "N"),
    Option("--logger", "target.loggers", str, "tensorboard or wandb, besides metrics.csv; repeatable", "NAME", True),
    Option("--seed", "target.seed", int, "seed for weights and shuffling", "N"),
)

EVALUATE_OPTIONS = (
    Option(
        "--gold",
        "evaluation.gold",
        absolute_path,
        "human annotations: COCO or a data.yaml; repeatable",
        "GOLD",
        True,
    ),
    Option("--max-detections", "evaluation.max_detections", int, "score at most N detections per image", "N"),
    Option("--score-floor", "evaluation.score_floor", float, "ignore predictions with a lower score", "X"),
    Option(
        "--area-from",
        "evaluation.area_from",
        str,
        "size class of an object from the file's area or its mask",
        "file|mask",
    ),
    Option(
        "--crowds",
        "evaluation.crowds",
        str,
        "annotations with iscrowd 1: ignore, or score as objects",
        "ignore|objects",
    ),
    Option(
        "--look-alikes",
        "evaluation.look_alikes",
        yaml_value,
        "gold images within N of 64 hash bits of a training image are not held out",
        "N",
    ),
    Option(
        "--gate",
        "evaluation.gates",
        str,
        "exit with code 5 if METRIC, such as target.mask.ap50 or target.mask.ap50.low, is lower",
        "METRIC=X",
        True,
    ),
    Option("--min-recovery", "evaluation.min_recovery", float, "the same as --gate recovery=X", "X"),
    Option(
        "--replicates",
        "evaluation.replicates",
        int,
        "compute the 95% intervals from N resampled gold sets; 0 leaves them out",
        "N",
    ),
)

# Of `evaluate` alone: in other commands `--tiles` are those of the base.
TARGET_TILE_OPTIONS = (
    Option("--tiles", "evaluation.tiles", yaml_value, "the target predicts large images in tiles of N x N pixels", "N"),
    Option("--overlap", "evaluation.overlap", float, "fraction of a tile that the next one repeats", "X"),
)

ALL_OPTIONS = LABEL_OPTIONS + INPUT_OPTIONS + LABELING_OPTIONS + BUILD_OPTIONS + TRAIN_OPTIONS + EVALUATE_OPTIONS


def add_options(
    parser: argparse.ArgumentParser, options: Sequence[Option], title: str = "options (kept in RUN/pipeline.yaml)"
) -> None:
    """Adds the flags, each help text ending with the configuration's default, and `--set` for every other option."""
    group = parser.add_argument_group(
        title,
        "In NAME=VALUE and KEY=VALUE the first = ends the name, in CLASS=X and METRIC=X the last.",
    )
    add_flags(group, options)
    group.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="any option of a pipeline file, such as target.model.resolution=312; repeatable",
    )


def add_flags(group: argparse._ActionsContainer, options: Sequence[Option]) -> None:
    """Adds the flags, each help text ending with the configuration's default."""
    for option in options:
        # A flag that is not given is absent: None is a value, too.
        shared: dict[str, Any] = {"dest": option.key, "default": argparse.SUPPRESS}
        if option.kind is bool:
            group.add_argument(option.flag, action="store_true", help=option.help, **shared)
            continue
        group.add_argument(
            option.flag,
            type=option.kind,
            action="append" if option.many else "store",
            metavar=option.metavar,
            help=f"{option.help} (default: {default_text(option.key)})".replace("%", "%%"),
            **shared,
        )
        if option.alias:
            group.add_argument(option.alias, type=option.kind, help=argparse.SUPPRESS, **shared)


def without_flag_values(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--stability true` as `--stability`, and without `--stability false`: the old spelling of a
    flag is still accepted in this release."""
    flags = {option.flag for option in ALL_OPTIONS if option.kind is bool}
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag in flags and not equals and rest and rest[0].lower() in ("true", "false"):
            equals, value = "=", rest.pop(0)
        if flag not in flags or value.lower() not in ("true", "false"):
            kept.append(f"{flag}{equals}{value}")
        elif value.lower() == "true":
            kept.append(flag)
    return kept


def default_text(key: str) -> str:
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
    values = vars(parsed)
    found: dict[str, Any] = {}
    for option in ALL_OPTIONS:
        if option.key not in values:
            continue
        value = values[option.key]
        if option.key in ("base.args", "base.segmenter_args"):
            found[option.key] = name_values(value, option.flag)
        elif option.key == "evaluation.gates":
            found[option.key] = name_values(value, option.flag, last=True)
        elif option.key == "refine.confidence":
            found[option.key] = number_or_per_class(value, option.flag)
        elif option.key == "split":
            found.update({f"split.{name}": fraction for name, fraction in value.items()})
        else:
            found[option.key] = value
    found.update(name_values(values.get("set") or (), "--set"))
    return found
