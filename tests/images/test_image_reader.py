from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autodistill_rfdetr_seg.core.errors import DataError, MissingInputError
from autodistill_rfdetr_seg.images.image_decoding import decode
from autodistill_rfdetr_seg.images.image_discovery import discover
from autodistill_rfdetr_seg.images.image_opening import image_id, open_image, open_rgb

CORNERS = np.zeros((4, 6, 3), np.uint8)
CORNERS[0, 0] = (255, 0, 0)
CORNERS[0, -1] = (0, 255, 0)
CORNERS[-1, 0] = (0, 0, 255)


def saved(path: Path, mode: str = "RGB", **options: object) -> Path:
    Image.fromarray(CORNERS).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    # The picture as it should be seen, stored the way a camera held in that orientation stores it.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(undo[orientation](CORNERS))).save(path, exif=exif)
    opened = open_image(path)
    assert np.array_equal(opened.pixels, CORNERS)
    assert (opened.record.height, opened.record.width) == (4, 6)
    assert (opened.link_suffix == ".png") == (orientation == 1)


@pytest.mark.parametrize(
    ("mode", "suffix", "links"),
    [
        ("RGB", ".png", True),
        ("1", ".png", False),
        ("L", ".png", True),
        ("RGBA", ".png", False),
        ("P", ".png", False),
        ("RGB", ".bmp", True),
    ],
)
def test_modes(tmp_path: Path, mode: str, suffix: str, links: bool) -> None:
    opened = open_image(saved(tmp_path / f"image{suffix}", mode))
    expected = np.asarray(Image.fromarray(CORNERS).convert(mode).convert("RGB"))
    assert np.array_equal(opened.pixels, expected)
    assert (opened.link_suffix is not None) == links


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    grey = np.array([[0, 256, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert open_rgb(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 0, 255]


def test_wrong_suffix_is_put_right(tmp_path: Path) -> None:
    Image.fromarray(CORNERS).save(tmp_path / "photo.jpg", format="PNG")
    assert open_image(tmp_path / "photo.jpg").link_suffix == ".png"


def test_discover(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b/x.png", "a.PNG", "no_suffix", ".hidden/y.png", "Ünï cödé.png"):
        saved(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").write_text("BMW is not a bitmap")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in discover(tmp_path)]
    assert found == ["a.PNG", "b/x.png", "empty.jpg", "no_suffix", "Ünï cödé.png"]


@pytest.mark.parametrize("make", [lambda p: p / "gone", lambda p: p])
def test_discover_nothing(tmp_path: Path, make: object) -> None:
    with pytest.raises(MissingInputError) as error:
        discover(make(tmp_path))  # type: ignore[operator]
    assert error.value.hint


def test_refusals_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    for name, words in (("empty", "empty"), ("text", "known format"), ("torn", "decoded")):
        path = next(tmp_path.glob(f"{name}.*"))
        with pytest.raises(DataError, match=words) as error:
            open_rgb(path)
        assert str(path) in error.value.message


def test_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Packages of this ecosystem switch Pillow's own check off.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="over the limit of 178 megapixels"):
        decode(bomb, "bomb.png")


def test_a_png_cannot_hold_more_than_deflate_packs() -> None:
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2000, 3000, 3), np.uint8)).save(buffer, "PNG", compress_level=9)
    sound = buffer.getvalue()
    assert len(sound) < 3 * 2000 * 3000 / 900
    assert decode(sound, "black.png").pixels.shape == (2000, 3000, 3)
    header = sound[12:16] + struct.pack(">II", 13000, 13000) + sound[24:29]
    data = sound[:12] + header + struct.pack(">I", zlib.crc32(header)) + sound[33:]
    with pytest.raises(DataError, match="too short for 13000x13000 pixels"):
        decode(data, "damaged.png")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="this system does not tell a process's memory")
def test_a_chunk_that_says_it_is_large_gets_no_memory(tmp_path: Path) -> None:
    """Pillow reads such a file by what is there; OpenCV, which reads deep colours, asks for what the chunk says."""
    code = """
import re, sys
import cv2, numpy as np
from pathlib import Path
from autodistill_rfdetr_seg.images.image_decoding import decode

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

# Of 12 bits, so that the deep colours count.
colours = np.random.default_rng(0).integers(0, 4095, (24, 32, 3), dtype=np.uint16)
data = bytearray(cv2.imencode(".png", colours)[1].tobytes())
whole = decode(bytes(data), "whole.png").pixels
assert whole.max() > 200
data[data.index(b"IDAT") - 4] = 0x4D
before = peak()
assert decode(bytes(data), "damaged.png").pixels.shape == (24, 32, 3)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200


def test_a_header_that_asks_for_more_than_there_is_gets_no_memory() -> None:
    import io
    import tracemalloc

    buffer = io.BytesIO()
    Image.fromarray(CORNERS).save(buffer, "TIFF")
    data = bytearray(buffer.getvalue())
    for tag in (256, 257):  # ImageWidth, ImageLength, as the SHORT or LONG that stands there
        at = data.index(struct.pack("<HH", tag, 4)) if struct.pack("<HH", tag, 4) in data else 0
        at = at or data.index(struct.pack("<HH", tag, 3))
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 13000)
    tracemalloc.start()
    with pytest.raises(DataError, match="too short for 13000x13000 pixels"):
        decode(bytes(data), "short.tif")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_id_comes_from_content_and_path() -> None:
    assert image_id("a/x.png", "00") != image_id("b/x.png", "00")
    assert image_id("a/x.png", "00") != image_id("a/x.png", "01")
    assert image_id("a/x.png", "00") == image_id("a/x.png", "00")


def _samples() -> list[bytes]:
    import io

    found = []
    one = Image.fromarray(np.arange(432, dtype=np.uint8).reshape(12, 12, 3))
    deep = Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12) * 400)
    for suffix in (".png", ".tif"):
        found.append(cv2.imencode(suffix, np.arange(432, dtype=np.uint16).reshape(12, 12, 3))[1].tobytes())
    others = [(deep, "PNG"), (one.convert("P"), "PNG"), (one.convert("CMYK"), "JPEG")]
    for image, form in [(one, form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")] + others:
        buffer = io.BytesIO()
        image.save(buffer, form)
        found.append(buffer.getvalue())
    return found


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(_samples()),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0.2, 1),
)
def test_any_damage_is_a_data_error(whole: bytes, damage: list[tuple[float, int]], length: float) -> None:
    data = bytearray(whole)
    for at, value in damage:
        data[min(int(at * len(data)), len(data) - 1)] = value
    try:
        pixels = decode(bytes(data[: int(length * len(data))]), "fuzz").pixels
    except DataError:
        return
    assert pixels.ndim == 3
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_what_pillow_makes_of_it(tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (61, 83, 3), np.uint8)
    path = tmp_path / "noise.jpg"
    Image.fromarray(noise).convert(mode).save(path, **options)
    with Image.open(path) as image:
        assert np.array_equal(open_image(path).pixels, np.asarray(image.convert("RGB")))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="truncated"):
        open_image(path)
