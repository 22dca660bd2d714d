"""Instances followed from frame to frame of a video, by the times of the frames."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import DependencyError

if TYPE_CHECKING:
    import supervision as sv

# ByteTrack's own, in frames of 1/30 s.
_LOST_AFTER = 30


class Tracker:
    """ByteTrack over the detections of consecutive frames (Zhang et al., 2022), by the package `trackers`.

    It gets each frame's time in seconds: an instance that moves is looked for where it has come to since, and a track
    is lost after a second (after two usual steps, where these are longer), however many frames that is.
    """

    def __init__(self, confidence: float, step: Fraction) -> None:
        hint = "pip install 'autodistill-rfdetr-seg[video]'"
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise DependencyError("Tracking needs the package trackers.", hint) from error
        if "timestamp" not in inspect.signature(ByteTrackTracker.update).parameters:
            raise DependencyError("Tracking needs the times of frames, which trackers takes from 2.6 on.", hint)
        # What is shown is sure enough to be followed.
        self._tracker = ByteTrackTracker(
            # In frames of 1/30 s; what is above two steps is for times that a container rounds.
            lost_track_buffer=max(_LOST_AFTER, math.floor(60 * step) + 2),
            frame_rate=float(1 / step),
            track_activation_threshold=confidence,
            high_conf_det_threshold=confidence,
        )

    def numbers(self, found: sv.Detections, seconds: Fraction) -> list[int | None]:
        """The track of each detection, from 0; None where there is none yet. `seconds` only grows."""
        import supervision as sv

        # Masks are not looked at, and copying them costs; the order may change on the way.
        data: dict[str, Any] = {"place": np.arange(len(found))}
        bare = sv.Detections(found.xyxy, confidence=found.confidence, class_id=found.class_id, data=data)
        seen = self._tracker.update(bare, timestamp=float(seconds))
        numbers: list[int | None] = [None] * len(found)
        if len(seen) and seen.tracker_id is not None:
            for place, number in zip(seen.data["place"].tolist(), seen.tracker_id.tolist(), strict=True):
                numbers[place] = int(number) if number >= 0 else None
        return numbers
