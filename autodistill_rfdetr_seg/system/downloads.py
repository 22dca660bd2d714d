"""Downloads an image if the caller allows it: http and https only, within limits of size and time."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..core.errors import DataError, UsageError

MAX_BYTES = 64 * 2**20
SECONDS = 30.0


def is_url(text: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE) is not None


@contextlib.contextmanager
def on_disk(source: str, allow_url: bool) -> Iterator[Path]:
    """A path unchanged; for a URL a downloaded file, which is removed when the block ends.

    Raises:
        UsageError: it is a URL, and none is allowed; else as `fetch`.
    """
    if not is_url(source):
        yield Path(source)
        return
    if not allow_url:
        raise UsageError(f"{source} is a URL.", "Add --allow-url to have it fetched.")
    name = re.sub(r"[^\w.-]", "_", unquote(Path(urlsplit(source).path).name)).lstrip(".")[-100:] or "image"
    with tempfile.TemporaryDirectory(prefix="autodistill-seg-") as folder:
        path = Path(folder, name)
        path.write_bytes(fetch(source))
        yield path


def fetch(url: str) -> bytes:
    """The content of an http or https URL.

    Raises:
        UsageError: it is another kind of URL; local files are not read this way.
        DataError: it cannot be downloaded, or is over `MAX_BYTES`.
    """
    from urllib import request
    from urllib.error import URLError

    if not url.lower().startswith(("http://", "https://")):
        raise UsageError(f"{url} is neither an http nor an https URL.", "Download it, and give the file's path.")
    # urllib's own handlers without those for files and FTP, so that a redirection cannot lead to these.
    opener = request.OpenerDirector()
    for handler in (
        *(request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler),
        *(request.HTTPDefaultErrorHandler, request.HTTPRedirectHandler, request.HTTPErrorProcessor),
    ):
        opener.add_handler(handler())
    try:
        with opener.open(
            request.Request(url, headers={"User-Agent": "autodistill-rfdetr-seg"}), timeout=SECONDS
        ) as answer:
            data: bytes = answer.read(MAX_BYTES + 1)
    except (URLError, OSError, ValueError) as error:
        raise DataError(f"{url} cannot be fetched: {error}.") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{url} is larger than {MAX_BYTES >> 20} MB.", "Download it, and give the file's path.")
    return data
