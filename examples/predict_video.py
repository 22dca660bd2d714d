"""Track instances through a video (needs the extra `video`).

python examples/predict_video.py RUN VIDEO OUTPUT
"""

import json
import sys
from collections import Counter
from pathlib import Path

from autodistill_rfdetr_seg import RFDETRSeg, predict_video
from autodistill_rfdetr_seg.targets import checkpoint_of


def main(run: str, video: str, output: str, confidence: float = 0.5) -> dict[tuple[str, int], int]:
    """Writes the video with its tracks and a JSON line for each frame; returns the frames of each track."""
    target = RFDETRSeg.from_checkpoint(checkpoint_of(Path(run)))
    found = predict_video(target, video, output, confidence=confidence, track=True)
    seen: Counter[tuple[str, int]] = Counter()
    for line in found.lines.read_text(encoding="utf-8").splitlines():
        tracked = [one for one in json.loads(line)["instances"] if one["track_id"] is not None]
        seen.update((one["class"], one["track_id"]) for one in tracked)
    print(f"{found.frames} frames, {found.tracks} tracks, {found.video}")
    return dict(seen)


if __name__ == "__main__":
    main(*sys.argv[1:4])
