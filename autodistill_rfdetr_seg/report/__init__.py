"""The run's report: one self-contained HTML page, and the pictures in it."""

from .page import PageData, Pair, Sample, write_page
from .pictures import contact_sheet, draw_instances, side_by_side

__all__ = ["PageData", "Pair", "Sample", "contact_sheet", "draw_instances", "side_by_side", "write_page"]
