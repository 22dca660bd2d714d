"""The proof: gold sets and predictions come in, `Report` and `metrics.json` go out. Also decides which gold images
are held out, and checks gates. Imports no target when it is imported. Called by `pipeline`, `report` and scripts.
"""

from .evaluator import Report, evaluate, recovery
from .gates import check_gate_names, check_gates

__all__ = ["Report", "check_gate_names", "check_gates", "evaluate", "recovery"]
