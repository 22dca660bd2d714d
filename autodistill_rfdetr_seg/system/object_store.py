"""Objects of a bucket, by pyarrow's file systems: list, read, write, delete; vendor errors become ours here.

Keys come from the environment or the vendor's chain (profiles, roles); they are in no file, log or message. Another S3
server is named by AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from ..core.bucket_urls import BucketUrl
from ..core.errors import MissingInputError, RemoteError
from .object_servers import gs_files, s3_endpoint, s3_files
from .waiting import wait_for

_CHUNK = 8 * 2**20  # bytes: most images take one request
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# In the vendors' texts, as pyarrow passes no codes on. The first that matches counts.
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|bucket does not exist|Bucket '.*' not found", re.IGNORECASE)
_DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|EXPIRED_TOKEN|UNRECOGNIZED_CLIENT"
    r"|MISSING_AUTH|InvalidAccessKeyId|ExpiredToken|HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED|OAuth2"
)
_REGION = re.compile(r"HTTP status 301|PermanentRedirect|AuthorizationHeaderMalformed")
_NO_LIST = re.compile(r"XML_ERROR")
_NETWORK = re.compile(r"NETWORK_CONNECTION|REQUEST_TIMEOUT|UNAVAILABLE|DEADLINE_EXCEEDED|curlCode|CURL error")
_HINTS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of somebody who may use the bucket.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS to the key file of an account that may use the bucket.",
}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: its name relative to the store's prefix, its size (bytes), and when it was written."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ReadObject:
    """What was read of an object: the number of bytes, their SHA-256 (hex), and what the server said of the object
    when it was opened. A store that says nothing gives None."""

    size: int
    sha256: str
    stated_size: int | None
    mtime_ns: int | None
    version: str | None
    etag: str | None


class ObjectStore:
    """The objects under one prefix of a bucket. Methods may be called in several threads.

    All methods raise MissingInputError if there is no such bucket, and RemoteError if the server refuses, fails or
    cannot be reached.
    """

    def __init__(self, url: BucketUrl) -> None:
        """Prepares the access.

        Raises:
            UsageError: the endpoint in the environment is not an http or https URL, or has a user or password in it.
            DependencyError: pyarrow was built without this kind of store.
        """
        self.url = url
        self._files: Any = None
        self._endpoint = s3_endpoint() if url.scheme == "s3" else None

    def objects(self, *, progress: bool = False) -> list[StoredObject]:
        """All objects under the prefix, sorted by name; pyarrow asks for one page of 1,000 after the other."""
        from pyarrow import fs

        selector = fs.FileSelector(self.url.path, recursive=True)
        with self._errors():
            try:
                # pyarrow lists all pages in one call, which ignores Ctrl-C.
                found = wait_for(
                    lambda: self._opened().get_file_info(selector), f"Listing {self.url}", progress=progress
                )
            except FileNotFoundError:
                found = []
        start = len(self.url.path) + 1
        objects = [self._stored(one, one.path[start:]) for one in found if one.type == fs.FileType.File]
        return sorted(objects, key=lambda one: one.name)

    def find(self, name: str = "") -> StoredObject | None:
        """One object; without a name, that of the prefix itself. None if there is none."""
        from pyarrow import fs

        with self._errors(name):
            found = self._opened().get_file_info(self.url.path_of(name))
        name = name or self.url.prefix.rpartition("/")[2]
        return self._stored(found, name) if found.type == fs.FileType.File else None

    def read(self, name: str, write: Callable[[bytes], object]) -> ReadObject:
        """Reads an object from start to end and gives its bytes to `write`.

        Raises:
            FileNotFoundError: there is no such object.
        """
        digest, size = hashlib.sha256(), 0
        with self._errors(name):
            # Without this, pyarrow unpacks what is called .gz.
            stream = self._opened().open_input_stream(self.url.path_of(name), compression=None)
            stated = {_text(key): _text(value) for key, value in (stream.metadata() or {}).items()}
        with contextlib.closing(stream):
            while chunk := self._next(stream, name):
                digest.update(chunk)
                size += len(chunk)
                write(chunk)
        length = stated.get("Content-Length")
        return ReadObject(
            size,
            digest.hexdigest(),
            int(length) if length and length.isdigit() else None,
            _nanoseconds(stated.get("Last-Modified")),
            stated.get("VersionId") or stated.get("generation"),
            (stated.get("ETag") or stated.get("etag") or "").strip('"') or None,
        )

    def _next(self, stream: Any, name: str) -> bytes:
        with self._errors(name):
            chunk: bytes = stream.read(_CHUNK)
        return chunk

    def write(self, name: str, file: IO[bytes]) -> tuple[int, str]:
        """Writes an object from an open file; the number of bytes and their SHA-256 (hex).

        The object is there when its last byte is; whoever needs to know that it is whole compares the SHA-256.
        """
        digest, size = hashlib.sha256(), 0
        with self._errors(name):
            stream = self._opened().open_output_stream(self.url.path_of(name), compression=None)
        try:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                with self._errors(name):
                    stream.write(chunk)
        finally:
            with self._errors(name):
                stream.close()
        return size, digest.hexdigest()

    def delete(self, name: str) -> None:
        """Removes an object if it is there."""
        with self._errors(name), contextlib.suppress(FileNotFoundError):
            self._opened().delete_file(self.url.path_of(name))

    def _opened(self) -> Any:
        if self._files is None:
            self._files = gs_files() if self.url.scheme == "gs" else s3_files(self.url.bucket, self._endpoint)
        return self._files

    def _stored(self, found: Any, name: str) -> StoredObject:
        time = int(found.mtime_ns or 0)
        if self.url.scheme == "s3":
            # Some servers list milliseconds, and state whole seconds when an object is opened.
            time -= time % 10**9
        return StoredObject(name, int(found.size or 0), time)

    @contextlib.contextmanager
    def _errors(self, name: str = "") -> Iterator[None]:
        """Turns pyarrow's errors into ours; only pyarrow is called within the block."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise self._error(f"{self.url.scheme}://{self.url.path_of(name)}", str(error)) from error

    def _error(self, what: str, text: str) -> Exception:
        server = self._endpoint or {"s3": "Amazon S3", "gs": "Google Cloud Storage"}[self.url.scheme]
        hint = _HINTS[self.url.scheme]
        if _NO_BUCKET.search(text):
            return MissingInputError(f"There is no bucket {self.url.bucket!r} at {server}.", "Check its name.")
        if _DENIED.search(text):
            return RemoteError(f"{server} refuses access to {what}.", hint, status=403)
        if _NO_LIST.search(text):
            return RemoteError(
                f"The list of {what} cannot be read: a name in it has a zero byte or the like.",
                "Rename such objects, or give a prefix without them.",
            )
        if _REGION.search(text):
            return RemoteError(f"The bucket {self.url.bucket!r} is in another region.", "Set AWS_REGION to its region.")
        if _NETWORK.search(text):
            return RemoteError(
                f"{server} cannot be reached for {what}, or does not answer.",
                "Check the network, and AWS_ENDPOINT_URL if it is set; what was read is kept.",
            )
        return RemoteError(f"{server} failed at {what}: {_shown(text)}.")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _nanoseconds(text: str | None) -> int | None:
    try:
        time = datetime.datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
    return int(time.replace(tzinfo=datetime.timezone.utc).timestamp()) * 10**9


def _shown(text: str) -> str:
    """A vendor's text as part of a sentence, without keys."""
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "…")
    return re.sub(r" \(Request ID: .*?\)", "", " ".join(text.split()))[:300].rstrip(".")
