"""`autodistill-seg doctor`."""

from __future__ import annotations

import argparse

from ..command import Command
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no arguments."""


def run(args: argparse.Namespace) -> int:
    """Shows what this machine can do."""
    from ...pipeline.doctor import doctor_table, examine

    found = examine()
    if args.json:
        print_json(found)
    else:
        print_text(doctor_table(found))
    return OK


COMMANDS = (
    Command(
        name="doctor",
        summary="show what this machine can do: device, memory, versions and optional packages",
        order=220,
        add_arguments=add_arguments,
        run=run,
    ),
)
