from __future__ import annotations

import re

import pytest
import transformers

from autodistill_rfdetr_seg.bases.grounding.grounding_captions import (
    NOBODY,
    Caption,
    Marks,
    clean,
    distinct,
    pack,
    token_ids,
)
from autodistill_rfdetr_seg.core.errors import UsageError
from helpers.tiny_dino import vocabulary

TOKENIZER = transformers.BertTokenizer(vocab=vocabulary())
MARKS = Marks.from_tokenizer(TOKENIZER)


def ids_of(prompt: str, limit: int = 256) -> tuple[int, ...]:
    return token_ids(prompt, lambda text: TOKENIZER(text, add_special_tokens=False)["input_ids"], MARKS, limit)


def split(caption: Caption) -> list[tuple[int, ...]]:
    """The phrases of a caption as its separators part them."""
    phrases: list[list[int]] = [[]]
    for token in caption.ids[1:-1]:
        if token == MARKS.separator:
            phrases.append([])
        else:
            phrases[-1].append(token)
    assert phrases.pop() == []
    return [tuple(phrase) for phrase in phrases]


def test_marks_are_the_tokenizers() -> None:
    assert (MARKS.start, MARKS.end, MARKS.separator, MARKS.padding, MARKS.unknown) == (101, 102, 1012, 0, 100)
    assert MARKS.reserved == {0, 101, 102, 1012, 1029}


def test_a_caption_is_what_the_tokenizer_makes_of_the_text() -> None:
    prompts = ["a Cat", "remote  controls.", "thing 12"]
    (caption,) = pack(dict(enumerate(map(ids_of, prompts))), MARKS, 256)
    assert list(caption.ids) == TOKENIZER("a cat. remote controls. thing 12.")["input_ids"]
    # [CLS] a cat . remote control ##s . thing 1 ##2 . [SEP]
    assert caption.owners == (-1, 0, 0, -1, 1, 1, 1, -1, 2, 2, 2, -1, -1)


@pytest.mark.parametrize("limit", [8, 21, 64, 256])
def test_a_long_list_is_split_and_nothing_is_lost(limit: int) -> None:
    prompts = {n: ids_of(f"red thing {n}" if n % 3 else f"thing {n}", limit) for n in range(100)}
    captions = pack(prompts, MARKS, limit)
    assert all(len(caption.ids) == len(caption.owners) <= limit for caption in captions)
    told = []
    for caption in captions:
        owners = [owner for n, owner in enumerate(caption.owners) if owner not in (NOBODY, caption.owners[n - 1])]
        told += list(zip(owners, split(caption), strict=True))
    assert sorted(told) == sorted(prompts.items())
    # As few as fit: even the best packing needs at least the sum of tokens; here there is at most one more.
    tokens = sum(len(ids) + 1 for ids in prompts.values())
    assert len(captions) <= -(-tokens // (limit - 2)) * (1 if limit > 8 else 2) + 1


def test_a_later_prompt_fills_a_gap() -> None:
    prompts = {0: (1,) * 4, 1: (2,) * 5, 2: (3,) * 2}
    assert [set(caption.owners) - {NOBODY} for caption in pack(prompts, MARKS, 10)] == [{0, 2}, {1}]


def test_apart_each_prompt_has_its_caption() -> None:
    captions = pack({3: ids_of("a cat"), 7: ids_of("dog")}, MARKS, 256, together=False)
    assert [caption.owners for caption in captions] == [(-1, 3, 3, -1, -1), (-1, 7, -1, -1)]


def test_clean() -> None:
    assert clean("  A  Red\tDOG. ") == "a red dog"
    assert clean("a dog?") == "a dog"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "is empty"),
        (" . ", "is empty"),
        ("a cat. a dog", "holds a '.'"),
        ("dog? cat", "holds a '.', a '?'"),
        ("犬", "knows no word"),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_refused(prompt: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        ids_of(prompt)
    assert caught.value.hint


def test_a_prompt_that_does_not_fit_is_refused_and_one_that_just_fits_is_not() -> None:
    assert len(ids_of("cat " * 7, limit=10)) == 7
    with pytest.raises(UsageError, match="is 8 tokens long, and the model takes 7"):
        ids_of("cat " * 8, limit=10)


def test_the_first_of_equal_prompts_answers() -> None:
    prompts = ["Dog", "cat", "dog."]
    ids = [ids_of(prompt) for prompt in prompts]
    assert distinct(prompts, ids, ["dog", "cat", "dog"], [0.3] * 3) == [0, 1]
    with pytest.raises(UsageError, match="'Dog' and 'dog\\.' are the same to the model"):
        distinct(prompts, ids, ["dog", "cat", "wolf"], [0.3] * 3)
    with pytest.raises(UsageError, match="not for the same class"):
        distinct(prompts, ids, ["dog", "cat", None], [0.3] * 3)
