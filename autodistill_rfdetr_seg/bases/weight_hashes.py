"""Hashes of weights, so that other weights at the same path are another base."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.file_hash import file_sha256

# What a folder of weights holds: files of weights, and those that say how to read them.
_WEIGHTS = frozenset((".onnx", ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".engine", ".tflite", ".pb", ".npz"))
_BESIDE = frozenset((".json", ".yaml", ".yml", ".txt", ".data", ".onnx_data"))


def weights_sha256(path: Path) -> str:
    """The SHA-256 of a file, hex, computed once while its size and time stay; of an ONNX file together with the data
    that it keeps beside itself (`model.onnx.data`, `model.onnx_data`, `model.data`).

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix.lower() != ".onnx":
        return _known_sha256(path)
    names = (f"{path.name}.data", f"{path.name}_data", f"{path.stem}.data")
    beside = [one for one in map(path.with_name, names) if one.is_file()]
    return _joined([path, *beside]) if beside else _known_sha256(path)


def with_hashes(args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with each text that names a file, or a folder with weights in it, as `{"sha256": …}` in its place.

    Only a text with a suffix or a slash may name one: a prompt is none because a file happens to be called so.

    Raises:
        DataError: a file cannot be read.
    """
    return {name: _hashed(value) for name, value in args.items()}


def _hashed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_hashed(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _hashed(one) for name, one in value.items()}
    if not isinstance(value, str | Path):
        return value
    path = Path(value).expanduser()
    try:
        if (path.suffix or "/" in str(value) or "\\" in str(value)) and path.is_file():
            return {"sha256": weights_sha256(path)}
        files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else []
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return value
    if not any(one.suffix.lower() in _WEIGHTS for one in files):
        return value
    return {"sha256": _joined([one for one in files if one.suffix.lower() in _WEIGHTS | _BESIDE])}


def _joined(files: Sequence[Path]) -> str:
    told = [(one.name, _known_sha256(one)) for one in files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _known_sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@functools.cache
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return file_sha256(path)
