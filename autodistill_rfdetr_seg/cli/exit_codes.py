"""Exit codes that commands return. Errors have their own: `core/errors.py`."""

OK = 0
FAILED = 1
# Finished, but some images failed.
SOME_FAILED = 4
INTERRUPTED = 130
