"""The command line: arguments come in; results go to stdout, logs and progress to stderr, and an exit code out. The
only place that turns errors into exit codes.
"""

from .command_line import main

__all__ = ["main"]
