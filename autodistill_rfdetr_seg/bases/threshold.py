"""The embedded base: bright, dark or coloured objects on a plain ground, by thresholds and a watershed; no weights.

An image goes through four steps: a *signal* for each prompt (0 on the ground, 1 on an object, whatever the lighting), a
mask where the signal is above its threshold, the mask parted into objects (`_part`), and a score for each (`_measure`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from autodistill.detection import CaptionOntology, DetectionBaseModel

from ..errors import UnknownNameError, UsageError
from ..images import open_rgb
from ..masks import BoolMask, fill_holes
from .threshold_signals import Floats, Prompt, colour_signals, lightness_signal

if TYPE_CHECKING:
    import supervision as sv

Labels = npt.NDArray[np.int32]

# Delta E a colour prompt reaches. 15 to 40 do alike on coloured parts on a grey belt.
DEFAULT_TOLERANCE = 20.0
# Depth of a dip in the signal that is the seam between two touching objects. Lightness shows seams well; in a coloured
# part threads, bevels and scratches look the same, so only a deep one counts there.
LIGHTNESS_SEAM = 0.06
COLOUR_SEAM = 0.25


class ThresholdBase(DetectionBaseModel):  # type: ignore[misc]
    """Labels objects that differ from a plain ground in lightness or colour: cells, parts on a belt, fruit.

    A prompt is `bright`, `dark`, a CSS colour name (`red`, `steelblue`) or `#rrggbb`, each with a tolerance after a
    colon where wanted: `red:25` takes colours within 25 Lab Delta E units of red (lightness counts little for a
    saturated colour), `bright:20` what is at least 20 units of L lighter than the ground. Without one, a colour takes
    `tolerance`, `bright` and `dark` take Otsu's threshold. A pixel belongs to the nearest of the colours asked for, and
    colours win over `bright` and `dark`. The nearer a colour prompt is to the real object, the better.

    Args:
        ontology: prompt → class, a `CaptionOntology` or a plain mapping.
        tolerance: Delta E of colour prompts that give none.
        min_area, max_area: limits of an object, in pixels, or a share of the image where under 1 (at most 1 for
            `max_area`). None for `min_area`: 5e-5 of the image, at least 16 pixels.
        opening: diameter in pixels of what is too thin to be kept; 0 keeps all.
        split: a neck narrower than this share of the thinner side's width parts two objects; 0 parts nothing.

    Raises:
        UnknownNameError: a prompt is neither a known word nor a colour; the nearest is suggested.
        UsageError: the ontology is empty, or an option or tolerance is out of range.
    """

    ontology: CaptionOntology

    def __init__(
        self,
        ontology: CaptionOntology | Mapping[str, str],
        *,
        tolerance: float = DEFAULT_TOLERANCE,
        min_area: float | None = None,
        max_area: float = 0.5,
        opening: int = 3,
        split: float = 0.85,
    ) -> None:
        if isinstance(ontology, Mapping):
            if not ontology:
                raise UsageError("The ontology is empty.", 'Give at least one prompt, such as {"bright": "cell"}.')
            ontology = CaptionOntology(dict(ontology))
        if tolerance <= 0 or (min_area or 0) < 0 or max_area <= 0 or opening < 0 or not 0 <= split < 1:
            raise UsageError("An option of the threshold base is out of range.", "split is 0..1, the rest 0 or more.")
        self.ontology = ontology
        self.tolerance, self.min_area, self.max_area = tolerance, min_area, max_area
        self.opening, self.split = opening, split
        self._prompts = [parse_prompt(prompt) for prompt in ontology.prompts()]

    def predict(self, input: str | Path | npt.NDArray[np.uint8] | Any) -> sv.Detections:
        """Objects in one image: an HWC uint8 BGR array, a path, or a PIL image.

        Returns `xyxy` (N, 4), `mask` (N, H, W) bool, `confidence` (N,) float32 in 0..1, and `class_id` (N,): the index
        of the prompt, not of the class, as autodistill has it. Best first. Nothing found gives a `mask` of (0, H, W).

        Raises:
            UsageError: an array of another shape or dtype.
            DataError: the file cannot be read or is not an image.
        """
        import cv2
        import supervision as sv

        bgr = _bgr(input)
        height, width = bgr.shape[:2]
        # The median takes single wrong pixels away and leaves edges where they are.
        lab = cv2.cvtColor(cv2.medianBlur(bgr, 3).astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
        found: list[_Object] = []
        for index, signal, mask in self._signals(cv2.GaussianBlur(lab, (0, 0), 0.6)):
            found.extend(self._objects(index, signal, mask))
        found.sort(key=lambda o: (-o.score, o.prompt, o.top, o.left))
        masks = np.zeros((len(found), height, width), dtype=bool)
        boxes = np.zeros((len(found), 4), dtype=np.float32)
        for out, box, o in zip(masks, boxes, found, strict=True):
            rows, columns = o.mask.shape
            out[o.top : o.top + rows, o.left : o.left + columns] = o.mask
            box[:] = o.left, o.top, o.left + columns, o.top + rows
        return sv.Detections(
            xyxy=boxes,
            mask=masks,
            confidence=np.array([o.score for o in found], dtype=np.float32),
            class_id=np.array([o.prompt for o in found], dtype=int),
        )

    def _signals(self, lab: Floats) -> Iterator[tuple[int, Floats, BoolMask]]:
        """Of each prompt that finds something: its index, its signal and its mask."""
        colours = {i: p for i, p in enumerate(self._prompts) if p.lab is not None}
        taken = np.zeros(lab.shape[:2], dtype=bool)
        for index, signal, mask in colour_signals(lab, colours, self.tolerance):
            taken |= mask
            yield index, signal, mask
        for index, prompt in enumerate(self._prompts):
            if prompt.lab is None:
                result = lightness_signal(prompt.sign * lab[..., 0], prompt.tolerance)
                if result is not None:
                    yield index, result[0], result[1] & ~taken

    def _objects(self, prompt: int, signal: Floats, mask: BoolMask) -> list[_Object]:
        import cv2
        from skimage.measure import regionprops

        pixels = mask.size
        smallest = max(16.0, 5e-5 * pixels) if self.min_area is None else _limit(self.min_area, pixels)
        largest = self.max_area * pixels if self.max_area <= 1 else self.max_area
        if self.opening > 1:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (self.opening, self.opening))
            mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(bool)
        mask = fill_holes(mask, smallest)
        seam = LIGHTNESS_SEAM if self._prompts[prompt].lab is None else COLOUR_SEAM
        labels = _part(signal, mask, self.split, seam, 2 * smallest)
        found = []
        for region in regionprops(labels):
            one = _measure(prompt, labels, region.label, region.slice, signal)
            if smallest <= one.area <= largest:
                found.append(one)
        # Crumbs beside large objects are mostly pieces of something. The area an average object pixel lives in is not
        # moved by how many crumbs there are.
        typical = sum(o.area**2 for o in found) / max(sum(o.area for o in found), 1)
        return [replace(o, score=o.score * o.area / (o.area + 0.2 * typical)) for o in found]


def parse_prompt(text: str) -> Prompt:
    """A prompt such as `bright`, `red`, `#c02020:15`; the syntax is in `ThresholdBase`.

    Raises:
        UnknownNameError: not a known word or colour. UsageError: the tolerance is not a number above 0.
    """
    import cv2
    from PIL import ImageColor

    name, _, after = (part.strip() for part in text.partition(":"))
    tolerance = None
    if ":" in text:
        try:
            tolerance = float(after)
        except ValueError:
            tolerance = 0.0
        if not 0 < tolerance < 200:
            raise UsageError(f"The tolerance of prompt {text!r} is not a number from 0 to 200.", "Write it as red:25.")
    word = name.lower()
    if word in ("bright", "dark"):
        return Prompt(1 if word == "bright" else -1, None, tolerance)
    if word not in ImageColor.colormap and not (word.startswith("#") and len(word) == 7 and _is_hex(word[1:])):
        raise UnknownNameError(
            "prompt",
            name,
            ["bright", "dark", *ImageColor.colormap],
            "The threshold base takes bright, dark, a CSS colour name or #rrggbb, as in {'red': 'bolt'} or {'red:25': "
            "'bolt'}; for free text use a base such as grounded-sam.",
        )
    rgb = np.array(ImageColor.getrgb(word)[:3], dtype=np.float32).reshape(1, 1, 3) / 255
    lightness, a, b = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)[0, 0].tolist()
    return Prompt(0, (lightness, a, b), tolerance)


def _is_hex(digits: str) -> bool:
    return all(d in "0123456789abcdef" for d in digits)


def _limit(value: float, pixels: int) -> float:
    return value * pixels if value < 1 else value


def _bgr(given: Any) -> npt.NDArray[np.uint8]:
    if isinstance(given, str | Path):
        return np.ascontiguousarray(open_rgb(Path(given))[:, :, ::-1])
    if isinstance(given, np.ndarray):
        if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8:
            raise UsageError(
                f"The image is {given.dtype} of shape {given.shape}, not uint8 (height, width, 3).",
                "Give an HWC uint8 BGR array, a path or a PIL image.",
            )
        return np.ascontiguousarray(given)
    from PIL import ImageOps

    return np.ascontiguousarray(np.asarray(ImageOps.exif_transpose(given).convert("RGB"))[:, :, ::-1])


def _part(signal: Floats, mask: BoolMask, split: float, seam: float, speck: float) -> Labels:
    """The mask's objects, touching ones parted where they are narrow or where a seam runs; 0 is the ground.

    Markers are the maxima of log(distance to the edge or a seam): a depth in the log is a *ratio* of widths, so an even
    bar, ring or elbow stays whole however long, and small objects part like large ones.
    """
    import cv2
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    if not split:
        return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1], dtype=np.int32)
    smooth = cv2.GaussianBlur(signal, (0, 0), 1.0)
    dip = cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11)))
    solid = _fill_bores(mask)
    core = _fill_bores(fill_holes(solid & (dip <= seam), speck))
    depth = cv2.GaussianBlur(cv2.distanceTransform(core.astype(np.uint8), cv2.DIST_L2, 5), (0, 0), 1.0)
    # Two pixels more: a ragged edge moves the width of a thin part by a pixel, which is no neck.
    depth = np.log(np.where(solid, depth, 0) + 2).astype(np.float32)
    maxima = h_maxima(depth, -np.log(split)).astype(bool) & solid
    markers = cv2.connectedComponents(maxima.astype(np.uint8), connectivity=8)[1]
    labels: Labels = (watershed(-depth, markers, mask=solid) * mask).astype(np.int32)
    return labels


def _fill_bores(mask: BoolMask) -> BoolMask:
    """The mask with its compact convex holes filled: the bore of a ring belongs to one object, while the gap between
    touching round objects has hollow sides."""
    import cv2

    filled: BoolMask = mask.copy()
    count, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    for part in range(1, count):
        x, y, width, height, area = stats[part].tolist()
        inner = x > 0 and y > 0 and x + width < mask.shape[1] and y + height < mask.shape[0]
        if not inner or area < 0.5 * width * height or max(width, height) > 2 * min(width, height):
            continue
        hole = parts[y : y + height, x : x + width] == part
        hull = np.zeros(hole.shape, dtype=np.uint8)
        points = cv2.findNonZero(hole.astype(np.uint8))
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        if area > 0.9 * np.count_nonzero(hull):
            filled[y : y + height, x : x + width] |= hole
    return filled


@dataclass(frozen=True, slots=True)
class _Object:
    """One object: its mask cropped to its box, whose first row and column are `top` and `left`."""

    prompt: int
    top: int
    left: int
    mask: BoolMask
    area: int
    score: float


def _measure(prompt: int, labels: Labels, label: int, place: tuple[slice, slice], signal: Floats) -> _Object:
    """One object cut out of the label image, scored by its contrast to what surrounds it, its shape and its size."""
    import cv2

    rows, columns = place
    top, left = max(rows.start - 3, 0), max(columns.start - 3, 0)
    window = (slice(top, rows.stop + 3), slice(left, columns.stop + 3))
    inside = labels[window] == label
    # Glints and dark spots are part of the object; the bore of a ring is larger.
    inside = fill_holes(inside, 0.04 * float(inside.sum()))
    outline, area = inside.astype(np.uint8), int(inside.sum())
    contour = max(cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
    solidity = min((cv2.contourArea(contour) + 1) / (cv2.contourArea(cv2.convexHull(contour)) + 1), 1.0)
    ring = (cv2.dilate(outline, np.ones((5, 5), np.uint8)) > 0) & ~inside
    level = float(signal[window][inside].mean())
    # A neighbour that is brighter says nothing against an object.
    contrast = level - float(np.minimum(signal[window][ring], level).mean()) if ring.any() else 0.0
    shape = min(max((solidity - 0.5) / 0.45, 0.05), 1.0) ** 0.7
    score = min(max(contrast, 0.0), 1.0) * shape * (1 - float(np.exp(-area / 100)))
    tight = inside[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return _Object(prompt, rows.start, columns.start, tight, area, score)
