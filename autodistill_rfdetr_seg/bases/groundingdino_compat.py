"""Grounding DINO of rf-groundingdino beside transformers 5, which dropped what its text encoder is built on.

Its `BertModelWarper` runs the parts of transformers' `BertModel` by hand, through three methods that transformers 5 no
longer has and through arguments that changed since; autodistill-grounded-sam takes the failure for missing weights
(https://github.com/IDEA-Research/GroundingDINO/issues/446, https://github.com/huggingface/transformers/pull/41076).
Here that one class is given another way to the same numbers: `BertModel`'s own `forward`, with the (batch, tokens,
tokens) mask made the additive (batch, 1, tokens, tokens) one that transformers takes as it is. Nothing of transformers
changes, and nothing of groundingdino is imported for it: the class is mended when its module is loaded, by whomever.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from packaging.version import Version

from ..core.errors import DependencyError
from ..system.versions import ReleaseRange

TESTED = ReleaseRange("transformers", "5.1", "5.25")
_MODULE = "groundingdino.models.GroundingDINO.bertwarper"


def install() -> None:
    """Mends groundingdino when it is imported, or now if it is already. Safe to call again."""
    if _MODULE in sys.modules:
        _mend(sys.modules[_MODULE])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def check() -> None:
    """Raises DependencyError where groundingdino would not work with the installed transformers."""
    if _transformers().major >= 5 and TESTED.installed() != "tested":
        raise DependencyError(
            f"Grounding DINO of rf-groundingdino has not been tested with transformers {_transformers()}.",
            f"pip install 'transformers{TESTED.requirement}'",
        )


def _transformers() -> Version:
    return Version(metadata.version("transformers"))


class _Finder:
    """Finds the one module as Python does, and has it mended after it has run."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _mend(module)


def _mend(module: Any) -> None:
    """Replaces two methods of the class, not the class: other modules hold it by name."""
    if _transformers().major >= 5:
        module.BertModelWarper.__init__ = _init
        module.BertModelWarper.forward = _forward


def _init(self: Any, bert_model: Any) -> None:
    import torch

    # Not when it is mended: importing our package must not fail over a part that is perhaps never used.
    check()
    torch.nn.Module.__init__(self)
    # The names are those of the checkpoint's weights.
    self.config = bert_model.config
    self.embeddings = bert_model.embeddings
    self.encoder = bert_model.encoder
    self.pooler = bert_model.pooler
    # A bound method is no submodule: the parts, shared with it, are moved and loaded under the names above.
    self.run = bert_model.forward


def _forward(self: Any, input_ids: Any, attention_mask: Any = None, **inputs: Any) -> Any:
    if attention_mask is not None:
        attention_mask = additive(attention_mask, self.embeddings.word_embeddings.weight.dtype)
    return self.run(input_ids=input_ids, attention_mask=attention_mask, **{**inputs, "return_dict": True})


def additive(mask: Any, dtype: Any) -> Any:
    """A mask (batch, keys) or (batch, queries, keys), true or 1 where to attend, as the tensor (batch, 1, 1 or queries,
    keys) of `dtype` that is added to the attention: 0 there, the type's lowest number elsewhere."""
    import torch

    if mask.dim() == 2:
        mask = mask[:, None]
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask.bool(), torch.finfo(dtype).min)[
        :, None
    ]
