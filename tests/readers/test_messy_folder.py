"""A nasty folder through the real command line: every file's fate, and the folder is left as it was."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import json
import os
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.images.image_opening import open_image
from helpers.commands import finish, finish_new, here
from helpers.lamps import BASE, arguments

HEIGHT, WIDTH = 48, 64
# How a camera that is held in each of EXIF's orientations stores what should be seen.
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def view(at: int = 0) -> np.ndarray:
    """Grey HWC uint8: a lamp in two parts, which no turn or mirror maps onto itself."""
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    pixels[4 + at % 8 : 20 + at % 8, 6 + at // 8 : 30 + at // 8] = 220
    pixels[38:44, 2:12] = 200
    return pixels


LAMP = view()[:, :, 0] > 150


def encoded(form: str, orientation: int = 1, pixels: np.ndarray | None = None, **options: Any) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](view() if pixels is None else pixels)))
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        if form == "HEIF":
            image.info["exif"] = exif.tobytes()  # the plug-in writes it as the container's own mark
        else:
            options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def in_mode(form: str, mode: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(view()).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def frames(form: str, count: int, **options: Any) -> bytes:
    """The lamp, then pictures without one."""
    dark = [Image.new("RGB", (WIDTH, HEIGHT), (i, 0, 0)) for i in range(1, count)]
    buffer = io.BytesIO()
    Image.fromarray(view()).save(buffer, form, save_all=True, append_images=dark, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def cv2_png(pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()


def heic_is_here() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


# What EXIF can turn, the same to the last mark that is in the file; quality so high that 150 stays a safe threshold.
TURNED = {
    "jpg": ("JPEG", {"quality": 95}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "tif": ("TIFF", {}),
    "avif": ("AVIF", {"quality": 95}),
}
if heic_is_here():
    TURNED["heic"] = ("HEIF", {"quality": 95})

DEEP = (view().astype(np.uint16)) * 256
SEVERAL = {"pages.tif": 3, "moving.gif": 2, "moving.webp": 2, "moving.png": 2}
LONG = "long" * 62 + ".png"


def good_files() -> dict[str, bytes]:
    """Files that hold the lamp, by their place in the folder."""
    found = {
        f"turned/{suffix}/{orientation}.{suffix}": encoded(form, orientation, **options)
        for suffix, (form, options) in TURNED.items()
        for orientation in range(1, 9)
    }
    return found | {
        "jpeg/cmyk.jpg": in_mode("JPEG", "CMYK", quality=95),
        "jpeg/progressive.jpeg": encoded("JPEG", quality=96, progressive=True),
        "jpeg/grey.jpe": in_mode("JPEG", "L", quality=95),
        "jpeg/phone.jpg": frames("MPO", 2, quality=95),
        "png/grey.png": in_mode("PNG", "L"),
        "png/palette.png": in_mode("PNG", "P"),
        "png/alpha.png": in_mode("PNG", "RGBA"),
        "png/grey alpha.png": in_mode("PNG", "LA"),
        "png/see through.png": encoded("PNG", transparency=(40, 40, 40)),
        "png/deep grey.png": cv2_png(DEEP[:, :, 0]),
        "png/deep.png": cv2_png(DEEP),
        "tiff/deep.tiff": encoded("TIFF", pixels=DEEP[:, :, 0]),
        "tiff/deep turned.tiff": encoded("TIFF", 6, DEEP[:, :, 0]),
        "tiff/packed.tif": encoded("TIFF", compression="tiff_lzw"),
        "bitmap.bmp": encoded("BMP"),
        "still.gif": encoded("GIF"),
        "pages.tif": frames("TIFF", 3),
        "moving.gif": frames("GIF", 2),
        "moving.webp": frames("WEBP", 2, lossless=True),
        "moving.png": frames("PNG", 2),
        "no_suffix": encoded("PNG", pixels=view(1)),
        "truly a png.jpg": encoded("PNG", pixels=view(2)),
        "LOUD.JPG": encoded("JPEG", pixels=view(3), quality=95),
        "a/same.png": encoded("PNG", pixels=view(4)),
        "b/same.png": encoded("PNG", pixels=view(5)),
        "b/SAME.bmp": encoded("BMP", pixels=view(6)),
        "copies/one.png": encoded("PNG", pixels=view(7)),
        "copies/two.png": encoded("PNG", pixels=view(7)),
        "Ünï cödé/日本語 🍄 photo.png": encoded("PNG", pixels=view(8)),
        "caf\u00e9.png": encoded("PNG", pixels=view(9)),
        "cafe\u0301.png": encoded("PNG", pixels=view(10)),
        'quo\'te "and" $HOME;*?.png': encoded("PNG", pixels=view(11)),
        "line\nbreak.png": encoded("PNG", pixels=view(12)),
        LONG: encoded("PNG", pixels=view(13)),
    }


# Files that are refused, with words of the reason.
REFUSED = {
    "bad/empty.jpg": "is empty (0 bytes)",
    "bad/torn.jpg": "cannot be decoded",
    "bad/torn.png": "cannot be decoded",
    "bad/text.png": "not an image in a known format",
    "bad/postscript.jpg": "not an image in a known format",
    "bad/bomb.png": "over the limit of 178 megapixels",
    "bad/huge.tif": "GiB, which is too large for an image",
    "bad/loop.jpg": "symbolic links",
    "bad/gone.png": "No such file",
    "bad/growing.png": "changed while it was read",
    r"bad/caf\xe9.png": "not UTF-8",
}


def put(folder: Path) -> None:
    for name, data in good_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    bad = folder / "bad"
    bad.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    for form, name in (("JPEG", "torn.jpg"), ("PNG", "torn.png")):
        data = encoded(form, pixels=noise)
        (bad / name).write_bytes(data[: len(data) * 2 // 3])
    (bad / "empty.jpg").touch()
    (bad / "text.png").write_text("not an image")
    (bad / "postscript.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    (bad / "bomb.png").write_bytes(bomb())
    with (bad / "huge.tif").open("wb") as file:
        file.write(b"II*\0")
        file.truncate(5 * 2**30)
    (bad / "loop.jpg").symlink_to("loop.jpg")
    (bad / "gone.png").symlink_to("nowhere.png")
    (bad / "growing.png").write_bytes(encoded("PNG") + bytes(32 * 2**20))
    Path(os.fsdecode(os.fsencode(bad) + b"/caf\xe9.png")).write_bytes(encoded("PNG"))
    # And what is no image, and must neither be read for ever nor be followed.
    (folder / "notes.txt").write_text("BMW is not a bitmap")
    (folder / ".hidden.png").write_bytes(encoded("PNG"))
    (folder / "around").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "link to pipe.jpg").symlink_to("pipe.jpg")
    (folder / "zeros.png").symlink_to("/dev/zero")


@contextlib.contextmanager
def growing(file: Path) -> Iterator[None]:
    """A process that adds to `file` as often as it can."""
    code = "import sys, time\nfile = open(sys.argv[1], 'ab', buffering=0)\nprint('at it', flush=True)\n"
    code += "while True:\n  file.write(b'.')\n  time.sleep(0.0005)"
    writer = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "at it\n"
    try:
        yield
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


def as_it_is(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Every name under `folder`, with what would change if it were written to."""
    found = {}
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root, name)
            about = path.lstat()
            if stat.S_ISLNK(about.st_mode):
                content = os.readlink(path)  # noqa: PTH115 - its letters, as they stand
            elif stat.S_ISREG(about.st_mode) and about.st_size < 2**20:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = ""
            if name != "growing.png":
                found[str(path)] = (
                    about.st_mode,
                    about.st_uid,
                    about.st_size,
                    about.st_mtime_ns,
                    about.st_ino,
                    content,
                )
    return found


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, tuple[int, str, str]]]:
    """The folder, the run, and how `label` ended."""
    home = tmp_path_factory.mktemp("any")
    (home / "base.py").write_text(BASE)
    photos = home / "my photos"
    photos.mkdir()
    put(photos)
    before = as_it_is(photos)
    with growing(photos / "bad" / "growing.png"):
        ended = finish(arguments(photos, home / "run", "--split", "1,0,0"))
    assert as_it_is(photos) == before
    yield photos, home / "run", ended


