"""What can label, and what this machine can do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from .saying import OK, say, say_json


def doctor(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells what this machine can do."""
    from ...pipeline.doctor import doctor_table, examine

    found = examine()
    if args.json:
        say_json(found)
    else:
        say(doctor_table(found))
    return OK


def bases(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Lists what can label."""
    from ...bases.inventory import bases_table, inventory

    found = [known.as_json() for known in inventory()]
    if args.json:
        say_json(found)
    else:
        say(bases_table(found))
    return OK
