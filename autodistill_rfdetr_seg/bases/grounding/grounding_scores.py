"""The output of a Grounding DINO, in tensors on its device: scores of prompts, boxes, and what negatives remove."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Tensor = Any

# Two boxes that overlap so much (IoU) are of one object, where a negative prompt is held against the others.
SAME_OBJECT = 0.8


class Found(NamedTuple):
    """Boxes (N, 4), XYXY in shares of the image, their scores (N,) and the index of each one's prompt (N,)."""

    boxes: Tensor
    scores: Tensor
    prompts: Tensor

    def take(self, which: Tensor) -> Found:
        """Those that an index or a mask names."""
        return Found(*(tensor[which] for tensor in self))


class SharedFeatures:
    """A backbone's features, computed once an image and handed out to as many captions as ask about it.

    It replaces the backbone's `forward`. `expect(rows)` sets which image each item of the next batch shows; features of
    others are released.
    """

    def __init__(self, compute: Callable[[Tensor, Tensor], tuple[list[tuple[Tensor, Tensor]], list[Tensor]]]) -> None:
        self._compute = compute
        self._rows: Sequence[int] = ()
        self._known: dict[int, list[Tensor]] = {}

    def expect(self, rows: Sequence[int]) -> None:
        """The next batch shows these images; with none, all are released."""
        self._rows = rows
        self._known = {row: tensors for row, tensors in self._known.items() if row in set(rows)}

    def __call__(self, pixel_values: Tensor, pixel_mask: Tensor) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """As the backbone's: (map, mask) of each level and their position embeddings, for every item of the batch."""
        import torch

        new = {row: at for at, row in reversed(list(enumerate(self._rows))) if row not in self._known}
        if new:
            at = list(new.values())
            maps, positions = self._compute(pixel_values[at], pixel_mask[at])
            flat = [tensor for level in zip(maps, positions, strict=True) for tensor in (*level[0], level[1])]
            self._known.update({row: [tensor[n] for tensor in flat] for n, row in enumerate(new)})
        whole = [torch.stack(level) for level in zip(*(self._known[row] for row in self._rows), strict=True)]
        return list(zip(whole[0::3], whole[1::3], strict=True)), whole[2::3]


def padded(table: Sequence[Sequence[int]], filler: int, device: str) -> Tensor:
    """Rows of numbers as one (rows, longest) int64 tensor, `filler` behind the shorter ones."""
    import torch

    length = max(map(len, table))
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in table], device=device)


def prompt_scores(logits: Tensor, owners: Tensor, prompts: int) -> Tensor:
    """Each prompt's score for each box, (B, Q, `prompts`) float32: the best of its tokens, 0 where it is not asked.

    `logits` are (B, Q, T); `owners` (B, L), L <= T, is the prompt of each token, or -1.
    """
    import torch

    scores = logits[..., : owners.shape[1]].float().sigmoid()
    # What belongs to nobody is gathered in a column of its own, which is then left out.
    columns = torch.where(owners < 0, prompts, owners)[:, None, :].expand_as(scores)
    best = scores.new_zeros((*scores.shape[:2], prompts + 1)).scatter_reduce_(2, columns, scores, "amax")
    return best[..., :prompts]


def corners(boxes: Tensor) -> Tensor:
    """(…, 4) center, width and height as XYXY, float32."""
    import torch

    center, half = boxes[..., :2].float(), boxes[..., 2:].float() / 2
    return torch.cat([center - half, center + half], dim=-1)


def found(scores: Tensor, boxes: Tensor, thresholds: Tensor) -> Found:
    """Of one item, scores (Q, P) and boxes (Q, 4): each box with the best of the prompts that it scores over the
    thresholds (P,) of, each 0 or more; without such a one, not at all."""
    best, prompt = scores.masked_fill(scores <= thresholds, -1).max(dim=-1)
    keep = best > 0
    return Found(boxes[keep], best[keep], prompt[keep])


def joined(parts: Sequence[Found]) -> Found:
    """All of them as one."""
    import torch

    return Found(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def outdone(positives: Found, negatives: Found) -> Tensor:
    """(N,) bool: for which boxes a negative has a better score, on that box or another of the same object."""
    from torchvision.ops import box_iou

    same = box_iou(positives.boxes, negatives.boxes) >= SAME_OBJECT
    return (same & (negatives.scores[None] > positives.scores[:, None])).any(dim=1)


def suppressed(given: Found, iou: float | None) -> Found:
    """Best first; of boxes of one prompt that overlap by more than `iou` only the best, where it is given."""
    from torchvision.ops import batched_nms

    if iou is not None:
        return given.take(batched_nms(given.boxes, given.scores, given.prompts, iou))
    return given.take(given.scores.argsort(descending=True, stable=True))
