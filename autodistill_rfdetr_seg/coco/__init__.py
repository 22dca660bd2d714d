"""COCO instance segmentation: read, align, write, validate, and pycocotools' own dictionaries.

This package is the only place that knows a category id; everywhere else a class is a 0-based index.
"""

from .alignment import ClassMatch, align, match_classes
from .lines import instance_row, read_instance
from .parsing import ANNOTATIONS
from .problem import Problem
from .reading import label_of, read, read_rows
from .result_files import read_results
from .results import in_id_order, to_dataset, to_results, write_results
from .single import from_answer, image_file
from .validation import look_at_image, look_at_mask, validate
from .writing import write

__all__ = [
    "ANNOTATIONS",
    "ClassMatch",
    "Problem",
    "align",
    "from_answer",
    "image_file",
    "in_id_order",
    "instance_row",
    "label_of",
    "look_at_image",
    "look_at_mask",
    "match_classes",
    "read",
    "read_instance",
    "read_results",
    "read_rows",
    "to_dataset",
    "to_results",
    "validate",
    "write",
    "write_results",
]
