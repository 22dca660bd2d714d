"""The explanation of a label as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..labels.stored_labels import HUMAN
from .explain_label import Explanation


def explanation_text(explanation: Explanation) -> str:
    """The label, the facts about it, every rule, and the instances it displaced."""
    e, base = explanation, explanation.base
    facts = _facts(e) if base is None else _facts(e) | _base_facts(e, base)
    lines = [f"{e.reference}  {e.class_name}", *(f"{name:<12}{value}" for name, value in facts.items())]
    if base is None:
        return "\n".join(lines)
    lines += ["", "rules"]
    lines += [f"  {step.rule:<15}{step.outcome:<9}{step.detail}".rstrip() for step in e.steps]
    lines += ["", "displaced" if e.displaced else "displaced   nothing"]
    lines += [
        f"  {d.class_name} {d.score:.3f}  {d.reason}  IoU {d.iou:.2f}, {d.share_of_smaller:.2f} of the smaller mask"
        for d in e.displaced
    ]
    return "\n".join(lines)


def _facts(e: Explanation) -> dict[str, str]:
    image = e.image
    scores = {"mask score": e.mask_score, "stability": e.stability}
    other_scores = "".join(f", {name} {value:.3f}" for name, value in scores.items() if value is not None)
    return {
        "image": f"{image['path']}  ({image['width']} x {image['height']} pixels)",
        "file": image["file"],
        "in dataset": image["dataset_file"],
        "sha256": image["sha256"],
        "source": _source(e),
        "score": f"{e.score:.3f}{other_scores}",
        "area": f"{e.area} pixels",
    }


def _base_facts(e: Explanation, base: Mapping[str, Any]) -> dict[str, str]:
    weights = base["weights"]
    return {
        "prompt": "unknown" if e.prompt is None else repr(e.prompt),
        "base": f"{base['name']}  (fingerprint {base['fingerprint']})",
        "arguments": ", ".join(f"{name}={value!r}" for name, value in base["args"].items()) or "none",
        "weights": ", ".join(f"{name} {value}" for name, value in weights.items()) if weights else "hash unknown",
        "versions": ", ".join(f"{name} {version}" for name, version in base["versions"].items()),
        "area": f"{e.raw_area} pixels from the base, {e.area} kept",
    }


def _source(e: Explanation) -> str:
    if e.source == HUMAN:
        return "a person, imported"
    return f"{e.source}, in an image that a person corrected" if e.by_person else e.source
