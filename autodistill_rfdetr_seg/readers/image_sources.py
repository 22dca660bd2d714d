"""Finds the images that a user names: of a folder, an image, a video, a list, a pattern, or a COCO file."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import coco
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError, MissingInputError
from ..core.plain_text import counted
from ..images import frame_files as video
from ..images.image_discovery import discover, may_be_image, relative_paths
from ..images.image_formats import IMAGE_SUFFIXES
from ..images.image_opening import open_image
from ..system.files import read_user_text
from ..system.folders import Links, expand, printable, real_path, walk

_KINDS = "Give a folder, an image, a video, a .txt list of paths, a pattern such as 'photos/**/*.jpg', or a COCO .json."


@dataclass(frozen=True)
class Inputs:
    """Images to work on.

    `items` are (path, POSIX name relative to `root`), sorted by name; `root / name` is the path. `groups` maps the
    names of images that belong together (the frames of a video) to a common key. `notes` are sentences for the user,
    `linked_folders` the links to folders that were followed.
    """

    root: Path
    items: list[tuple[Path, str]]
    groups: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    linked_folders: tuple[Path, ...] = ()


def find_images(
    source: str | Path,
    frames: Path,
    *,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    every: int | None = None,
    fps: float | None = None,
    scene_changes: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> Inputs:
    """The images that `source` names.

    `source` is a folder, one image, a video, a `.txt` file with one path or pattern a line (relative to that file, in
    UTF-8, or in UTF-16 as Windows writes it; blank lines and lines that start with `#` are skipped), a pattern
    (`*`, `?`, `[…]`, `**` for any depth), or a COCO `.json`. What is there under this very name is taken as it is, even
    where the name could be a pattern. The same file twice counts once. What a list or COCO file names and is not there
    is among the items: opening it fails, which costs no other image.

    Args:
        frames: folder for a video's frames; `every`, `fps` and `scene_changes` choose them, see `video.extract_frames`.
        limit: only the first N images by name.
        sample: only N images, chosen by a hash of `seed` and name: images that are added later replace few of them.
        max_megapixels: a file without an image's suffix is opened to check it; with more million pixels it is refused.

    Raises:
        MissingInputError: there is nothing at `source`, or no image.
        DataError: a list, COCO file or video is wrong; the line, image or place is named.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = _from_folder(path)
    elif path.is_file():
        suffix = path.suffix.lower()
        if suffix in video.VIDEO_SUFFIXES:
            paths = video.extract_frames(
                path, frames, every=every, fps=fps, scene_changes=scene_changes, progress=progress
            )
            found = _from_video(path, paths, frames)
        elif suffix == ".txt":
            found = _from_list(path)
        elif suffix == ".json":
            found = _from_coco(path, max_megapixels)
        else:
            found = _from_image(path, max_megapixels)
    elif glob.has_magic(str(path)):
        found = _from_pattern(path)
    else:
        raise MissingInputError(f"There is nothing at {path}.", _KINDS)
    return chosen_images(found, limit, sample, seed)


def _from_folder(folder: Path) -> Inputs:
    videos = sum(Path(name).suffix.lower() in video.VIDEO_SUFFIXES for _, names in walk(folder) for name in names)
    links = Links()
    try:
        items = relative_paths(discover(folder, links), folder)
    except MissingInputError as error:
        if not videos:
            raise
        raise MissingInputError(
            f"There is no image in {folder}, only {counted(videos, 'video')}.", "Give one video file itself."
        ) from error
    notes = (*_followed(links, folder), *_passed_over(videos))
    return Inputs(folder, items, notes=notes, linked_folders=tuple(links.followed))


def _followed(links: Links, folder: Path) -> tuple[str, ...]:
    """Which links to folders were followed and which not, in one line."""
    kinds = {
        "followed": links.followed,
        "not followed, as they lead back or to folders that are read anyway": links.not_followed,
    }
    said = [
        f"{what}: {len(paths)}, such as {printable(paths[0].relative_to(folder).as_posix())}"
        for what, paths in kinds.items()
        if paths
    ]
    return (f"Linked folders {'; '.join(said)}.",) if said else ()


def _from_image(path: Path, max_megapixels: float) -> Inputs:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        try:
            open_image(path, max_megapixels=max_megapixels)
        except DataError as error:
            raise DataError(f"{path} is not an image, and not a file that names images.", _KINDS) from error
    return Inputs(path.parent, [(path, path.name)])


def _from_video(path: Path, frames: list[Path], root: Path) -> Inputs:
    items = relative_paths(frames, root)
    note = video.extraction_note(path, root)
    return Inputs(root, items, dict.fromkeys((name for _, name in items), path.stem), (note,) if note else ())


def _from_pattern(pattern: Path) -> Inputs:
    files, videos = _matches(pattern)
    if not files:
        seen = f", only {counted(videos, 'video')}" if videos else ""
        hint = "Quote the pattern, so that the shell does not expand it; `**` matches folders of any depth."
        raise MissingInputError(f"No image matches {pattern}{seen}.", hint)
    return _under_one_root(files, _passed_over(videos))


