"""`python -m …device_worker TASK_FILE`: trains on one device; see `device_launcher`."""

from __future__ import annotations

import sys
from pathlib import Path

from .device_launcher import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(Path(sys.argv[1])))
