"""What lies between a model and the instances that people see: tiles, a threshold for each class, no duplicates."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .duplicate_removal import DuplicateLimits, remove_duplicates
from .output_decoding import Detection
from .tile_joining import Piece, Window, join_pieces, tile_windows

Array = np.ndarray[Any, Any]
# Images (H, W, 3) uint8 RGB and a score → the instances above it, best first, of each.
Find = Callable[[Sequence[Array], float], Sequence[Sequence[Detection]]]
# Tiles that a model gets at once.
_TILES_AT_ONCE = 4
# What two tiles show of one object is joined if the lower score is at least this part of the higher one. Chosen on
# drawn scenes (benchmarks/tiled_prediction.py), where 0.3 to 0.7 are alike and better than joining all.
_SCORE_RATIO = 0.5


class PredictionRules(NamedTuple):
    """`confidence` is the score above which an instance counts, one for all classes or one for each by its index.

    With `tile`, large images are predicted in tiles of that many pixels, which overlap by the fraction `overlap`.
    """

    confidence: float | tuple[float, ...] = 0.0
    tile: int | None = None
    overlap: float = 0.2
    duplicates: DuplicateLimits = DuplicateLimits()

    def lowest_confidence(self) -> float:
        """The least of the thresholds."""
        return self.confidence if isinstance(self.confidence, float | int) else min(self.confidence)

    def predict(
        self, find: Find, images: Sequence[Array], removed: Counter[str] | None = None
    ) -> list[list[Detection]]:
        """The instances of images that `find` finds under these rules, best first.

        `removed` counts the duplicates that are removed, under "duplicate".
        """
        least = self.lowest_confidence()
        removed = Counter() if removed is None else removed
        if self.tile is None:
            found = [list(one) for one in find(images, least)]
        else:
            found = [self._find_in_tiles(find, image, least, self.tile, removed) for image in images]
        if not isinstance(self.confidence, float | int):
            limit = self.confidence
            found = [[one for one in some if one.score > limit[one.class_id]] for some in found]
        result = [remove_duplicates(some, self.duplicates) for some in found]
        removed["duplicate"] += sum(map(len, found)) - sum(map(len, result))
        return result

    def _find_in_tiles(
        self, find: Find, image: Array, least: float, tile: int, removed: Counter[str]
    ) -> list[Detection]:
        height, width = image.shape[:2]
        windows = tile_windows(height, width, tile, self.overlap)
        if len(windows) == 1:
            return list(find([image], least)[0])
        detections: list[Detection] = []
        pieces: list[Piece] = []
        for start in range(0, len(windows), _TILES_AT_ONCE):
            part = windows[start : start + _TILES_AT_ONCE]
            results = find([np.ascontiguousarray(image[w.top : w.bottom, w.left : w.right]) for w in part], least)
            for number, (window, found) in enumerate(zip(part, results, strict=True), start):
                # Before they are joined: each of two that are of one object would find a partner in the next tile.
                kept = remove_duplicates(found, self.duplicates)
                removed["duplicate"] += len(found) - len(kept)
                for one in kept:
                    mask = one.compact_mask.moved(window.top, window.left, height, width)
                    detections.append(one._replace(xyxy=_moved_box(one.xyxy, window), compact_mask=mask))
                    pieces.append(Piece(number, mask, one.class_id, one.score))
        result = []
        for joined in join_pieces(pieces, windows, height, width, _SCORE_RATIO):
            best = detections[joined.best]
            box = _union_box([detections[at].xyxy for at in joined.places]) if joined.union else best.xyxy
            result.append(Detection(best.class_id, joined.score, box, joined.mask))
        return result


def _moved_box(xyxy: Array, window: Window) -> Array:
    return xyxy + np.array([window.left, window.top] * 2, dtype=np.float32)


def _union_box(boxes: Sequence[Array]) -> Array:
    stack = np.array(boxes)
    return np.concatenate([stack[:, :2].min(axis=0), stack[:, 2:].max(axis=0)])
