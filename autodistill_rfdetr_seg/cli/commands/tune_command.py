"""`autodistill-seg tune`."""

from __future__ import annotations

import argparse

from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK
from ..gold_arguments import add_gold_arguments
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    add_gold_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Chooses and saves the rules of the build."""
    from ...evaluation.tuning_text import tuning_text
    from ...pipeline.run_tuning import tune

    found = tune(args.run, args.gold, crowds=args.crowds, save=not args.dry_run, progress=not args.quiet)
    saved = found.changed and not args.dry_run
    if args.json:
        print_json({**found.as_json(), "saved": saved})
        return OK
    print_text(tuning_text(found))
    print_text(f"saved; next: autodistill-seg build {args.run}" if saved else "nothing is saved: the rules stay")
    return OK


COMMANDS = (
    Command(
        name="tune",
        summary="choose the rules of the build by the F1 of the labels on a gold set",
        order=134,
        add_arguments=add_arguments,
        run=run,
    ),
)
