"""Reads annotated data of users into our own types: COCO, YOLO-seg or a run, in the layouts of other tools.

A path comes in, `GroundTruth` of each split goes out; every problem is reported once, in the same words, to every
reader: `validate`, `repair`, `train`, `evaluate`, `import`, `label` and `export --samples`. `coco` reads one file; this
folder reads what a user names, also a folder, video or list of unlabeled images. `clean_dataset` writes what was
read as a dataset of ours, which `train` uses instead of the original files.
"""

from .annotated_source import AnnotatedSource, read_source
from .clean_dataset import joined_classes, write_clean
from .dataset_repair import Repaired, repair
from .gold_reader import read_gold
from .problem_summary import group_rows, problem_row, summary_text

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
