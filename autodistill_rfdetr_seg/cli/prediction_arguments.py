"""The arguments that say how a target predicts: confidence, tiles, duplicates, and where."""

from __future__ import annotations

import argparse
from typing import Any, Literal

from ..core.config import DISPLAY_CONFIDENCE, EngineConfig, PredictConfig, check_confidence
from ..core.config import options as parse_options
from ..core.errors import UsageError
from ..targets.inference.class_confidence import BEST, ConfidenceChoice
from .option_flags import ENGINE_OPTIONS, add_flags

_DEFAULTS = PredictConfig()


def add_prediction_arguments(parser: argparse.ArgumentParser) -> None:
    """`--confidence`, `--thresholds`, `--tiles`, `--overlap` and the limits of `--nms-…`."""
    group = parser.add_argument_group("which instances are shown")
    group.add_argument(
        "--confidence",
        action="append",
        metavar="X|NAME=X|best",
        help=(
            "show instances with a score above X; NAME=X for one class, repeatable; best: the value of each class with "
            f"the best F1 in the last evaluation (default: {DISPLAY_CONFIDENCE:g})"
        ),
    )
    group.add_argument(
        "--thresholds",
        metavar="RUN|EXPORT",
        help="the run or export whose evaluation `--confidence best` is read from (default: the model)",
    )
    group.add_argument(
        "--tiles", type=int, metavar="N", help="predict large images in tiles of N x N pixels (default: whole images)"
    )
    group.add_argument(
        "--overlap",
        type=float,
        default=_DEFAULTS.overlap,
        metavar="X",
        help="fraction of a tile that the next one repeats (default: %(default)s)",
    )
    for flag, default, what in (
        ("--nms-iou", _DEFAULTS.nms_iou, "IoU with a better one of its class"),
        ("--nms-iom", _DEFAULTS.nms_iom, "part of the smaller one shared with a better one of its class"),
        ("--agnostic-nms-iou", _DEFAULTS.agnostic_nms_iou, "IoU with a better one of any class"),
    ):
        group.add_argument(
            flag,
            type=_limit,
            default=default,
            metavar="X|none",
            help=f"remove an instance whose mask has more than this {what} (default: %(default)s)",
        )


def _limit(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)


def prediction_options(args: argparse.Namespace) -> dict[str, Any]:
    """What these arguments are for `predict_images` and `predict_video`.

    Raises:
        UsageError: a confidence is not a number.
    """
    return {
        "confidence": confidence_choice(args.confidence or []),
        "thresholds": args.thresholds,
        "tiles": args.tiles,
        "overlap": args.overlap,
        "nms_iou": args.nms_iou,
        "nms_iom": args.nms_iom,
        "agnostic_nms_iou": args.agnostic_nms_iou,
    }


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """`--engine`, `--address`, `--actors` and `--cpus-per-base`."""
    add_flags(parser.add_argument_group("images on many machines"), ENGINE_OPTIONS)


def engine_config(args: argparse.Namespace) -> EngineConfig:
    """What these arguments say.

    Raises:
        UsageError: one is wrong, or needs `--engine ray`.
    """
    given = {option.key.partition(".")[2]: option.key for option in ENGINE_OPTIONS if option.key in vars(args)}
    values = {name: getattr(args, key) for name, key in given.items()}
    config: EngineConfig = parse_options(EngineConfig, values, "the options")
    return config


def confidence_choice(values: list[str]) -> ConfidenceChoice:
    """The values of `--confidence`: X or `best` for all classes, NAME=X for one; a later one counts.

    Raises:
        UsageError: a value is not a number within 0..1.
    """
    default: float | Literal["best"] = DISPLAY_CONFIDENCE
    by_class: dict[str, float] = {}
    for text in values:
        name, _, value = text.rpartition("=")
        if not name and value == BEST:
            default = "best"
            continue
        try:
            number = float(value)
        except ValueError:
            raise UsageError(
                f"--confidence {text} is no number.", "Give a number such as 0.5, a class such as nut=0.4, or best."
            ) from None
        check_confidence(number)
        if name:
            by_class[name] = number
        else:
            default = number
    return ConfidenceChoice(default, by_class)
