"""`python -m …device_worker JOB`: what one device does of a training; see `device_launcher`."""

from __future__ import annotations

import sys
from pathlib import Path

from .device_launcher import work_on

if __name__ == "__main__":
    sys.exit(work_on(Path(sys.argv[1])))
