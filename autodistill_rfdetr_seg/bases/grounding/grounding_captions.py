"""Prompts packed into captions for a detector of the Grounding DINO family, by token ids. Pure.

Such a model is asked with one text, `[CLS] a cat . a dog . [SEP]`, and scores every box against every token of it. A
`Caption` is the ids of such a text and the *owner* of each token: the prompt it is of, or `NOBODY` for what stands
between prompts. Nothing is ever cut off: what does not fit goes into a further caption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import UsageError

NOBODY = -1
# Of the tokens around a prompt that is alone: the start, its separator, the end.
_AROUND = 3

Tokenize = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Marks:
    """A tokenizer's ids for what stands around prompts (`[CLS]`, `[SEP]`, `.`), behind a caption (`[PAD]`) and for
    words it does not know, and those that no prompt may hold."""

    start: int
    end: int
    separator: int
    padding: int
    unknown: int
    reserved: frozenset[int]

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> Marks:
        """Those of a BERT tokenizer of transformers. The model parts prompts at a question mark, too."""
        separator, question = tokenizer.convert_tokens_to_ids([".", "?"])
        start, end, padding = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
        unknown = tokenizer.unk_token_id
        reserved = frozenset((start, end, padding, separator, question)) - {unknown}
        return cls(start, end, separator, padding, unknown, reserved)


@dataclass(frozen=True)
class Caption:
    """The ids of a text and, for each, the index of its prompt or `NOBODY`."""

    ids: tuple[int, ...]
    owners: tuple[int, ...]


def clean(prompt: str) -> str:
    """A prompt as it is asked: lower case, single spaces, no full stop or question mark at its end."""
    return " ".join(prompt.lower().split()).rstrip(" .?")


def token_ids(prompt: str, tokenize: Tokenize, marks: Marks, limit: int) -> tuple[int, ...]:
    """The ids of one prompt, without marks; `tokenize` gives a text's ids without special tokens.

    Raises:
        UsageError: there is nothing in it, it holds what parts prompts, no word of it is known, or it does not fit into
            a caption of `limit` tokens by itself.
    """
    ids = tuple(tokenize(clean(prompt)))
    if not ids:
        raise UsageError(f"The prompt {prompt!r} is empty.", "Say what to look for, such as 'a dog'.")
    if marks.reserved.intersection(ids):
        raise UsageError(
            f"The prompt {prompt!r} holds a '.', a '?' or a mark of the tokenizer, which part prompts in this model.",
            "Leave it out ('dr pepper'), or make each part a prompt of its own.",
        )
    if all(token == marks.unknown for token in ids):
        raise UsageError(f"The model knows no word of the prompt {prompt!r}.", "Say it in plain English words.")
    if len(ids) + _AROUND > limit:
        raise UsageError(
            f"The prompt {prompt!r} is {len(ids)} tokens long, and the model takes {limit - _AROUND}.",
            "Say it in fewer words.",
        )
    return ids


def distinct(
    prompts: Sequence[str],
    ids: Sequence[tuple[int, ...]],
    classes: Sequence[str | None],
    thresholds: Sequence[float],
) -> list[int]:
    """The indices of the prompts to ask: of those that come to the same tokens the first, which answers for all.

    `classes` says what each prompt is for, None for one that is to find nothing.

    Raises:
        UsageError: the same tokens are for two classes, or have two thresholds.
    """
    first: dict[tuple[int, ...], int] = {}
    for index, tokens in enumerate(ids):
        other = first.setdefault(tokens, index)
        if classes[other] != classes[index]:
            raise UsageError(
                f"The prompts {prompts[other]!r} and {prompts[index]!r} are the same to the model, but are not for the "
                "same class.",
                "Leave one of them out.",
            )
        if thresholds[other] != thresholds[index]:
            raise UsageError(
                f"The prompts {prompts[other]!r} and {prompts[index]!r} are the same to the model, but have different "
                "thresholds.",
                "Leave one of them out, or give both the same.",
            )
    return list(first.values())


def pack(prompts: Mapping[int, Sequence[int]], marks: Marks, limit: int, *, together: bool = True) -> list[Caption]:
    """Captions of at most `limit` tokens that ask each prompt (index → its `token_ids`), one each unless `together`.

    Each prompt goes into the first caption that has room for it.
    """
    rooms: list[list[int]] = []
    spent: list[int] = []
    for index, ids in prompts.items():
        length = len(ids) + 1
        at = next((n for n, used in enumerate(spent) if together and used + length <= limit), len(rooms))
        if at == len(rooms):
            rooms.append([])
            spent.append(_AROUND - 1)
        rooms[at].append(index)
        spent[at] += length
    return [_caption(prompts, room, marks) for room in rooms]


def _caption(prompts: Mapping[int, Sequence[int]], room: Sequence[int], marks: Marks) -> Caption:
    ids, owners = [marks.start], [NOBODY]
    for index in room:
        ids += [*prompts[index], marks.separator]
        owners += [index] * len(prompts[index]) + [NOBODY]
    return Caption((*ids, marks.end), (*owners, NOBODY))
