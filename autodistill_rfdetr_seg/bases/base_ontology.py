"""The ontology of a base, from any form that a user may give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.errors import UsageError

if TYPE_CHECKING:
    from autodistill.detection import CaptionOntology


def ontology_of(given: CaptionOntology | Mapping[str, str], example: str = '{"a dog": "dog"}') -> CaptionOntology:
    """A `CaptionOntology` for a plain mapping, prompt → class; anything else is returned unchanged. `example` is in the
    hint for an empty one.

    Raises:
        UsageError: the mapping is empty.
    """
    from autodistill.detection import CaptionOntology

    if not isinstance(given, Mapping):
        return given
    if not given:
        raise UsageError("The ontology is empty.", f"Give at least one prompt, such as {example}.")
    return CaptionOntology(dict(given))
