"""YOLO-seg datasets, as ultralytics documents them, read into our own types.

A `data.yaml` comes in, `GroundTruth` of each split goes out. `data_yaml` says what the file declares, `places` and
`splits` which images that is, `labels` what one label file holds, `reading` makes instances of it; `kinds` lists what
can be wrong. A declaration that leads nowhere is an error, never replaced by a guess.
"""

from .data_yaml import find_data_yaml
from .yolo_reader import read_yolo

__all__ = ["find_data_yaml", "read_yolo"]
