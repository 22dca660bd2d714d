"""Roboflow's own SDK, contained: what it prints, asks, reads and raises stays in here, and so does the key.

The SDK prints to stdout, may ask on stdin, reads ~/.config/roboflow/config.json and a .env file, waits for an answer
without end, and puts the key into URLs, which then stand in the messages of its errors.
"""

from __future__ import annotations

import contextlib
import functools
import io
import ipaddress
import json
import logging
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from ..errors import AutodistillSegError, RemoteError, UsageError

KEY = "ROBOFLOW_API_KEY"
TRIES = 5
PAUSE = 0.5  # seconds before the second try; twice as long before each further one
LONGEST_PAUSE = 30.0
TIMEOUT = (10, 120)  # seconds to connect, and between two bytes
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_MESSAGE = 300

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_answers = threading.local()


def key(*, needed: bool = True) -> str:
    """The key of the environment; empty where there is none and it is not `needed`.

    Raises:
        UsageError: there is none, and it is needed.
    """
    found = os.environ.get(KEY, "").strip()
    if not found and needed:
        raise UsageError(f"The environment variable {KEY} is not set.", f"Set it to a key of your workspace: {KEY}=….")
    return found


def scrub(text: str) -> str:
    """`text` without the key."""
    secret = key(needed=False)
    for form in {secret, quote(secret, safe=""), quote(secret)} - {""}:
        text = text.replace(form, "…")
    return text


def check_url(url: str, *, insecure: bool = False) -> str:
    """The URL, where the key may be sent to it: https, or a server on this machine, or any where `insecure` is set.

    Raises:
        UsageError: it is not, or no URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{scrub(url)!r} is not the URL of a server.", "Give one such as https://host/project/1.")
    if parts.username or parts.password or "api_key=" in parts.query:
        raise UsageError("A URL must not hold a key or a password.", f"Set {KEY} in the environment instead.")
    if parts.scheme == "http" and not (insecure or is_loopback(parts.hostname)):
        raise UsageError(
            f"{url} is not encrypted: key and images could be read on the way.",
            "Use https. For an Inference server in your own network, predict takes --insecure.",
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def contained() -> Iterator[io.StringIO]:
    """Inside, the SDK may be imported and called; what it prints is collected in the value and never shown.

    To be entered by one thread at a time; other threads may call the SDK while it is open.

    Raises:
        UsageError: there is no key, or the server that the environment names is not one to send it to.
    """
    key()
    printed = io.StringIO()
    stdin = sys.stdin
    with contextlib.ExitStack() as stack:
        _load()
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(_bounded())
        stack.callback(setattr, sys, "stdin", stdin)
        # A question gets no answer, and becomes an error.
        sys.stdin = io.StringIO()
        chatty = logging.getLogger("urllib3.connectionpool")
        chatty.addFilter(_without_key)
        stack.callback(chatty.removeFilter, _without_key)
        yield printed


def _without_key(record: logging.LogRecord) -> bool:
    record.msg, record.args = scrub(record.getMessage()), ()
    return True


def _load() -> None:
    """Imports the SDK, pointed to the server that the environment names, and to no other."""
    environment, formatting = dict(os.environ), warnings.formatwarning
    # Its file could send the key elsewhere, and hold another key.
    os.environ["ROBOFLOW_CONFIG_DIR"] = os.path.join(os.devnull, "none")  # noqa: PTH118
    os.environ.setdefault("HOME", os.sep)
    try:
        from roboflow import config

        # autodistill imports the SDK early, with the file.
        config.refresh_region_urls()
        check_url(config.API_URL)
    finally:
        warnings.formatwarning = formatting
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Inside, each of the SDK's calls has a time limit, and leaves its status in `_answers`."""
    from roboflow.util import http

    own = http._with_user_agent

    def bounded(given: dict[str, Any]) -> dict[str, Any]:
        return own({"timeout": TIMEOUT, "hooks": {"response": note}, **given})

    http._with_user_agent = bounded
    try:
        yield
    finally:
        http._with_user_agent = own


def note(response: Any, *_: Any, **__: Any) -> None:
    """A hook of requests: keeps the answer for `ask` to judge by."""
    _answers.status = response.status_code
    _answers.text = response.text[:10_000] if response.status_code >= 400 else ""
    _answers.wait = response.headers.get("Retry-After")


def last_status() -> int | None:
    """The HTTP status of this thread's last call in `ask`, where the server answered."""
    return getattr(_answers, "status", None)


