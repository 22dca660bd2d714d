"""`autodistill-seg bases`."""

from __future__ import annotations

import argparse

from ..command import Command
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no arguments."""


def run(args: argparse.Namespace) -> int:
    """Lists bases and segmenters."""
    from ...bases.inventory import bases_table, inventory

    found = [known.as_json() for known in inventory()]
    if args.json:
        print_json(found)
    else:
        print_text(bases_table(found))
    return OK


COMMANDS = (
    Command(
        name="bases",
        summary="list bases and segmenters: installed or not, license, weights and whether they are downloaded",
        order=210,
        add_arguments=add_arguments,
        run=run,
    ),
)
