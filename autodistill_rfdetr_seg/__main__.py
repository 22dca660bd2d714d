"""`python -m autodistill_rfdetr_seg` is `autodistill-seg`."""

import sys

from .cli.command_line import main

sys.exit(main())
