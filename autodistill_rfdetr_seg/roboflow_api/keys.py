"""The key: from the environment alone, to servers that it may be sent to, and in no text."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from ..core.errors import UsageError

KEY = "ROBOFLOW_API_KEY"


def key(*, needed: bool = True) -> str:
    """The key of the environment; empty where there is none and it is not `needed`.

    Raises:
        UsageError: there is none and it is needed, or it cannot be one.
    """
    found = os.environ.get(KEY, "").strip()
    if not found and needed:
        raise UsageError(f"The environment variable {KEY} is not set.", f"Set it to a key of your workspace: {KEY}=….")
    # The SDK puts it into URLs as it is, where other characters would mean something.
    if not re.fullmatch(r"[\w.~-]*", found, re.ASCII):
        raise UsageError(f"What the environment variable {KEY} holds is no key.", "A key has letters and digits only.")
    return found


def scrub(text: str) -> str:
    """`text` without the key, and without what follows the ? of a URL: a signed one lets its reader upload."""
    secret = os.environ.get(KEY, "").strip()
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    return text.replace(secret, "…") if secret else text


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
