"""Measures speed and accuracy of the same artifact: latency to full-resolution masks and mask AP, in one table. Runs,
checkpoints or exports come in; `Benchmark` and its files go out. Called by the command line and the Python API.
"""

from .benchmark_run import Benchmark, benchmark

__all__ = ["Benchmark", "benchmark"]
