"""What the two readers of foreign data make of damaged and hostile files: images, and COCO JSON.

    python benchmarks/fuzz_readers.py [--tries 20000] [--seed 0]

Each file is a sound one with bytes changed, cut off or put in (images, JSON text), or with values and keys exchanged
(COCO). It is read, or refused with a DataError; anything else is a fault, printed with what led to it, and exit code 1.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autodistill_rfdetr_seg import read_coco
from autodistill_rfdetr_seg.errors import DataError
from autodistill_rfdetr_seg.images import decode

SCALARS: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2**31,
        2**63,
        10**30,
        -0.5,
        1e308,
        math.nan,
        math.inf,
        "",
        "x",
        "../../etc/passwd",
        "/etc/x",
    ),
    *("a\0b", "x" * 5000, [], {}, [[]], [[1, 2, 3]], [[1, 2, 3, 4, 5]], {"size": [1, 1], "counts": "0"}),
    *({"size": [2**20, 2**20], "counts": "ooooooooooooo"}, {"size": [-1, 4], "counts": [4]}, [1, 2, 3], [[[[[[]]]]]]),
)


def images() -> dict[str, bytes]:
    """A small sound file of each format and of its harder kinds."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    one = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "jpeg": (one, {"format": "JPEG", "exif": exif}),
        "jpeg progressive": (one, {"format": "JPEG", "progressive": True}),
        "jpeg cmyk": (one.convert("CMYK"), {"format": "JPEG"}),
        "png": (one, {"format": "PNG"}),
        "png 16 bit": (deep, {"format": "PNG"}),
        "png palette": (one.convert("P"), {"format": "PNG"}),
        "webp": (one, {"format": "WEBP"}),
        "tiff": (one, {"format": "TIFF", "compression": "tiff_lzw"}),
        "gif": (one, {"format": "GIF", "save_all": True, "append_images": [one.rotate(90)]}),
        "bmp": (one, {"format": "BMP"}),
        "avif": (one, {"format": "AVIF"}),
    }
    found = {}
    for kind, (image, options) in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, **options)
        found[kind] = buffer.getvalue()
    return found


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few changed, put in or taken out, or cut off."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out)) if out else 0
        match rng.randrange(5):
            case 0 | 1:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                out[at:at] = rng.randbytes(rng.randint(1, 8))
            case 3:
                del out[at : at + rng.randint(1, 16)]
            case 4:
                out[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"])
    return bytes(out[: rng.randint(0, len(out))] if rng.random() < 0.2 else out)


COCO = {
    "info": {},
    "categories": [{"id": 1, "name": "a"}, {"id": 7, "name": "b", "supercategory": "a"}],
    "images": [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 24} for i in range(3)],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
        | {"segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]},
        {"id": 2, "image_id": 1, "category_id": 7, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 1}
        | {"segmentation": {"size": [24, 20], "counts": [10, 4, 466]}},
        {
            "id": 3,
            "image_id": 2,
            "category_id": 1,
            "segmentation": {"size": [24, 20], "counts": "S36b00000000000000m5"},
            "score": 0.5,
        },
    ],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


PLACES = [path for path in places(COCO) if path]


def exchanged(rng: random.Random) -> bytes:
    """The COCO document with up to four values replaced, removed, or copied to another place."""
    data: Any = copy.deepcopy(COCO)
    for _ in range(rng.randint(1, 4)):
        *path, last = rng.choice(PLACES)
        try:
            target = data
            for key in path:
                target = target[key]
            match rng.randrange(4):
                case 0:
                    del target[last]
                case 1:
                    target[last] = copy.deepcopy(data)
                case _:
                    target[last] = copy.deepcopy(rng.choice(SCALARS))
        except (KeyError, IndexError, TypeError):
            continue
    return json.dumps(data).encode()


def nested(rng: random.Random) -> bytes:
    """Brackets beyond any parser's patience, and doubled keys."""
    deep = rng.choice([b"[", b'{"a":']) * rng.randint(1, 200_000)
    return rng.choice(
        [deep, b'{"images":' + deep, b'{"images": [], "images": ' + json.dumps(COCO["images"]).encode() + b"}"]
    )


def main() -> int:
    """Prints the table; 1 where something else than a reading or a refusal came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tries", type=int, default=20000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "_annotations.coco.json")

        def read(data: bytes) -> None:
            file.write_bytes(data)
            read_coco(file)

        text = json.dumps(COCO).encode()
        kinds: list[tuple[str, Callable[[random.Random], bytes], Callable[[bytes], Any], int]] = [
            (kind, lambda rng, whole=whole: damaged(whole, rng), lambda data: decode(data, "x"), args.tries)  # type: ignore[misc]
            for kind, whole in images().items()
        ]
        kinds += [
            ("coco bytes", lambda rng: damaged(text, rng), read, args.tries),
            ("coco values", exchanged, read, args.tries),
            ("coco nesting", nested, read, max(1, args.tries // 100)),
        ]
        print(f"{'kind':<18}{'tried':>8}{'read':>8}{'refused':>9}{'faults':>8}{'slowest ms':>12}  most refused because")
        faults = 0
        for kind, make, reader, tries in kinds:
            rng = random.Random(f"{args.seed} {kind}")
            ends: Counter[str] = Counter()
            reasons: Counter[str] = Counter()
            slowest = 0.0
            for _ in range(tries):
                data = make(rng)
                started = time.perf_counter()
                try:
                    reader(data)
                    ends["read"] += 1
                except DataError as error:
                    ends["refused"] += 1
                    reasons[" ".join(error.message.replace(str(file), "it").split()[1:7])] += 1
                except Exception as error:  # noqa: BLE001 - any of them is what is looked for
                    ends["faults"] += 1
                    print(f"fault: {kind}: {type(error).__name__}: {error}: {data[:200]!r}", file=sys.stderr)
                slowest = max(slowest, 1000 * (time.perf_counter() - started))
            faults += ends["faults"]
            row = f"{kind:<18}{tries:>8}{ends['read']:>8}{ends['refused']:>9}{ends['faults']:>8}{slowest:>12.0f}"
            print(f"{row}  {'; '.join(f'{reason} ({n})' for reason, n in reasons.most_common(2))}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
