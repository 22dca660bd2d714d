"""Which labels of a base are right: the labels that the rules of a build keep, matched with a gold set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.config import RefineConfig
from ..core.types import GroundTruth, ImageLabels, ImagePredictions
from ..dataset.refine import refine
from .detection_matches import Matches
from .detections import IntArray
from .prediction_matches import match_predictions

# A label is right if the IoU of its mask with that of an object of its class is at least this.
LABEL_IOU = 0.5


def match_labels(truth: GroundTruth, labels: Mapping[str, ImageLabels], rules: RefineConfig) -> Matches:
    """The matches between the labels that `rules` keep and the gold objects of their class, at IoU 0.5.

    `labels` are a base's labels by the id of the gold image. Every label counts, however many an image has. A label
    that matches a crowd region is left out: it is neither right nor wrong. Images are numbered in the order of
    `in_id_order`, in every call alike.
    """
    classes = truth.classes
    kept = [
        ImagePredictions(image.image_id, refine(labels[image.image_id], rules, classes).instances)
        for image in truth.images
    ]
    return match_predictions(truth, kept, area_from="mask").at()


def class_image_counts(matches: Matches) -> tuple[IntArray, IntArray, IntArray]:
    """Of each class and image (classes, images): the right labels, all labels, and the gold objects."""
    shape = matches.gold.shape
    places = matches.classes * shape[1] + matches.images
    right = np.bincount(places[matches.matched], minlength=matches.gold.size)
    every = np.bincount(places, minlength=matches.gold.size)
    return right.reshape(shape), every.reshape(shape), matches.gold
