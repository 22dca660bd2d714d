"""Scores predictions: gold sets and predictions come in, `Report` and the content of metrics.json go out. It also finds
gold images that are not held out, and checks gates. Importing it imports no target. Called by `pipeline`, `report`,
`benchmarking` and scripts.
"""

from .evaluator import Report, evaluate, recovery
from .gates import check_gate_names, check_gates

__all__ = ["Report", "check_gate_names", "check_gates", "evaluate", "recovery"]
