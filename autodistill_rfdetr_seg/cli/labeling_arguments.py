"""The arguments of `label` and `plan`, and the configuration that they give."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.bucket_urls import is_bucket_url
from ..core.config import PipelineConfig, parse, with_overrides
from ..core.errors import UsageError
from ..system.config_files import parse_ontology
from .common_arguments import add_resume_or_overwrite
from .option_flags import BUILD_OPTIONS, INPUT_OPTIONS, LABEL_OPTIONS, LABELING_OPTIONS, add_options, overrides


def add_labeling_arguments(parser: argparse.ArgumentParser) -> None:
    """Images, run folder, ontology, and every option of labeling and building."""
    parser.add_argument(
        "images",
        metavar="IMAGES",
        help="a folder (searched recursively, never written to), a video, a pattern, a .txt list, a COCO .json, or the "
        "URL of a bucket's prefix (s3:// or gs://)",
    )
    parser.add_argument("--output", metavar="RUN", required=True, help="the folder of the run")
    parser.add_argument("--ontology", metavar="JSON|@FILE", help="""prompts and classes: '{"a dog": "dog"}'""")
    parser.add_argument(
        "--class",
        dest="classes",
        metavar="PROMPT[=CLASS]",
        action="append",
        help="a prompt and its class, separated by the first =; repeatable",
    )
    add_options(parser, LABEL_OPTIONS + INPUT_OPTIONS + LABELING_OPTIONS + BUILD_OPTIONS)
    add_resume_or_overwrite(parser)


def labeling_config(args: argparse.Namespace) -> PipelineConfig:
    """The configuration of the arguments; the base's own ontology where none is given.

    Raises:
        UsageError: an option is wrong, or the base has no classes of its own and no ontology is given.
    """
    from ..bases.registry import own_ontology

    # Not resolved: a link keeps its name, and a pattern is no path.
    data: dict[str, Any] = {"images": args.images if is_bucket_url(args.images) else str(Path.cwd() / args.images)}
    changes = overrides(args)
    config = parse(with_overrides(data, changes), "the options")
    own = None if args.ontology or args.classes else own_ontology(config.base)
    return parse(with_overrides({**data, "ontology": own or ontology(args)}, changes), "the options")


def ontology(args: argparse.Namespace) -> dict[str, str]:
    """The ontology of `--ontology` or of repeated `--class PROMPT[=CLASS]`, where the first `=` ends the prompt.

    Raises:
        UsageError: neither or both are given, it is not an ontology, or a prompt has two classes.
    """
    if bool(args.ontology) == bool(args.classes):
        raise UsageError(
            "Say what to label with either --ontology or --class.",
            """--ontology '{"a dog": "dog"}', --ontology @file.json, or --class "a dog=dog" --class cat.""",
        )
    if args.ontology:
        return parse_ontology(args.ontology)
    found: dict[str, str] = {}
    for text in args.classes:
        before, equals, after = text.partition("=")
        prompt = before.strip()
        name = after.strip() if equals else prompt
        if found.setdefault(prompt, name) != name:
            raise UsageError(
                f"--class gives the prompt {prompt!r} two classes: {found[prompt]!r} and {name!r}.",
                "A prompt finds one class; several prompts may find the same one.",
            )
    return found
