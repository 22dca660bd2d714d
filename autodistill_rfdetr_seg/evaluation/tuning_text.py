"""A tuning as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.config import RefineConfig
from ..core.plain_text import counted, short_list, table
from .label_tuning import LabelTuning, PromptWorth, value_of
from .rule_search import Gain, Trial


def tuning_text(found: LabelTuning) -> str:
    """Every rule that was tried with its gain, what was taken, the gain of all together, and what prompts add."""
    lines = []
    for number, step in enumerate(found.search.steps, start=1):
        rows = [_row(one) for one in step]
        lines += [f"step {number}", table(["rule", "best value", "F1 there", "gain", "interval", ""], rows), ""]
    if found.changed:
        lines.append(
            f"F1 of the labels on {counted(found.images, 'gold image')}: {found.search.start_f1:.3f} before, "
            f"{found.search.f1:.3f} after (a little too good, as the rules were chosen on these images)."
        )
        lines.append(f"gain of all changes in images they were not chosen on: {_with_interval(found.gain)}")
        if found.gain.low <= 0:
            lines.append("This interval holds 0: the gain of all changes together is not certain.")
    else:
        lines.append(
            f"F1 of the labels: {found.search.start_f1:.3f}. No change has a gain above chance: none is taken."
        )
    if found.left_out:
        names = short_list(found.left_out)
        lines.append(f"The gold set has no object of {names}: labels of such classes counted neither right nor wrong.")
    lines.append(
        "Gains are of F1 at mask IoU 0.5 over all classes, in images that the value was not chosen on. Intervals allow "
        "for all values that were tried in a step: where none helps, one is taken with probability 5% at most. They "
        "assume images that are drawn independently of each other."
    )
    return "\n".join([*lines, *_prompt_lines(found.prompts)])


def _row(one: Trial[RefineConfig]) -> list[str]:
    value = "as it is" if one.setting is None else _short(value_of(one.setting, one.rule))
    interval = f"{one.gain.low:+.3f} … {one.gain.high:+.3f}"
    return [one.rule, value, f"{one.f1:.3f}", f"{one.gain.value:+.3f}", interval, "taken" if one.taken else ""]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()


def _with_interval(gain: Gain) -> str:
    return f"{gain.value:+.3f} ({gain.low:+.3f} … {gain.high:+.3f})"


def _prompt_lines(prompts: Sequence[PromptWorth]) -> list[str]:
    if not prompts:
        return []
    rows = [[one.prompt, one.class_name, str(one.labels), _with_interval(one.gain), _verdict(one)] for one in prompts]
    return [
        "",
        "what a prompt adds beside the others of its class",
        table(["prompt", "class", "labels", "F1", ""], rows),
    ]


def _verdict(one: PromptWorth) -> str:
    return "earns its place" if one.gain.low > 0 else "does harm" if one.gain.high < 0 else "not certain"