def index_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "dataset" / "dataset.json").read_text())
    return found


def test_every_file_has_its_fate(nasty: tuple[Path, Path, tuple[int, str, str]]) -> None:
    _, run, (code, out, err) = nasty
    assert code == 4, err
    assert "Traceback" not in err
    assert set(index_of(run)["images"]) == set(good_files())
    reasons = {row["path"]: row["reason"] for row in map(json.loads, (run / "labels" / "failures.jsonl").open())}
    assert set(reasons) == set(REFUSED)
    for name, words in REFUSED.items():
        assert words in reasons[name], name
        assert f"failed  {name}: {reasons[name]}" in out


def test_several_frames_are_told(nasty: tuple[Path, Path, tuple[int, str, str]]) -> None:
    _, _, (_, _, err) = nasty
    assert "4 files have several pages or frames, such as moving.gif: the first is used." in err


def test_the_mask_lies_on_the_lamp_in_every_readers_eyes(nasty: tuple[Path, Path, tuple[int, str, str]]) -> None:
    from rfdetr.datasets.coco import CocoDetection

    _, run, _ = nasty
    folder = run / "dataset" / "train"
    of_file = {entry["file_name"]: path for path, entry in index_of(run)["images"].items()}
    assert len({name.casefold() for name in of_file}) == len(good_files())
    truth = coco.read(folder)
    theirs = sv.DetectionDataset.from_coco(str(folder), str(folder / coco.ANNOTATIONS), force_masks=True)
    by_supervision = {Path(path).name: (image, found) for path, image, found in theirs}
    rfdetr = CocoDetection(folder, folder / coco.ANNOTATIONS, transforms=None, include_masks=True)
    at = {rfdetr.coco.imgs[number]["file_name"]: place for place, number in enumerate(rfdetr.ids)}
    for image in truth.images:
        name = image.path.name
        path = of_file[name]
        mask = masks.decode(image.instances[0].rle)
        if path.startswith(("turned/", "jpeg/", "png/", "tiff/")) or path in SEVERAL:
            assert np.array_equal(mask, LAMP), path
        assert 400 < mask.sum() < 500, path
        seen = {
            "cv2": cv2.imread(str(image.path)),
            "cv2 raw": cv2.imread(str(image.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION),
            "supervision": by_supervision[name][0],
            "pillow": np.asarray(Image.open(image.path).convert("RGB")),
            "rfdetr": np.asarray(rfdetr[at[name]][0]),
        }
        for reader, pixels in seen.items():
            assert pixels is not None, (path, reader)
            assert np.array_equal(pixels[:, :, 1] > 150, mask), (path, reader)
        assert np.array_equal(rfdetr[at[name]][1]["masks"][0].numpy(), mask), path
        assert np.array_equal(by_supervision[name][1].mask[0], mask), path


def test_links_where_readers_agree_and_new_pixels_elsewhere(nasty: tuple[Path, Path, tuple[int, str, str]]) -> None:
    photos, run, _ = nasty
    linked = {
        path
        for path, entry in index_of(run)["images"].items()
        if (run / "dataset" / "train" / entry["file_name"]).samefile(photos / path)
    }
    upright = {f"turned/{suffix}/1.{suffix}" for suffix in ("jpg", "png", "webp")}
    assert {path for path in linked if path.startswith("turned/")} == upright
    assert {"bitmap.bmp", "jpeg/progressive.jpeg", "jpeg/phone.jpg", "a/same.png"} <= linked
    assert not {"jpeg/cmyk.jpg", "png/palette.png", "png/alpha.png", "png/deep grey.png", *SEVERAL} & linked


@pytest.mark.slow
def test_whatever_is_done_with_the_run_the_folder_stays(nasty: tuple[Path, Path, tuple[int, str, str]]) -> None:
    photos, run, _ = nasty
    before = as_it_is(photos)
    found = (run / "dataset" / "train" / coco.ANNOTATIONS).read_bytes()
    assert here(["build", str(run), "-q", "--format", "polygon", "--split", "0.5,0.5,0"])[0] == 4
    assert here(["validate", str(run / "dataset" / "train")])[0] == 0
    assert here(arguments(photos, run, "--resume", "--workers", "2", "--split", "1,0,0"))[0] == 4
    again = (run / "dataset" / "train" / coco.ANNOTATIONS).read_bytes()
    # `growing.png` is at rest by now, and counts.
    assert len(json.loads(again)["images"]) == len(json.loads(found)["images"]) + 1
    assert here(arguments(photos, run, "--overwrite", "--split", "1,0,0"))[0] == 4
    assert (run / "dataset" / "train" / coco.ANNOTATIONS).read_bytes() == again
    assert as_it_is(photos) == before


def test_many_failures_end_it_early_and_are_listed(
    nasty: tuple[Path, Path, tuple[int, str, str]], tmp_path: Path
) -> None:
    photos, _, _ = nasty
    code, _, err = here(arguments(photos, tmp_path / "run", "--max-failures", "3"))
    assert code == 1
    assert "4 images failed, more than --max-failures 3" in err
    assert len((tmp_path / "run" / "labels" / "failures.jsonl").read_text().splitlines()) == 4


def test_images_in_the_runs_own_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(BASE)
    for name in ("dataset", "labels", "frames"):
        photos = tmp_path / name / "mine"
        photos.mkdir(parents=True)
        (photos / "lamp.png").write_bytes(encoded("PNG"))
        (tmp_path / name / "base.py").write_text(BASE)
        for source in (photos, photos / "lamp.png", photos / "*.png"):
            command = arguments(photos, tmp_path, "--overwrite", "--split", "1,0,0")
            command[1] = str(source)
            code, _, err = here(command)
            assert (code, "which the run would replace" in err) == (2, True), err
        assert (photos / "lamp.png").read_bytes() == encoded("PNG")


def without_roots_powers() -> None:
    """In a child about to become another program: it obeys the permissions of files, though it may be root's."""
    if os.geteuid() == 0:
        drop_from_bounding_set, override, read_search = 24, 1, 2  # linux/prctl.h, linux/capability.h
        for power in (override, read_search):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, power, 0, 0, 0)


