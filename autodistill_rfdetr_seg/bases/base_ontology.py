"""What a base may be given as its ontology, made one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.errors import UsageError

if TYPE_CHECKING:
    from autodistill.detection import CaptionOntology


def ontology_of(given: CaptionOntology | Mapping[str, str], example: str = '{"a dog": "dog"}') -> CaptionOntology:
    """A `CaptionOntology` of a plain mapping, prompt → class; anything else as it is. `example` is shown where it is
    empty.

    Raises:
        UsageError: the mapping is empty.
    """
    from autodistill.detection import CaptionOntology

    if not isinstance(given, Mapping):
        return given
    if not given:
        raise UsageError("The ontology is empty.", f"Give at least one prompt, such as {example}.")
    return CaptionOntology(dict(given))
