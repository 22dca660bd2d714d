"""The embedded base: bright, dark or colored objects on a plain background, by thresholds and a watershed; no weights.

Prompts are parsed here; the search itself is in `threshold_search`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from autodistill.detection import CaptionOntology, DetectionBaseModel

from ...core.errors import UnknownNameError, UsageError
from ..base_images import bgr_of
from ..base_ontology import ontology_of
from .threshold_search import Search, WithinImage
from .threshold_signals import Prompt

if TYPE_CHECKING:
    import supervision as sv

# Delta E a color prompt reaches. 15 to 40 do alike on colored parts on a gray belt.
DEFAULT_TOLERANCE = 20.0


class ThresholdBase(DetectionBaseModel):  # type: ignore[misc]
    """Labels objects that differ from a plain background in lightness or color: cells, parts on a belt, fruit.

    A prompt is `bright`, `dark`, a CSS color name (`red`, `steelblue`) or `#rrggbb`, each with a tolerance after a
    colon where wanted: `red:25` takes colors within 25 Lab Delta E units of red (lightness counts little for a
    saturated color), `bright:20` what is at least 20 units of L lighter than the ground. Without one, a color takes
    `tolerance`, `bright` and `dark` take Otsu's threshold. A pixel belongs to the nearest of the colors asked for, and
    colors win over `bright` and `dark`. The nearer a color prompt is to the real object, the better.

    Args:
        ontology: prompt → class, a `CaptionOntology` or a plain mapping.
        tolerance: Delta E of color prompts that give none.
        min_area: least area of an object, in pixels, or a share of the image where under 1. None: 5e-5 of the image, at
            least 16 pixels.
        max_area: largest area, likewise; at most 1 is a share.
        opening: diameter in pixels of what is too thin to be kept; 0 keeps all.
        split: a neck narrower than this share of the thinner side's width parts two objects; 0 parts nothing.

    Raises:
        UnknownNameError: a prompt is neither a known word nor a color; the nearest is suggested.
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
        ontology = ontology_of(ontology, '{"bright": "cell"}')
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
        return self._search().whole(bgr_of(input))

    def within_image(self, image: npt.NDArray[np.uint8]) -> WithinImage:
        """The base bound to a whole image (HWC uint8 BGR, not copied), to be asked about its parts as the adapter does.

        Ground, thresholds and limits of area are the whole image's, and the surroundings of a part are looked at too.

        Raises:
            UsageError: an array of another shape or dtype.
        """
        return WithinImage(self._search(), bgr_of(image))

    def _search(self) -> Search:
        return Search(self._prompts, self.tolerance, self.min_area, self.max_area, self.opening, self.split)


def parse_prompt(text: str) -> Prompt:
    """A prompt such as `bright`, `red`, `#c02020:15`; the syntax is in `ThresholdBase`.

    Raises:
        UnknownNameError: not a known word or color. UsageError: the tolerance is not a number above 0.
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
            "The threshold base takes bright, dark, a CSS color name or #rrggbb, as in {'red': 'bolt'} or {'red:25': "
            "'bolt'}; for free text use a base such as grounded-sam.",
        )
    rgb = np.array(ImageColor.getrgb(word)[:3], dtype=np.float32).reshape(1, 1, 3) / 255
    lightness, a, b = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)[0, 0].tolist()
    return Prompt(0, (lightness, a, b), tolerance)


def _is_hex(digits: str) -> bool:
    return all(d in "0123456789abcdef" for d in digits)
