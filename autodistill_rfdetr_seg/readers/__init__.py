"""What people have, read into our own types: COCO, YOLO-seg or a run, in the layouts that other tools write.

A path comes in, `GroundTruth` of each split goes out; every problem is told once, in the same words, to everyone who
reads: `validate`, `repair`, `train`, `evaluate`, `import`, `label` and `export --samples`. What `coco` is for one file,
this package is for what a user points at. `clean` writes what was understood as a dataset of ours, which `train` is
given in place of anyone else's files.
"""

from .clean import joined_classes, write_clean
from .gold import read_gold
from .repairing import Repaired, repair
from .source import AnnotatedSource, read_source
from .summary import group_rows, problem_row, summary_text

__all__ = [
    "AnnotatedSource",
    "Repaired",
    "group_rows",
    "joined_classes",
    "problem_row",
    "read_gold",
    "read_source",
    "repair",
    "summary_text",
    "write_clean",
]
