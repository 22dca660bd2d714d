"""`python -m autodistill_rfdetr_seg` is `autodistill-seg`."""

import sys

from .cli import main

sys.exit(main())
