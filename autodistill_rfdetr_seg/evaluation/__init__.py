"""One evaluator for labels and predictions: gold set + predictions → `Report`."""

from .evaluator import Report, evaluate, recovery

__all__ = ["Report", "evaluate", "recovery"]
