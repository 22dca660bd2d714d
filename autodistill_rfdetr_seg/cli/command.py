"""What a command of the command line is, and where the commands are found: one file each in `commands/`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ..core.discovery import discovered


@dataclass(frozen=True)
class Command:
    """A command: its name, its summary for `--help`, its arguments, and what it does.

    Commands are listed by rising `order`. `run` prints the result and returns the exit code; it imports what it needs
    itself, so that `--help` stays fast.
    """

    name: str
    summary: str
    order: int
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def known_commands() -> dict[str, Command]:
    """Every command by name: `COMMANDS` of each file in `commands/`, in the order of `Command.order`."""
    from . import commands

    found: tuple[Command, ...] = discovered(commands, "COMMANDS")
    return {command.name: command for command in sorted(found, key=lambda command: command.order)}
