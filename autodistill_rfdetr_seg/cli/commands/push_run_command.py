"""`autodistill-seg push-run`."""

from __future__ import annotations

import argparse

from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK
from ..output import print_run_copy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument("url", metavar="URL", help="where to: s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    parser.add_argument("--overwrite", action="store_true", help="replace the copy of another state of the run")


def run(args: argparse.Namespace) -> int:
    """Copies a run to a bucket."""
    from ...pipeline.run_push import push_run

    print_run_copy(args, push_run(args.run, args.url, overwrite=args.overwrite, progress=not args.quiet), args.url)
    return OK


COMMANDS = (
    Command(
        name="push-run",
        summary="copy a run's folder to a bucket (S3, Google Cloud Storage), with checksums",
        order=172,
        add_arguments=add_arguments,
        run=run,
    ),
)
