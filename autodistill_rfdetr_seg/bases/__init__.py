"""What labels: any autodistill `DetectionBaseModel`. `registry` knows names, `adapter` is the seam."""

from .adapter import BaseAdapter
from .registry import BASES, BaseEntry, create_base, register_base

__all__ = ["BASES", "BaseAdapter", "BaseEntry", "create_base", "register_base"]
