"""How fast and how good the very same artifact is: latency to full-resolution masks, mask AP, in one table."""

from .benchmark_run import Benchmark, benchmark

__all__ = ["Benchmark", "benchmark"]
