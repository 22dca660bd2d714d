"""URLs of buckets, `s3://bucket/prefix` and `gs://bucket/prefix`: text alone, nothing is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError

# One slash is enough: a `Path` of a URL has no more.
_URL = re.compile(r"(s3|gs):/+(.*)", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """A bucket, and a prefix in it, which is a folder's path without slashes around it; empty for the whole bucket."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    @property
    def path(self) -> str:
        """`bucket/prefix`."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket

    def path_of(self, name: str) -> str:
        """`bucket/prefix/name`; the prefix itself where `name` is empty."""
        return f"{self.path}/{name}" if name else self.path


def _text(source: object) -> str:
    return source.as_posix() if isinstance(source, Path) else str(source)


def is_bucket_url(source: object) -> bool:
    """Whether a text or path is the URL of a bucket."""
    return _URL.match(_text(source)) is not None


def parse_bucket_url(source: str | Path) -> BucketUrl:
    """The parts of a bucket's URL. Characters are taken as they are: `%20` is no space.

    Raises:
        UsageError: it is no such URL, holds a user or password, or its prefix has an empty part, `.` or `..`.
    """
    hint = "Write s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."
    match = _URL.fullmatch(_text(source))
    if match is None:
        raise UsageError(f"{source} is not the URL of a bucket.", hint)
    bucket, _, prefix = match[2].partition("/")
    if "@" in bucket or ":" in bucket:
        # Not repeated here: messages end up in logs.
        raise UsageError(
            "The URL of the bucket has a user, a password or a port in it.",
            "Keys come from the environment, such as AWS_ACCESS_KEY_ID; another server from AWS_ENDPOINT_URL.",
        )
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{bucket!r} is not the name of a bucket.", hint)
    prefix = prefix.rstrip("/")
    if prefix and {"", ".", ".."} & set(prefix.split("/")):
        raise UsageError(f"The prefix {prefix!r} has an empty part, `.` or `..`.", hint)
    return BucketUrl(match[1].lower(), bucket, prefix)


def refuse_bucket(folder: str | Path) -> None:
    """Refuses a bucket where a folder is needed.

    Raises:
        UsageError: it is the URL of a bucket.
    """
    if is_bucket_url(folder):
        scheme, rest = _text(folder).split(":", 1)
        shown = "" if "@" in rest else f" {scheme}://{rest.lstrip('/')}"
        raise UsageError(
            f"The folder{shown} cannot be in a bucket: it needs file locks and renames, which a bucket does not have.",
            "Give a folder on a disk or network disk; `push-run` copies a finished run to a bucket, `pull-run` back.",
        )
