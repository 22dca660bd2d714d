"""COCO instance segmentation: read, align, write, validate, and pycocotools' own dictionaries.

This package is the only place that knows a category id; everywhere else a class is a 0-based index.
"""

from .annotation_parts import write_parts
from .class_alignment import ClassMatch, align, ground_truth, match_classes
from .json_lines import instance_row, read_instance
from .label_file import open_labels
from .layout import ANNOTATIONS, find_files, locate, split_of
from .parsing import parse
from .problems import Kind, OnProblem, Problem, by_kind
from .reading import label_of, log_warnings, read, read_rows, refuse_errors, truth_of
from .result_files import read_results
from .results import areas_and_boxes, in_id_order, to_dataset, to_results, write_results
from .single_image import from_answer, image_file
from .validation import validate
from .writing import EncodedImage, Segmentation, encode_image, write, write_encoded
from .written_file import LabelFile

__all__ = [
    "ANNOTATIONS",
    "ClassMatch",
    "EncodedImage",
    "Kind",
    "LabelFile",
    "OnProblem",
    "Problem",
    "Segmentation",
    "align",
    "areas_and_boxes",
    "by_kind",
    "encode_image",
    "find_files",
    "from_answer",
    "ground_truth",
    "image_file",
    "in_id_order",
    "instance_row",
    "label_of",
    "locate",
    "log_warnings",
    "match_classes",
    "open_labels",
    "parse",
    "read",
    "read_instance",
    "read_results",
    "read_rows",
    "refuse_errors",
    "split_of",
    "to_dataset",
    "to_results",
    "truth_of",
    "validate",
    "write",
    "write_encoded",
    "write_parts",
    "write_results",
]
