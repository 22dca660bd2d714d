"""A folder as people have them, labelled through the command line: each file's fate, and masks on the object."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco, masks
from autodistill_rfdetr_seg.cli import main
from autodistill_rfdetr_seg.errors import DataError
from autodistill_rfdetr_seg.images import open_image

HEIGHT, WIDTH = 40, 60
# In the picture as it should be seen. Blocks of 8, so that a lossy format keeps their edges.
OBJECT = (slice(8, 24), slice(32, 48))
BASE = """
import numpy as np
import supervision as sv

class Green:
    def __init__(self, ontology):
        self.ontology = ontology

    def predict(self, image):
        b, g, r = (image[:, :, at].astype(int) for at in range(3))
        mask = (g > r + 60)[None] if (abs(r - g).max() > 40) else (g > 120)[None]
        return sv.Detections(xyxy=sv.mask_to_xyxy(mask).astype(float), mask=mask, class_id=np.array([0]))
"""


def picture(number: int = 0) -> Image.Image:
    """Dark noise with a green object, which in grey is the only bright thing."""
    pixels = np.random.default_rng(number).integers(10, 30, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    pixels[OBJECT] = (60, 220, 60)
    return Image.fromarray(pixels)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """As a camera held in that orientation stores what is seen."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose numbers of the inverses
    return image if orientation == 1 else image.transpose(Image.Transpose(undo[orientation]))


def bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def good_files(root: Path) -> set[str]:
    """Everything that can be read, in every format, mode and orientation; their names."""
    root.mkdir()
    one = picture()
    one.save(root / "plain.jpg", quality=95)
    one.save(root / "progressive.jpeg", quality=95, progressive=True)
    one.convert("CMYK").save(root / "cmyk.jpg", quality=95)
    one.convert("L").save(root / "grey.png")
    deep = np.asarray(one.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(root / "deep.png")
    one.convert("P", palette=Image.Palette.ADAPTIVE).save(root / "palette.png")
    with_alpha = one.convert("RGBA")
    with_alpha.putalpha(200)
    with_alpha.save(root / "alpha.png")
    one.save(root / "lossless.webp", lossless=True)
    one.save(root / "pages.tiff", save_all=True, append_images=[Image.new("RGB", one.size)])
    one.save(root / "windows.bmp")
    one.save(root / "moving.gif", save_all=True, append_images=[Image.new("RGB", one.size), Image.new("RGB", one.size)])
    one.save(root / "new.avif", quality=95)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned(picture(orientation), orientation).save(root / f"turned{orientation}.jpg", quality=95, exif=exif)
    (root / "a folder" / "Übung 图").mkdir(parents=True)
    (root / "b").mkdir()
    picture(21).save(root / "a folder" / "Übung 图" / "same.png")
    picture(22).save(root / "b" / "same.png")
    picture(23).save(root / "b" / f"{'long' * 62}.png")
    picture(24).save(root / "b" / "no_suffix", format="PNG")
    picture(25).save(root / "b" / "in truth a png.jpg", format="PNG")
    (root / "b" / "loop").symlink_to(root)
    (root / ".hidden").mkdir()
    picture(26).save(root / ".hidden" / "passed over.png")
    (root / "notes.txt").write_text("not an image, and not called one")
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
        one.save(root / "phone.heic", quality=95)
    files = (p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    return {p.relative_to(root).as_posix() for p in files} - {".hidden/passed over.png", "notes.txt"}


def bad_files(root: Path) -> dict[str, str]:
    """What cannot be labelled: the name of each, and a word of the reason."""
    whole = (root / "plain.jpg").read_bytes()
    (root / "truncated.jpg").write_bytes(whole[:-300])
    (root / "empty.jpg").touch()
    (root / "text.png").write_text("no image")
    (root / "bomb.png").write_bytes(bomb())
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    reasons = {"truncated.jpg": "decoded", "empty.jpg": "empty", "text.png": "known format", "bomb.png": "pixels"}
    reasons |= {"gone.jpg": "cannot be read"}
    name = os.fsdecode(b"b/not \xff utf-8.png")
    try:
        picture(30).save(root / name)
        reasons["b/not \\xff utf-8.png"] = "UTF-8"
    except OSError:  # a file system that refuses such a name itself
        pass
    if os.geteuid():
        picture(31).save(root / "locked.png")
        (root / "locked.png").chmod(0)
        reasons["locked.png"] = "Permission denied"
    return reasons


def state(root: Path) -> dict[Path, object]:
    """Everything about every file under `root` that labelling could have changed, but for the number of links."""
    found: dict[Path, object] = {}
    for folder, folders, names in os.walk(root):
        for path in (Path(folder, name) for name in (*folders, *names)):
            stat = path.lstat()
            content = path.read_bytes() if path.name in names and os.access(path, os.R_OK) else None
            found[path] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, content)
    return found


def arguments(root: Path, run: Path, *more: str) -> list[str]:
    base = root.parent / "base.py"
    base.write_text(BASE)
    return ["label", str(root), "--base", f"{base}:Green", "--class", "green=thing", "--output", str(run), *more]


def test_every_file_has_its_fate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, run = tmp_path / "my photos", tmp_path / "run"
    good = good_files(root)
    bad = bad_files(root)
    before = state(root)
    assert main(arguments(root, run, "-q", "--near-duplicates", "none")) == 4
    printed = capsys.readouterr()
    assert state(root) == before
    failures = [json.loads(line) for line in (run / "labels" / "failures.jsonl").read_text("utf-8").splitlines()]
    assert {failure["path"] for failure in failures} == set(bad)
    for failure in failures:
        assert bad[failure["path"]] in failure["reason"]
        assert f"failed  {failure['path']}: {failure['reason']}" in printed.out
    assert "2 files hold several pages or frames, such as moving.gif: the first counts." in printed.err
    index = json.loads((run / "dataset" / "dataset.json").read_text("utf-8"))["images"]
    assert set(index) == good
    assert index["b/same.png"]["file_name"] != index["a folder/Übung 图/same.png"]["file_name"]

    for split in ("train", "valid", "test"):
        for image in coco.read(run / "dataset" / split).images:
            (instance,) = image.instances
            mask = masks.decode(instance.rle)
            expected = np.zeros((HEIGHT, WIDTH), bool)
            expected[OBJECT] = True
            # Lossy formats move an edge by a pixel.
            assert masks.iou_matrix([instance.rle], [masks.encode(expected)])[0, 0] > 0.85, image.image_id
            # Every reader sees the object under its mask, whatever it makes of orientation.
            with Image.open(image.path) as opened:
                readings = [np.asarray(opened.convert("RGB"))]
            flags = (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            readings += [cv2.imread(str(image.path), flag)[..., ::-1] for flag in flags]
            for pixels in readings:
                assert pixels.shape == (image.height, image.width, 3) == (HEIGHT, WIDTH, 3)
                assert pixels[mask][:, 1].mean() > pixels[~mask][:, 1].mean() + 100


def test_the_first_failures_can_end_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    good_files(root)
    bad_files(root)
    assert main(arguments(root, tmp_path / "run", "--max-failures", "1")) == 1
    assert "more than --max-failures 1" in capsys.readouterr().err


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.png"
    picture().save(path)
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
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(40))
    with pytest.raises(DataError, match="needs the package pillow-heif") as error:
        open_image(tmp_path / "phone.heic")
    assert "[heic]" in str(error.value.hint)