@pytest.mark.slow
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(BASE)
    photos = tmp_path / "photos"
    for path in ("open.png", "closed.png", "closed/inside.png"):
        (photos / path).parent.mkdir(parents=True, exist_ok=True)
        (photos / path).write_bytes(encoded("PNG"))
    (photos / "closed.png").chmod(0)
    (photos / "closed").chmod(0)
    try:
        peek = ["cat", str(photos / "closed.png")]
        if subprocess.run(peek, capture_output=True, check=False, preexec_fn=without_roots_powers).returncode == 0:
            pytest.skip("root's power to read everything cannot be laid down here")
        command = arguments(photos, tmp_path / "run", "--split", "1,0,0")
        code, out, err = finish_new(command, preexec_fn=without_roots_powers)
    finally:
        (photos / "closed").chmod(0o755)
    assert code == 4, err
    assert set(index_of(tmp_path / "run")["images"]) == {"open.png"}
    for path in ("closed", "closed.png"):
        assert f"failed  {path}: {photos / path} cannot be read: Permission denied." in out


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.png"
    path.write_bytes(encoded("PNG"))
    read = Path.read_bytes

    def slowly(self: Path) -> bytes:
        data = read(self)
        with self.open("ab") as file:
            file.write(b"more")
        return data

    monkeypatch.setattr(Path, "read_bytes", slowly)
    with pytest.raises(DataError, match="changed while it was read"):
        open_image(path)


def test_heic_without_its_plug_in_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(40))
    with pytest.raises(DataError, match="needs the package pillow-heif") as error:
        open_image(tmp_path / "phone.heic")
    assert "[heic]" in str(error.value.hint)
