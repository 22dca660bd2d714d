"""One evaluator for labels and predictions: gold set + predictions → `Report`."""

from .evaluator import Report, evaluate, recovery
from .gates import check_gate_names, check_gates

__all__ = ["Report", "check_gate_names", "check_gates", "evaluate", "recovery"]
