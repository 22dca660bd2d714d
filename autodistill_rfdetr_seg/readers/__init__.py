"""What people have, read into our own types: COCO, YOLO-seg or a run, in the layouts that other tools write.

A path comes in, `GroundTruth` of each split goes out; every problem is told once, in the same words, to everyone who
reads: `validate`, `repair`, `train`, `evaluate`, `import`, `label` and `export --samples`. What `coco` is for one file,
this package is for what a user points at.
"""

from .gold import read_gold

__all__ = ["read_gold"]
