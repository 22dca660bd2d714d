"""The report: the files of an evaluated run come in; one self-contained HTML page and a picture go out. Called by
`pipeline` as its last stage.
"""

from .report_page import PageData, Pair, Sample, write_page

__all__ = ["PageData", "Pair", "Sample", "write_page"]
