"""Large images and small objects: run the base on overlapping tiles, and join the answers (`runtime.tile_joining`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ..core import masks
from ..core.errors import UsageError
from ..core.types import Instance
from ..runtime import tile_joining
from ..runtime.instance_mask import Mask
from ..runtime.tile_joining import Piece, Window, join_pieces


def ask_in_tiles(
    ask: Callable[[Window], Sequence[Instance]],
    height: int,
    width: int,
    tile: int,
    overlap: float,
    classes: Sequence[int] = (),
) -> list[Instance]:
    """The instances of a large image of `height` x `width` pixels, their masks of that size.

    `ask` is called for each tile and gives the instances in it, their masks of the tile's size. Only what is of one
    class is joined: `classes` as for `same_class`. Of an image that fits into one tile the answer is given back as it
    is; `join_pieces` says what is joined otherwise, and in which order instances come.

    Raises:
        UsageError: `tile` is under 10 pixels, or `overlap` is not in 0..0.9.
    """
    windows = tile_windows(height, width, tile, overlap)
    if len(windows) == 1:
        return list(ask(windows[0]))

    instances: list[Instance] = []
    pieces: list[Piece] = []
    for number, window in enumerate(windows):
        for one in ask(window):
            mask = Mask(height, width, masks.decode_crop(one.rle, window.top, window.left))
            class_id = classes[one.class_index] if classes else one.class_index
            instances.append(one)
            pieces.append(Piece(number, mask, class_id, one.score, one.mask_score))
    return [
        dataclasses.replace(
            instances[joined.best],
            rle=masks.encode_crop(joined.mask.crop(), height, width),
            score=joined.score,
            mask_score=joined.mask_score,
        )
        for joined in join_pieces(pieces, windows, height, width)
    ]


def tile_windows(height: int, width: int, tile: int, overlap: float) -> list[Window]:
    """The tiles of an image of `height` x `width` pixels, row by row; `tile_joining.tile_windows` describes them.

    Raises:
        UsageError: `tile` is under 10 pixels, or `overlap` is not in 0..0.9.
    """
    try:
        return tile_joining.tile_windows(height, width, tile, overlap)
    except ValueError as error:
        raise UsageError(str(error), "Tiles of 512 to 1024 pixels with an overlap of 0.2 are a good start.") from error
