"""Calls to a server: retried if the failure may be temporary; errors are one sentence, without the key."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.errors import AutodistillSegError, RemoteError
from .keys import KEY, scrub

TRIES = 5
PAUSE = 0.5  # seconds before the second try; doubled for each further one
LONGEST_PAUSE = 30.0
TIMEOUT = (10, 120)  # seconds to connect, and between two bytes
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_MESSAGE = 300

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_answers = threading.local()


def keep_answer(response: Any, *_: Any, **__: Any) -> None:
    """A response hook of requests: keeps the answer for `call_server`."""
    _answers.status = response.status_code
    _answers.text = response.text[:10_000] if response.status_code >= 400 else ""
    _answers.wait = response.headers.get("Retry-After")


def last_status() -> int | None:
    """The HTTP status of this thread's last `call_server`, None if the server did not answer."""
    return getattr(_answers, "status", None)


def call_server(failure_text: str, call: Callable[..., _T], *args: Any, repeatable: bool = True, **options: Any) -> _T:
    """`call(*args, **options)`, retried if the failure may be temporary; errors are one sentence, without the key.

    `failure_text` says what failed ("The image a.png could not be uploaded"). A call that must not happen twice is not
    `repeatable`: it is retried only if the server said that it did nothing (429).

    Raises:
        RemoteError: the server refused, failed or did not answer, after all tries.
    """
    for attempt in range(1, TRIES + 1):
        _answers.status = _answers.wait = None
        _answers.text = ""
        try:
            return call(*args, **options)
        except AutodistillSegError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK raises whatever comes
            status, temporary = _judge(error)
            if attempt == TRIES or not (temporary and (repeatable or status == 429)):
                failure = _failure(failure_text, error, status)
            else:
                pause = _pause(attempt)
                _log.debug("%s (try %d); next try in %.1f s", failure_text, attempt, pause)
                failure = None
        # Outside of the handler: an error raised there would keep the SDK's error, and with it a URL.
        if failure is not None:
            raise failure
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _pause(attempt: int) -> float:
    requested = str(getattr(_answers, "wait", None) or "")
    if requested.isdigit():
        return min(float(requested), LONGEST_PAUSE)
    longest: float = min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
    return longest * random.uniform(0.75, 1.25)


def _judge(error: BaseException) -> tuple[int | None, bool]:
    """The HTTP status of a failed call, and whether the failure may be temporary."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if status is None and not _is_network(error):
        status = last_status()
        # An answer of 200 that reports an error.
        status = None if status is not None and status < 400 else status
    return status, _is_network(error) if status is None else status in _TEMPORARY


def _is_network(error: BaseException | None) -> bool:
    import requests

    kinds = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, kinds) or (error is not None and isinstance(error.__cause__, kinds))


def _failure(failure_text: str, error: BaseException, status: int | None) -> RemoteError:
    import requests

    cause = error.__cause__ if isinstance(error.__cause__, requests.RequestException) else error
    if isinstance(cause, requests.Timeout):
        reason = "the server did not answer in time"
    elif _is_network(cause):
        reason = "the connection to the server failed"
    else:
        reason = message_of(getattr(_answers, "text", "") or str(error)) or type(error).__name__
        reason = f"the server answered {status}: {reason}" if status else reason
    hints = {
        401: f"Check the key in {KEY}.",
        403: f"Check the key in {KEY} and its permissions.",
        404: "Check the names of workspace and project: they are in the URL of the project's page.",
        429: "Wait a little and run it again: finished work is not repeated.",
    }
    return RemoteError(f"{scrub(failure_text)}: {scrub(reason).rstrip('.')}.", hints.get(status or 0), status=status)


def message_of(text: str) -> str:
    """The error message of a server in one short line, from the JSON forms of the API or from text."""
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
