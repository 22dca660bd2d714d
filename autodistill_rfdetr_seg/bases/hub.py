"""Foundation models of transformers: which weights, on what device, and how much at a time.

Weights are a folder on this machine or a model id of the hub with a revision; `HF_HUB_OFFLINE=1` keeps to what is in
the hub's cache. Only safetensors are read: nothing is unpickled, and no code that lies beside weights is run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import BaseModelError, DataError, DependencyError, MissingInputError, UsageError
from ..system.file_hash import file_sha256
from ..system.versions import ReleaseRange
from .model_weights import is_here

# What the bases and segmenters were run with.
TESTED = ReleaseRange("transformers", "5.12", "5.25")

_T = TypeVar("_T")
_R = TypeVar("_R")


def weights_identity(model: str, revision: str | None = None, default: str | None = None) -> dict[str, str]:
    """What names the weights: a hash over the files of a local folder, or model id and revision. Nothing is downloaded.

    `default` is the model id that the class uses by itself; it is never taken for a path.

    Raises:
        MissingInputError: `model` is written as a path, and there is no such folder.
        DataError: the folder holds no model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return {"sha256": _folder_hash(folder.resolve())}
    if model != default and _is_a_path(model, revision):
        raise MissingInputError(
            f"There is no folder of weights {model}.",
            "Give a folder, or a model id of the hub; where such an id begins with the name of a folder that is here, "
            "fetch it first with `hf download`.",
        )
    return {"model": model, "revision": revision or "main"}


def _is_a_path(model: str, revision: str | None) -> bool:
    """Whether what is no folder was meant as one; without a network the hub is asked for minutes."""
    first, _, rest = model.partition("/")
    if model.startswith((".", "/", "~")) or model.endswith("/") or "/" in rest or "\\" in model:
        return True
    if not rest or not Path(first).is_dir():
        return False
    return not is_here(f"{model}@{revision or ''}")


@functools.cache
def _folder_hash(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        raise DataError(f"The folder {folder} holds no model: there is no config.json in it.")
    names = sorted(p.name for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".txt", ".model"))
    return hashlib.sha256(json.dumps([(n, file_sha256(folder / n)) for n in names]).encode()).hexdigest()[:16]


def load(cls: Any, model: str, revision: str | None = None, **options: Any) -> Any:
    """`cls.from_pretrained` of a folder or a model id; errors come in one sentence.

    Raises:
        DependencyError: transformers is older than it may be.
        BaseModelError: the weights cannot be downloaded or read.
    """
    if TESTED.installed() == "older":
        raise DependencyError(
            f"The bases and segmenters of transformers need transformers {TESTED.oldest} or newer.",
            f"pip install 'transformers>={TESTED.oldest},<6'",
        )
    folder = Path(model).expanduser()
    local = folder.is_dir()
    # By default transformers asks at a terminal whether to run the Python files that lie beside the weights.
    options |= {"trust_remote_code": False} | ({} if local else {"revision": revision or "main"})
    try:
        with _no_loading_bar():
            return cls.from_pretrained(str(folder) if local else model, **options)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        said = str(error).strip().splitlines()
        at = "" if local or revision is None else f", revision {revision}"
        fetch = f"hf download {model}" + (f" --revision {revision}" if at else "")
        raise BaseModelError(
            f"{cls.__name__} could not be loaded from {model}{at}: {said[0] if said else type(error).__name__}",
            "A folder must hold a model and its processor, as `save_pretrained` writes them; code in it is never run."
            if local
            else f"Without a network, give a local folder, or fill the hub's cache first (`{fetch}`) and set "
            "HF_HUB_OFFLINE=1.",
        ) from error


def load_config(model: str, revision: str | None, kinds: Sequence[str]) -> Any:
    """The configuration of weights, which are of one of `kinds`.

    Raises:
        UsageError: they are of another.
        DependencyError, BaseModelError: as `load`.
    """
    from transformers import AutoConfig

    config = load(AutoConfig, model, revision)
    if config.model_type not in kinds:
        raise UsageError(f"The weights {model} are of the kind {config.model_type}.", f"Known: {', '.join(kinds)}.")
    return config


def was_run() -> bool:
    """Whether the installed transformers is of the releases that were run: only of those are inner parts relied on."""
    return TESTED.installed() == "tested"


@contextlib.contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Without transformers' bar over weights that are here already; that of a download stays as it is set."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    shown, downloads_shown = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    if not shown:
        yield
        return
    # It switches both.
    logging.disable_progress_bar()
    try:
        if downloads_shown:
            enable_progress_bars()
        yield
    finally:
        logging.enable_progress_bar()
        if not downloads_shown:
            disable_progress_bars()


def load_model(cls: Any, model: str, revision: str | None, device: str, dtype: str) -> Any:
    """A model in evaluation mode on its device, from safetensors alone; `device` and `dtype` as resolved below."""
    import torch

    made = load(cls, model, revision, use_safetensors=True, dtype=getattr(torch, dtype))
    return made.to(device).eval()


def resolve_dtype(dtype: str, device: str) -> str:
    """`auto` as bfloat16 on a GPU that has it, float16 on another, float32 elsewhere.

    Raises:
        UsageError: it is none of auto, float32, float16, bfloat16.
    """
    import torch

    if dtype not in ("auto", "float32", "float16", "bfloat16"):
        raise UsageError(f"The data type {dtype!r} is not known.", "Give auto, float32, float16 or bfloat16.")
    if dtype != "auto":
        return dtype
    if not device.startswith("cuda"):
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


class Batches:
    """Goes through work of one kind as many items at a time as the device has the memory for.

    Where it ran out, half as many are taken, from there on and ever after: each further try would cost a failed pass.
    """

    def __init__(self) -> None:
        self._fits: int | None = None

    def run(self, work: Callable[[Sequence[_T]], Sequence[_R]], items: Sequence[_T], size: int) -> list[_R]:
        """`work` over `items`, at most `size` at a time.

        Raises:
            BaseModelError: one item alone is too much for the device.
        """
        import torch

        done: list[_R] = []
        while len(done) < len(items):
            batch = items[len(done) : len(done) + min(size, self._fits or size)]
            try:
                done += work(batch)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise BaseModelError(
                        "The device has too little memory for one image.", "Use a smaller model, or give it device=cpu."
                    ) from error
                self._fits = max(1, len(batch) // 2)
            else:
                continue
            # Not in the handler: the error holds the frames, and these the tensors.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return done
