"""`autodistill-seg COMMAND`: the parser, and the only place that turns an error into output and an exit code.

Results go to stdout, logs and progress to stderr. Exit codes: 0 ok, 1 error, 2 usage, 3 missing input, 4 finished
without some images, 5 a gate was not met, 130 interrupted, 143 terminated. The commands are in `commands/`.
"""

from __future__ import annotations

import _thread
import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .. import __version__
from ..core.bucket_urls import refuse_bucket
from ..core.errors import AutodistillSegError, UnknownNameError, UsageError
from ..system.files import NO_SPACE
from .command import known_commands
from .common_arguments import add_output_arguments
from .exit_codes import FAILED, INTERRUPTED
from .option_flags import without_flag_values

# Name → summary of every command.
COMMANDS: dict[str, str] = {name: command.summary for name, command in known_commands().items()}

_DELETING = 0.01  # seconds in which an object is deleted as a rule


class _Terminated(KeyboardInterrupt):
    """A signal that asks the process to end; its exit code is the one that a shell gives for that signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.exit_code = number, 128 + number


class _Parser(argparse.ArgumentParser):
    """argparse with our form of message: one sentence, a hint, exit code 2."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        return super().parse_known_args(without_flag_values(sys.argv[1:] if args is None else args), namespace)

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument COMMAND: invalid choice"):
            raise UnknownNameError("command", message.split("'")[1], known_commands())
        raise UsageError(f"{message[0].upper()}{message[1:]}.", f"See `{self.prog} --help`.")


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = _Parser(
        prog="autodistill-seg",
        description="From unlabeled images and a few words to a real-time instance-segmentation model and its scores.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"autodistill-seg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in known_commands().values():
        text = command.summary
        description = f"{text[0].upper()}{text[1:]}."
        its_parser = commands.add_parser(command.name, help=text, description=description, allow_abbrev=False)
        command.add_arguments(its_parser)
        add_output_arguments(its_parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    with any_text():
        return _main(sys.argv[1:] if arguments is None else list(arguments))


@contextlib.contextmanager
def any_text() -> Iterator[None]:
    """While a command runs, a character that the encoding of stdout or stderr lacks is written as `\\u043b`.

    Classes and files may have any name; a terminal or pipe in cp1252 must not lose the result of a run.
    """
    before = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    for stream, _ in before:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in before:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def _main(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments
    parsed = argparse.Namespace()
    try:
        parsed = build_parser().parse_args(arguments)
        command = known_commands()[parsed.command]
        # Refused here too: not every command writes a run or a folder.
        refuse_bucket(getattr(parsed, "output", None) or "")
        with _logging(parsed), _terminable():
            code = command.run(parsed)
        sys.stdout.flush()
        return code
    except AutodistillSegError as error:
        if debug:
            raise
        print(f"Error: {error.message}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"Hint: {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt as interruption:
        kept = "; finished work is kept, continue with --resume" if "resume" in parsed else ""
        print(f"Interrupted{kept}.", file=sys.stderr)  # noqa: T201
        return getattr(interruption, "exit_code", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (head, less) has exited: no error, and nothing may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            raise
        print(f"Error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)  # noqa: T201
        if error.errno in NO_SPACE:
            kept = "; finished work is kept, continue with --resume" if "resume" in parsed else ""
            print(f"Hint: free some disk space{kept}.", file=sys.stderr)  # noqa: T201
        return FAILED
    except Exception as error:  # the last resort: still one sentence
        if debug:
            raise
        print(f"Error: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        print("Hint: this error is unexpected; run again with --debug and report the traceback.", file=sys.stderr)  # noqa: T201
        return FAILED


@contextlib.contextmanager
def _logging(parsed: argparse.Namespace) -> Iterator[None]:
    """The package's log on stderr while a command runs."""
    level = logging.DEBUG if parsed.debug else logging.WARNING if parsed.quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and a closed terminal end a command as Ctrl-C does: finished work is written first."""

    def interrupt(number: int, _: object) -> None:
        raise _Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # nohup ignores SIGHUP, and that must stay so.
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        with _no_interruption_lost():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _no_interruption_lost() -> Iterator[None]:
    """Sends a signal again whose exception was lost: Python only prints what is raised while an object is deleted."""
    lock = _thread.allocate_lock()
    inside, sending, main_thread = True, False, threading.get_ident()

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        nonlocal sending
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            before(lost)
        elif not sending:  # a second one would interrupt the work that the first one ends
            sending = True
            number = lost.exc_value.number if isinstance(lost.exc_value, _Terminated) else signal.SIGINT
            # Not `threading.Thread`: its locks may be held by what is under way.
            _thread.start_new_thread(send, (signal.Signals(number),))

    def send(number: signal.Signals) -> None:
        nonlocal sending
        time.sleep(_DELETING)
        with lock:
            sending = False
            if inside and hasattr(signal, "pthread_kill"):
                signal.pthread_kill(main_thread, number)  # also ends a call that waits
            elif inside:
                _thread.interrupt_main(number)

    before, sys.unraisablehook = sys.unraisablehook, send_again
    try:
        yield
    finally:
        try:
            with lock:
                inside = False
        finally:
            sys.unraisablehook = before


if __name__ == "__main__":
    sys.exit(main())
