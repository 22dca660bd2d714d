"""Groups gold images that do not count as separate ones: look-alikes, and neighboring frames of one view."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..images.perceptual_hash import groups, near_duplicates, runs_of_neighbors

# A group with more than this share of the images is one view, such as that of a fixed camera, and no set of copies.
_ONE_VIEW = 0.5


@dataclass(frozen=True)
class GoldGroups:
    """The group of each image (`of`: image id → group), and whether most of the images are of `one_view`."""

    of: Mapping[str, str] = field(default_factory=dict)
    one_view: bool = False


def gold_groups(hashes: Mapping[str, int | None], bits: int) -> GoldGroups:
    """The groups of images, by the perceptual hashes of all (None where an image has none).

    Images whose hashes differ in at most `bits` are one group. A group with most of the images is one view instead: it
    is cut into runs of consecutive images, by name, of about the third root of their number (a power of two), as in a
    block bootstrap (Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989).
    """
    found = groups(hashes, near_duplicates(hashes, bits), {})
    largest, size = Counter(found.values()).most_common(1)[0] if found else ("", 0)
    one_view = size > max(2, _ONE_VIEW * len(found))
    if one_view:
        members = [name for name in found if found[name] == largest]
        found |= runs_of_neighbors(members, 2 ** round(math.log2(len(members)) / 3))
    return GoldGroups(found, one_view)
