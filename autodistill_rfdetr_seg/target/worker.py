"""`python -m autodistill_rfdetr_seg.target.worker JOB`: one device's share of a training; see `launching`."""

from __future__ import annotations

import sys
from pathlib import Path

from .launching import work_on

if __name__ == "__main__":
    sys.exit(work_on(Path(sys.argv[1])))
