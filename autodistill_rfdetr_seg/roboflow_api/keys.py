"""The API key: read from the environment only, sent to permitted servers only, and never part of a text."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from ..core.errors import UsageError

KEY = "ROBOFLOW_API_KEY"


def key(*, needed: bool = True) -> str:
    """The key from the environment; empty if there is none and it is not `needed`.

    Raises:
        UsageError: it is missing and needed, or has characters that a key cannot have.
    """
    found = os.environ.get(KEY, "").strip()
    if not found and needed:
        raise UsageError(
            f"The environment variable {KEY} is not set.", f"Set it to the key of your workspace: {KEY}=…."
        )
    # The SDK puts it into URLs as it is, where other characters would mean something.
    if not re.fullmatch(r"[\w.~-]*", found, re.ASCII):
        raise UsageError(
            f"The environment variable {KEY} does not contain a valid key.", "A key has letters and digits only."
        )
    return found


def scrub(text: str) -> str:
    """`text` without the key, and without the part of a URL after its ?: whoever reads a signed one could upload."""
    secret = os.environ.get(KEY, "").strip()
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    return text.replace(secret, "…") if secret else text


def check_url(url: str, *, insecure: bool = False) -> str:
    """The URL, if the key may be sent to it: https, or a server on this machine, or any server with `insecure`.

    Raises:
        UsageError: the key may not be sent to it, or it is not a URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{scrub(url)!r} is not the URL of a server.", "Give one such as https://host/project/1.")
    if parts.username or parts.password or "api_key=" in parts.query:
        raise UsageError("A URL must not contain a key or a password.", f"Set {KEY} in the environment instead.")
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
