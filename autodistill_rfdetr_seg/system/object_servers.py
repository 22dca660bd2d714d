"""Opens pyarrow's file systems of S3 and Google Cloud Storage, with what the environment says of the server."""

from __future__ import annotations

import datetime
import os
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import DependencyError, UsageError

# Seconds. A server that does not answer is asked twice more, and reported after about a minute.
CONNECT_SECONDS = 5
REQUEST_SECONDS = 20
_ATTEMPTS = 2
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def s3_files(bucket: str, endpoint: str | None) -> Any:
    """pyarrow's file system of S3; `endpoint` is what `s3_endpoint` gives.

    Without a region in the environment Amazon is asked for the bucket's, which raises pyarrow's OSError if that fails.

    Raises:
        DependencyError: pyarrow was built without it.
    """
    fs = _pyarrow_files("S3FileSystem")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    where: dict[str, Any] = {}
    if endpoint is not None:
        parts = urlsplit(endpoint)
        where = {"endpoint_override": parts.netloc, "scheme": parts.scheme}
        region = region or "us-east-1"
    return fs.S3FileSystem(
        region=region or fs.resolve_s3_region(bucket),
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        **where,
    )


def gs_files() -> Any:
    """pyarrow's file system of Google Cloud Storage. Raises as `s3_files`."""
    fs = _pyarrow_files("GcsFileSystem")
    return fs.GcsFileSystem(retry_time_limit=datetime.timedelta(seconds=REQUEST_SECONDS))


def _pyarrow_files(needed: str) -> Any:
    from pyarrow import fs

    try:
        getattr(fs, needed)
    except ImportError as error:
        raise DependencyError(
            f"This pyarrow was built without {needed}.",
            "Install one that has it: pip install --force-reinstall pyarrow",
        ) from error
    return fs


def s3_endpoint() -> str | None:
    """The server that the environment names, such as `https://host:9000`; None for Amazon's own.

    Raises:
        UsageError: it is not an http or https URL of a server, or has a user or password in it.
    """
    variable = next((name for name in _ENDPOINTS if os.environ.get(name)), None)
    if variable is None:
        return None
    parts = urlsplit(os.environ[variable])
    if "@" in parts.netloc:
        raise UsageError(
            f"The URL in {variable} has a user or password in it.",
            "Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from a profile.",
        )
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise UsageError(f"{variable} is not the address of a server.", "Write it as https://HOST:PORT.")
    return f"{parts.scheme}://{parts.netloc}"