def _matches(pattern: Path) -> tuple[list[Path], int]:
    """The image files that match, by `discover`'s rule, folders that cannot be listed, and the number of videos."""
    closed: list[Path] = []
    found = set(expand(pattern, closed))
    files = [path for path in found if may_be_image(path)]
    return files + closed, sum(path.suffix.lower() in video.VIDEO_SUFFIXES for path in found)


def _from_list(path: Path) -> Inputs:
    lines = read_user_text(path).split("\n")
    files: list[Path] = []
    dead: dict[Path, str] = {}
    videos = 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            matched, passed_over = _of_line(path, number, text)
            files += matched
            videos += passed_over
            if not (matched or passed_over):
                what = "no image matches" if glob.has_magic(text) else "there is no file"
                dead.setdefault(path.parent / Path(text).expanduser(), f"line {number}: {what} {text}")
    if not files:
        reason = f": {next(iter(dead.values()))}" if dead else ""
        hint = f"Write one path or pattern a line, relative to {path.parent}."
        raise MissingInputError(f"The list {path} names no image{' that is there' if dead else ''}{reason}.", hint)
    # Opening the missing files reports them one by one. They are included, so that names do not change if they return.
    return _under_one_root([*files, *dead], (*_dead(path, list(dead.values())), *_passed_over(videos)))


def _dead(path: Path, lines: Sequence[str]) -> tuple[str, ...]:
    if not lines:
        return ()
    return (f"{counted(len(lines), 'line')} of {path} cannot be followed, the first is {lines[0]}.",)


def _of_line(path: Path, number: int, text: str) -> tuple[list[Path], int]:
    """The images that a line names, and the number of videos; nothing if they do not exist."""
    file = path.parent / Path(text).expanduser()
    if "\\" in text and not file.exists():
        # Windows writes paths so; a pattern's escapes are brackets.
        text = text.replace("\\", "/")
        file = path.parent / Path(text).expanduser()
    where = f"Line {number} of {path}"
    if file.is_dir():
        raise DataError(f"{where} names a folder: {text}.", f"Write the pattern {text.rstrip('/')}/**/*.jpg.")
    if file.is_file():
        if file.suffix.lower() in video.VIDEO_SUFFIXES:
            raise DataError(f"{where} names a video: {text}.", "Give a video alone, not in a list.")
        return [file], 0
    if not glob.has_magic(text):
        return [], 0
    # The list's own folder may have a name with brackets in it.
    return _matches(Path(glob.escape(str(path.parent))) / Path(text).expanduser())


def _from_coco(path: Path, max_megapixels: float) -> Inputs:
    images = coco.read(path, max_megapixels=max_megapixels).images
    missing = [image for image in images if not image.path.is_file()]
    if not images:
        raise MissingInputError(f"The COCO file {path} lists no image.")
    first = next((image.path for image in missing), None)
    note = f"{len(missing)} of {counted(len(images), 'image')} of {path} cannot be found, the first is {first}."
    if len(missing) == len(images):
        raise MissingInputError(
            note, "The COCO file must be in the folder that its `file_name` entries are relative to."
        )
    # Images may be in a folder beside that of the JSON: `annotations/` and `images/`.
    above = (*path.parents, *path.absolute().parents)
    root = next(one for one in above if all(image.path.is_relative_to(one) for image in images))
    items = relative_paths((image.path for image in images), root)
    return _without_copies(Inputs(root, items, notes=(note,) if missing else ()))


def _under_one_root(files: Iterable[Path], notes: tuple[str, ...]) -> Inputs:
    """Names relative to the deepest folder that all files have in common."""
    # A linked folder is resolved, so that `..` and links give a file one name; a linked file keeps its own name.
    whole = sorted({real_path(path.parent) / path.name for path in files})
    try:
        root = Path(os.path.commonpath([path.parent for path in whole]))
    except ValueError as error:
        raise DataError(
            f"{whole[0]} and {whole[-1]} have no folder in common.", "Label each drive separately."
        ) from error
    return _without_copies(Inputs(root, relative_paths(whole, root), notes=notes))


def _without_copies(inputs: Inputs) -> Inputs:
    """The inputs without further names of the same file; the first by name is kept."""
    files: dict[Path, tuple[Path, str]] = {}
    for path, name in sorted(inputs.items, key=lambda item: item[1]):
        files.setdefault(real_path(path), (path, name))
    return Inputs(inputs.root, list(files.values()), inputs.groups, inputs.notes)


def chosen_images(found: Inputs, limit: int | None, sample: int | None, seed: int) -> Inputs:
    """The inputs sorted by name, reduced to `limit` and `sample` (see `find_images`)."""
    items = sorted(found.items, key=lambda item: item[1])[:limit]
    if sample is not None:
        items = sorted(items, key=lambda item: _draw(seed, item[1]))[:sample]
        items.sort(key=lambda item: item[1])
    notes = found.notes
    if len(items) < len(found.items):
        notes = (*notes, f"{len(items)} of {counted(len(found.items), 'image')} were chosen.")
    groups = {name: found.groups[name] for _, name in items if name in found.groups}
    return Inputs(found.root, items, groups, notes, found.linked_folders)


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()


def _passed_over(videos: int) -> tuple[str, ...]:
    if not videos:
        return ()
    return (f"{counted(videos, 'video')} {'was' if videos == 1 else 'were'} skipped: give a video alone.",)
