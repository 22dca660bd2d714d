"""Recognizes rows of keypoints, which look like polygons: `class x y w h`, then `x y` or `x y visibility` of each
point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

_BOX = 4
_SLACK = 0.01
_FEWEST_ROWS = 6
_FEWEST_POINTS = 3


def is_pose_with_visibility(values: Sequence[float]) -> bool:
    """Whether a row's numbers after the class are a box and at least two keypoints in it, each with a visibility of
    0, 1 or 2."""
    count = len(values) - _BOX
    if count < 6 or count % 3 or not all(value in (0.0, 1.0, 2.0) for value in values[_BOX + 2 :: 3]):
        return False
    triples = np.array(values[_BOX:], dtype=np.float64).reshape(-1, 3)
    return _is_box_of(np.array(values[:_BOX]), triples[triples[:, 2] > 0, :2])


@dataclass
class PoseWatch:
    """Checks all outlines of a dataset, one after the other, for whether they are poses instead.

    They are where each could be a box and keypoints without visibility, all have as many, and half of them cross
    themselves, which outlines seldom do.
    """

    rows: int = 0
    points: int = 0
    crossing: int = 0
    _possible: bool = True

    def see(self, outline: Points) -> None:
        """Checks an outline, (N, 2) shares."""
        if not self._possible:
            return
        self.points = self.points or len(outline)
        self._possible = len(outline) == self.points and len(outline) > _FEWEST_POINTS and _could_be_pose(outline)
        self.rows += 1
        self.crossing += _crosses_itself(outline)

    @property
    def poses(self) -> bool:
        """Whether the outlines so far are poses."""
        return self._possible and self.rows >= _FEWEST_ROWS and 2 * self.crossing >= self.rows


def _could_be_pose(points: Points) -> bool:
    keypoints = points[2:]
    return _is_box_of(points[:2].ravel(), keypoints[keypoints.any(axis=1)])


def _is_box_of(box: Points, keypoints: Points) -> bool:
    """Whether [x, y, w, h] is a box in the image that holds the keypoints, at least one."""
    center, half = box[:2], box[2:] / 2
    if not len(keypoints) or half.min() <= 0 or (center - half).min() < -_SLACK or (center + half).max() > 1 + _SLACK:
        return False
    return bool((np.abs(keypoints - center) <= half + _SLACK).all())


def _crosses_itself(points: Points) -> bool:
    """Whether two sides of a closed outline cross."""
    ends = np.roll(points, -1, axis=0)
    side = ends - points

    def turn(origin: Points, towards: Points, point: Points) -> Points:
        away = point - origin
        result: Points = towards[..., 0] * away[..., 1] - towards[..., 1] * away[..., 0]
        return result

    first = turn(points[:, None], side[:, None], points[None]) * turn(points[:, None], side[:, None], ends[None])
    crossing = (first < 0) & (first.T < 0)
    return bool(crossing.any())