def ask(doing: str, call: Callable[..., _T], *args: Any, repeatable: bool = True, **options: Any) -> _T:
    """`call(*args, **options)`, asked again where the failure may pass; its errors in one sentence, without the key.

    `doing` says what was tried ("The image a.png could not be uploaded"). What must not happen twice is not
    `repeatable`: it is asked again only where the server said that it did nothing (429).

    Raises:
        RemoteError: the server refused, failed or did not answer, however often.
    """
    for attempt in range(1, TRIES + 1):
        _answers.status = _answers.wait = None
        _answers.text = ""
        try:
            return call(*args, **options)
        except AutodistillSegError:
            raise
        except Exception as error:
            status, passing = _judge(error)
            if attempt == TRIES or not (passing and (repeatable or status == 429)):
                failure = _failure(doing, error, status)
            else:
                pause = _pause(attempt)
                _log.debug("%s (try %d); again in %.1f s", doing, attempt, pause)
                failure = None
        # Out of the handler: an error raised there would hold the SDK's, and with it a URL.
        if failure is not None:
            raise failure
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _pause(attempt: int) -> float:
    asked = str(getattr(_answers, "wait", None) or "")
    if asked.isdigit():
        return min(float(asked), LONGEST_PAUSE)
    return min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.75, 1.25)


def _judge(error: BaseException) -> tuple[int | None, bool]:
    """The HTTP status of a failed call, and whether the failure may pass."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if status is None and not _is_network(error):
        status = last_status()
        # An answer of 200 that says no.
        status = None if status is not None and status < 400 else status
    return status, _is_network(error) if status is None else status in _PASSING


def _is_network(error: BaseException | None) -> bool:
    import requests

    kinds = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, kinds) or (error is not None and isinstance(error.__cause__, kinds))


def _failure(doing: str, error: BaseException, status: int | None) -> RemoteError:
    import requests

    cause = error.__cause__ if isinstance(error.__cause__, requests.RequestException) else error
    if isinstance(cause, requests.Timeout):
        said = "the server did not answer in time"
    elif _is_network(cause):
        said = "the connection to the server failed"
    else:
        said = message_of(getattr(_answers, "text", "") or str(error)) or type(error).__name__
        said = f"the server says {status}: {said}" if status else said
    hints = {
        401: f"Check the key in {KEY}.",
        403: f"Check the key in {KEY}, and what it may do.",
        404: "Check the names of workspace and project, as they stand in the URL of the project's page.",
        429: "Wait a little, and call it again: what is done is not done twice.",
    }
    return RemoteError(f"{scrub(doing)}: {scrub(said).rstrip('.')}.", hints.get(status or 0), status=status)


def message_of(text: str) -> str:
    """What a server says went wrong, in one short line, from JSON of the API's forms or from text."""
    with contextlib.suppress(ValueError):
        found: Any = json.loads(text)
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and found.get(name):
                found = found[name]
        text = found if isinstance(found, str) else json.dumps(found)
    line = " ".join(text.split())
    if line.startswith("<") and "html" in line[:200].lower():
        return ""
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"


def read_project(workspace: str, project: str) -> dict[str, Any]:
    """What the API says of a project: `id`, `type`, `classes` … ; to be called inside of `contained`.

    Raises:
        RemoteError: there is none, or the server fails.
        UsageError: it is not one of instance segmentation.
    """
    from roboflow.adapters import rfapi

    for name in (workspace, project):
        if not name or set(name) & set("/?#& "):
            raise UsageError(f"{name!r} is not the name of a workspace or project as it stands in its page's URL.")
    asked = f"The project {workspace}/{project} could not be read"
    answer: Any = ask(asked, rfapi.get_project, key(), workspace, project)
    found: dict[str, Any] = answer.get("project", {})
    if found.get("type") != "instance-segmentation":
        raise UsageError(
            f"The project {workspace}/{project} is of type {found.get('type')!r}, not instance-segmentation.",
            "A project's type cannot be changed; give another project, or --create a new one.",
        )
    return found


@functools.cache
def model_types() -> dict[str, str]:
    """Our size → the API's name of that RF-DETR Seg model, those that the SDK knows; inside of `contained`."""
    from roboflow.util.model_processor import SUPPORTED_RFDETR_TYPES

    prefix = "rfdetr-seg-"
    return {name.removeprefix(prefix): name for name in SUPPORTED_RFDETR_TYPES if name.startswith(prefix)}
