"""Feeds thousands of damaged inputs to the readers of images and of COCO files.

    python benchmarks/fuzz_readers.py [--inputs 2000] [--seed 0] [--kinds png coco]

Every input must be read, or refused with a `DataError`. Any other exception, an input that takes more than 10 seconds,
and a process that grows by more than 1 GB are faults. They are printed with the seed that reproduces them, and the exit
code is 1.
"""

from __future__ import annotations

import argparse
import collections
import copy
import functools
import io
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.images.image_decoding import decode

SECONDS = 10
MEGABYTES = 1024
# (text in the message, name in the table); the first match counts
IMAGE_REASONS = (
    ("0 bytes", "empty"),
    ("known format", "unknown format"),
    ("too many pixels", "too many pixels"),
    ("truncated", "truncated"),
    ("", "undecodable"),
)


def _noise(channels: int, dtype: Any = np.uint8) -> np.ndarray:
    top = int(np.iinfo(dtype).max)
    return np.random.default_rng(channels).integers(0, top, (24, 32, channels)).astype(dtype)


def _saved(form: str, pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if options.pop("cmyk", False):
        image = image.convert("CMYK")
    if options.pop("palette", False):
        image = image.convert("P")
    turned = options.pop("turned", None)
    if turned:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turned
    if options.get("save_all"):
        options["append_images"] = [image.rotate(90 * i) for i in range(1, 3)]
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _deep_color() -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", _noise(3, np.uint16))[1].tobytes())


@functools.cache
def whole_images() -> dict[str, bytes]:
    """A valid file of every kind that the reader supports; HEIC only if its plug-in is installed."""
    found = {
        "jpeg": _saved("JPEG", _noise(3), turned=6),
        "jpeg progressive": _saved("JPEG", _noise(3), progressive=True),
        "jpeg cmyk": _saved("JPEG", _noise(3), cmyk=True),
        "jpeg mpo": _saved("MPO", _noise(3), save_all=True),
        "png": _saved("PNG", _noise(3), turned=3),
        "png alpha": _saved("PNG", _noise(4)),
        "png palette": _saved("PNG", _noise(3), palette=True),
        "png 16-bit gray": _saved("PNG", _noise(1, np.uint16)),
        "png 16-bit": _deep_color(),
        "png animated": _saved("PNG", _noise(3), save_all=True),
        "webp": _saved("WEBP", _noise(3), turned=8),
        "webp animated": _saved("WEBP", _noise(3), save_all=True, lossless=True),
        "tiff": _saved("TIFF", _noise(3), turned=5),
        "tiff lzw": _saved("TIFF", _noise(3), compression="tiff_lzw"),
        "tiff pages": _saved("TIFF", _noise(3), save_all=True),
        "tiff 16-bit gray": _saved("TIFF", _noise(1, np.uint16), turned=6),
        "bmp": _saved("BMP", _noise(3)),
        "gif": _saved("GIF", _noise(3)),
        "gif animated": _saved("GIF", _noise(3), save_all=True),
        "avif": _saved("AVIF", _noise(3), turned=7),
    }
    try:
        import pillow_heif
    except ImportError:
        return found
    pillow_heif.register_heif_opener()
    return found | {"heic": _saved("HEIF", _noise(3))}


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """A damaged copy of a file: bytes changed (mostly in the header), huge numbers, parts deleted or repeated."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        at = int(len(data) * rng.random() ** rng.choice((1, 1, 4)))
        kind = rng.randrange(6)
        if kind <= 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            size = rng.choice((2, 4))
            data[at : at + size] = rng.choice((b"\xff", b"\x00", b"\x7f", b"\x80")) * size
        elif kind == 4:
            del data[at : at + rng.choice((1, 2, 7, 64, len(data)))]
        else:
            part = data[at : at + rng.choice((1, 4, 32))]
            data[at:at] = part * rng.choice((1, 2, 50))
    return bytes(data)


def document() -> dict[str, Any]:
    """A valid COCO file with every form of mask."""
    square = [2.0, 3.0, 8.0, 3.0, 8.0, 9.0, 2.0, 9.0]
    rle = {"size": [12, 16], "counts": [27, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 99]}
    row = {"image_id": 7, "category_id": 90, "iscrowd": 0, "area": 36, "bbox": [2, 3, 6, 6]}
    return {
        "info": {"description": "made"},
        "categories": [{"id": 90, "name": "zebra", "supercategory": "animal"}, {"id": 1, "name": "ox"}],
        "images": [
            {"id": 7, "file_name": "b.png", "height": 12, "width": 16},
            {"id": 3, "file_name": "sub/a.png", "height": 12, "width": 16},
        ],
        "annotations": [
            {"id": 1, **row, "segmentation": [list(square)]},
            {"id": 2, **row, "segmentation": rle},
            {"id": 3, **row, "segmentation": {"size": [12, 16], "counts": "k066000000000m2"}, "iscrowd": 1},
            {"id": 4, **row, "segmentation": [list(square), list(square)], "image_id": 3},
        ],
    }


_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 7, 90, 12, 16, -0.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"),
    2**15, 2**15 + 1, 2**31, 2**63, -(2**70), 10**30, 10**400, "", " ", "x", "7", "zebra", "\ud800", "\0", "é" * 300,
    "../../etc/passwd", "/etc/passwd", "C:\\x.png", "a/../../b.png", "..", ".", "sub\\..\\..\\c.png", "b.png",
    "a\0b", "x" * 5000, [], {}, [[]], [1, 2, 3], [[1, 2, 3, 4, 5]], [[[[[[]]]]]], {"size": [1, 1], "counts": "0"},
    {"size": [2**20, 2**20], "counts": "o" * 13}, {"size": [-1, 4], "counts": [4]},
)  # fmt: skip
_COUNTS: tuple[Any, ...] = (
    "", "0", "k", "o" * 40, "~~~", "`" * 9, "k066000000000g2" * 3, "k06600000000", [192], [0, 192], [193], [-1, 193],
    [2**31, -(2**31) + 192], [2**62, 2**62], [1.5, 190.5], [True] * 192, [[1]], [10**30], [0] * 1000 + [192],
)  # fmt: skip


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    found = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *_places(value[key])]
    return found


def _objects(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = data.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def bad_document(rng: random.Random) -> bytes:
    """A COCO file with a few errors in its structure, numbers, names, run lengths or text."""
    data = document()
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        places = _places(data)
        if not places:
            break
        container, key = rng.choice(places)
        kind = rng.randrange(10)
        if kind <= 3:
            container[key] = copy.deepcopy(rng.choice(_SCALARS))
        elif kind == 4:
            del container[key]
        elif kind == 5:
            container[key] = copy.deepcopy(rng.choice(places)[0])
        elif kind == 6 and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        elif kind == 7:
            masks = _objects(data, "annotations")
            if masks:
                rng.choice(masks)["segmentation"] = {"size": [12, 16], "counts": rng.choice(_COUNTS)}
        elif kind == 8:
            sides = _objects(data, "images")
            if sides:
                rng.choice(sides)[rng.choice(("height", "width"))] = rng.choice((0, -5, 1, 2**15, 2**31, 10**30, 1.5))
        elif kind == 9:
            polygon = [rng.choice((0.0, 3, 16, -16, 31.9, 1e9, -1e308, 2**60)) for _ in range(rng.randrange(12))]
            container[key] = [polygon]
    return _bad_text(data, rng)


def _bad_text(data: Any, rng: random.Random) -> bytes:
    limit = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0
    assert limit == 0 or limit > 401
    text = json.dumps(data)
    kind = rng.randrange(12)
    if kind == 0:
        return damaged(text.encode(), rng)
    if kind == 1:
        key = rng.choice(("id", "image_id", "file_name", "counts", "annotations", "height"))
        return text.replace(f'"{key}":', f'"{key}": {rng.choice(("1", "[]", "null"))}, "{key}":').encode()
    if kind == 2:
        deep = rng.choice((50, 500, 5000, 100_000))
        opened, closed = rng.choice((("[", "]"), ('{"a":', "}")))
        nested = opened * deep + "1" + closed * deep
        return text.replace('"bbox":', f'"bbox": {nested}, "old":', 1).encode()
    if kind == 3:
        return text.replace("36", rng.choice(("1" * 5000, "1e999", "-Infinity", "0x24", "036")), 1).encode()
    if kind == 4:
        return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
    return text.encode()


def refusal(read: Callable[[], object]) -> str | None:
    """The message of a `DataError`, or None if the input was read; other exceptions are raised."""
    try:
        read()
    except DataError as error:
        return error.message
    return None


def image_input(kind: str, rng: random.Random) -> Callable[[], object]:
    """A function that reads a damaged image."""
    data = damaged(whole_images()[kind], rng)

    def read() -> None:
        pixels, suffix, frames = decode(data, "an image")
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert frames >= 1
        assert pixels.shape[2] == 3
        assert suffix in (None, ".jpg", ".png", ".bmp", ".webp")

    return read


def coco_input(folder: Path, rng: random.Random) -> Callable[[], object]:
    """A function that reads a damaged COCO file; `validate` must find an error exactly if the reader refuses it."""
    path = folder / "bad.json"
    path.write_bytes(bad_document(rng))

    def read() -> None:
        refused = any(problem.severity == "error" for problem in coco.validate(path, False))
        try:
            truth = coco.read(path)
        except DataError:
            assert refused
            raise
        assert not refused
        for image in truth.images:
            assert image.path.resolve().is_relative_to(folder.resolve())

    return read


def coco_reason(message: str) -> str:
    """The subject of a refusal of a COCO file."""
    text = re.sub(r"^.*?bad\.json(, image id -?\d+)?(, annotation id -?\d+)?: ", "", message)
    named = re.search(r"`(\w+)", text)
    return f"`{named[1]}`" if named else " ".join(text.split()[:4])


def image_reason(message: str) -> str:
    """The subject of a refusal of an image."""
    return next(name for text, name in IMAGE_REASONS if text in message)


class _TooSlow(Exception):
    pass


def _check_valid() -> None:
    """Checks that the undamaged inputs are valid: otherwise a refusal means nothing."""
    for kind, data in whole_images().items():
        decode(data, kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "valid.json")
        path.write_text(json.dumps(document()), encoding="utf-8")
        coco.read(path)


def _raise_too_slow(*_: object) -> None:
    raise _TooSlow


def peak_mb() -> float:
    """The peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(kind: str, inputs: int, seed: int) -> tuple[collections.Counter[str], list[str], float, float]:
    """Counts of refusals by reason (and of "read"), faults, the seconds of the slowest input, and the growth in MB."""
    found: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    slowest = 0.0
    before = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(inputs):
            rng = random.Random(f"{kind} {seed} {number}")
            read = coco_input(Path(folder), rng) if kind == "coco" else image_input(kind, rng)
            started = time.perf_counter()
            signal.alarm(SECONDS)
            try:
                message = refusal(read)
                reason = coco_reason if kind == "coco" else image_reason
                found["read" if message is None else reason(message)] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                faults.append(f"{kind}, seed {seed}, input {number}: {type(error).__name__} {error}")
            finally:
                signal.alarm(0)
            slowest = max(slowest, time.perf_counter() - started)
    grown = peak_mb() - before
    if grown > MEGABYTES:
        faults.append(f"{kind}: the process grew by {grown:.0f} MB")
    return found, faults, slowest, grown


def main() -> int:
    """Prints the table."""
    kinds = [*whole_images(), "coco"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=2000, help="inputs of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, metavar="KIND")
    args = parser.parse_args()
    signal.signal(signal.SIGALRM, _raise_too_slow)
    _check_valid()
    # The C libraries used by Pillow print a line to stderr for every error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    print(f"{'kind':<18}{'inputs':>8}{'read':>8}{'refused':>9}{'faults':>8}{'slowest s':>11}{'grew MB':>9}  reasons")
    all_faults = []
    for kind in args.kinds:
        found, faults, slowest, grown = run(kind, args.inputs, args.seed)
        all_faults += faults
        read = found.pop("read", 0)
        reasons = ", ".join(f"{name} {count}" for name, count in found.most_common(12))
        line = f"{kind:<18}{args.inputs:>8}{read:>8}{found.total():>9}{len(faults):>8}{slowest:>11.2f}{grown:>9.0f}"
        print(f"{line}  {reasons}", flush=True)
    for fault in all_faults[:100]:
        print(fault)
    return 1 if all_faults else 0


if __name__ == "__main__":
    sys.exit(main())
