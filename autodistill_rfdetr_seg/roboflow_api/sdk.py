"""Roboflow's SDK, contained: what it prints, asks, reads and raises stays in this module, and so does the key.

The SDK prints to stdout, may ask on stdin, reads ~/.config/roboflow/config.json and a .env file, waits for an answer
without end except to an upload, and puts the key into URLs, which then stand in the messages of its errors.

- It prints, and asks: https://github.com/roboflow/roboflow-python/pull/316 (not merged)
- Its file of workspaces and keys: https://github.com/roboflow/roboflow-python/pull/62
- Time limits, of uploads alone: https://github.com/roboflow/roboflow-python/pull/245
- Keys in messages, which Roboflow's other package takes out: https://github.com/roboflow/inference/pull/140
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from ..core.errors import UsageError
from .calls import TIMEOUT, call_server, keep_answer
from .keys import check_url, key, scrub


@contextlib.contextmanager
def contained() -> Iterator[io.StringIO]:
    """Inside, the SDK may be imported and called; what it prints is collected in the value and never shown.

    Enter it from one thread at a time; other threads may call the SDK while it is open.

    Raises:
        UsageError: there is no key, or it must not be sent to the server that the environment names.
    """
    key()
    printed = io.StringIO()
    stdin = sys.stdin
    with contextlib.ExitStack() as stack:
        _load()
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(_bounded())
        stack.callback(setattr, sys, "stdin", stdin)
        # A question of the SDK gets no answer and becomes an error.
        sys.stdin = io.StringIO()
        chatty = logging.getLogger("urllib3.connectionpool")
        chatty.addFilter(_without_key)
        stack.callback(chatty.removeFilter, _without_key)
        yield printed


def _without_key(record: logging.LogRecord) -> bool:
    record.msg, record.args = scrub(record.getMessage()), ()
    return True


def _load() -> None:
    """Imports the SDK, set to the server that the environment names and to no other."""
    environment, formatting = dict(os.environ), warnings.formatwarning
    # Its configuration file could send the key elsewhere, or contain another key.
    os.environ["ROBOFLOW_CONFIG_DIR"] = os.path.join(os.devnull, "none")  # noqa: PTH118
    os.environ.setdefault("HOME", os.sep)
    try:
        from roboflow import config

        # autodistill imports the SDK early, with that file.
        config.refresh_region_urls()
        check_url(config.API_URL)
    finally:
        warnings.formatwarning = formatting
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Inside, each call of the SDK has a time limit and leaves its status in `_answers`."""
    from roboflow.util import http

    own = http._with_user_agent

    def bounded(given: dict[str, Any]) -> dict[str, Any]:
        with_agent: dict[str, Any] = own({"timeout": TIMEOUT, "hooks": {"response": keep_answer}, **given})
        return with_agent

    http._with_user_agent = bounded
    try:
        yield
    finally:
        http._with_user_agent = own


def read_project(workspace: str, project: str) -> dict[str, Any]:
    """The project as the API describes it: `id`, `type`, `classes` …; call it inside `contained`.

    Raises:
        RemoteError: there is none, or the server fails.
        UsageError: it is not one of instance segmentation.
    """
    from roboflow.adapters import rfapi

    for name in (workspace, project):
        if not name or set(name) & set("/?#& "):
            raise UsageError(f"{name!r} is not the name of a workspace or project in the URL of its page.")
    failure_text = f"The project {workspace}/{project} could not be read"
    answer: Any = call_server(failure_text, rfapi.get_project, key(), workspace, project)
    found: dict[str, Any] = answer.get("project", {})
    if found.get("type") != "instance-segmentation":
        raise UsageError(
            f"The project {workspace}/{project} is of type {found.get('type')!r}, not instance-segmentation.",
            "A project's type cannot be changed; give another project, or --create a new one.",
        )
    return found


@functools.cache
def model_types() -> dict[str, str]:
    """Our size → the API's name of that RF-DETR Seg model, for those the SDK knows; call it inside `contained`."""
    from roboflow.util.model_processor import SUPPORTED_RFDETR_TYPES

    prefix = "rfdetr-seg-"
    return {name.removeprefix(prefix): name for name in SUPPORTED_RFDETR_TYPES if name.startswith(prefix)}
