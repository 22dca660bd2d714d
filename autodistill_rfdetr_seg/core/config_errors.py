"""pydantic's errors as one sentence with a hint."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from .errors import UnknownNameError, UsageError

# In the location of an error, pydantic names a form of the value, such as a number or a mapping of numbers.
_FORM = re.compile(r"constrained-\w+|\w+\[.+\]")


def usage_error(error: ValidationError, model: type[BaseModel], where: str) -> UsageError:
    """The first error of a validation; for an unknown key, the nearest known one is suggested.

    Args:
        model: what the data was validated as.
        where: what the data is, for the message, such as a file's path.
    """
    # An unknown key is likely a typing error of a key that is missing: it says more, so it is reported first.
    complaints = error.errors()
    first = min(complaints, key=lambda one: one["type"] != "extra_forbidden")
    keys = [str(part) for part in first["loc"]]
    form = next((at for at, key in enumerate(keys) if _FORM.fullmatch(key)), None)
    if form is not None:
        # Each form that the value may have reports an error; the form that was meant gets deepest into the value.
        same = [one for one in complaints if one["loc"][:form] == first["loc"][:form]]
        first = max(same, key=lambda one: len(one["loc"]))
        keys = [str(part) for at, part in enumerate(first["loc"]) if at != form]
    dotted = ".".join(keys)
    if first["type"] == "extra_forbidden":
        owner: Any = model
        for key in keys[:-1]:
            owner = owner.model_fields[key].annotation
        return UnknownNameError(f"option in {where}:", dotted.rpartition(".")[2], owner.model_fields)
    if first["type"] == "missing":
        return UsageError(f"The option {dotted!r} is missing from {where}.")
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"Option {dotted!r} in {where}: {message[0].lower()}{message[1:]} (got {first.get('input')!r}).")
