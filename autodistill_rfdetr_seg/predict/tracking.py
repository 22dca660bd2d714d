"""Tracks instances from frame to frame of a video, by the times of the frames."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import DependencyError

if TYPE_CHECKING:
    import supervision as sv

# ByteTrack's default, in frames of 1/30 s.
_LOST_AFTER = 30


class Tracker:
    """ByteTrack (Zhang et al., 2022) over the detections of consecutive frames, from the package `trackers`.

    It gets each frame's time in seconds, so a moving instance is expected where it is by then, and a track is lost
    after a second (after two usual steps, where these are longer) at any frame rate.
    """

    def __init__(self, confidence: float, step: Fraction) -> None:
        hint = "pip install 'autodistill-rfdetr-seg[video]'"
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise DependencyError("Tracking needs the package trackers.", hint) from error
        if "timestamp" not in inspect.signature(ByteTrackTracker.update).parameters:
            raise DependencyError("Tracking needs trackers 2.6 or later, which takes the times of frames.", hint)
        # Every instance that is shown is tracked.
        self._tracker = ByteTrackTracker(
            # In frames of 1/30 s; two more than two steps, because containers round times.
            lost_track_buffer=max(_LOST_AFTER, math.floor(60 * step) + 2),
            frame_rate=float(1 / step),
            track_activation_threshold=confidence,
            high_conf_det_threshold=confidence,
        )

    def track_numbers(self, found: sv.Detections, seconds: Fraction) -> list[int | None]:
        """The track number of each detection, from 0; None where it has none yet. `seconds` must grow between calls."""
        import supervision as sv

        # Tracking does not use masks, and copying them is slow; it may change the order.
        data: dict[str, Any] = {"place": np.arange(len(found))}
        bare = sv.Detections(found.xyxy, confidence=found.confidence, class_id=found.class_id, data=data)
        seen = self._tracker.update(bare, timestamp=float(seconds))
        numbers: list[int | None] = [None] * len(found)
        if len(seen) and seen.tracker_id is not None:
            for place, number in zip(seen.data["place"].tolist(), seen.tracker_id.tolist(), strict=True):
                numbers[place] = int(number) if number >= 0 else None
        return numbers
