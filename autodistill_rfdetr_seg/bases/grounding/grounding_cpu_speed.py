"""Grounding DINO of transformers on a CPU, with its two slowest steps computed another way: same weights, same numbers
but for the order of summation. A GPU has its own ways to be fast, and is left alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

Tensor = Any

# Queries whose samples are gathered at a time: what they need then stays in the processor's cache.
_QUERIES = 1024


def quicken(network: Any) -> None:
    """Gives every layer of that one `…GroundingDinoForObjectDetection` the functions below."""
    for layer in network.model.encoder.layers:
        layer.fusion_layer.attn.forward = functools.partial(fused, layer.fusion_layer.attn)
        layer.deformable_layer.self_attn.attn.forward = sampled
    for layer in network.model.decoder.layers:
        layer.encoder_attn.attn.forward = sampled


def fused(
    layer: Any,
    vision_features: Tensor,
    text_features: Tensor,
    vision_attention_mask: Tensor | None = None,
    text_attention_mask: Tensor | None = None,
) -> tuple[tuple[Tensor, None], tuple[Tensor, None]]:
    """What the `…BiMultiHeadAttention` gives, without the weights: text asked by the image, the image by the text.

    There each of some 18,000 places of an image is brought to the attention's 1024 numbers, once as a question and once
    as an answer, and back. Of tokens there are few: here those are brought to a place's 256.
    """
    import torch

    batch, tokens, heads = len(text_features), text_features.shape[1], layer.num_heads

    def of_heads(tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (heads, -1))

    keys = of_heads(layer.text_proj(text_features)) * layer.scale
    query_weight, query_bias = layer.vision_proj.weight.unflatten(0, (heads, -1)), of_heads(layer.vision_proj.bias)
    asked = torch.einsum("bthd,hdc->bcht", keys, query_weight).flatten(2)
    offset = torch.einsum("bthd,hd->bht", keys, query_bias).flatten(1)
    logits = torch.baddbmm(offset[:, None], vision_features, asked)

    of_image = (
        logits if vision_attention_mask is None else logits.masked_fill(vision_attention_mask[..., None], -torch.inf)
    )
    gathered = (of_image.softmax(dim=1).transpose(1, 2) @ vision_features).unflatten(1, (heads, tokens))
    value_weight = layer.values_vision_proj.weight.unflatten(0, (heads, -1))
    # Shares of the image sum up to 1: the bias counts once.
    value_bias = of_heads(layer.values_vision_proj.bias)
    to_text = (torch.einsum("bhtc,hdc->bthd", gathered, value_weight) + value_bias).flatten(2)

    of_text = of_heads(logits)
    if text_attention_mask is not None:
        of_text = of_text.masked_fill(text_attention_mask[:, None, None], -torch.inf)
    values = of_heads(layer.values_text_proj(text_features))
    answers = torch.einsum("bthd,chd->bhtc", values, of_heads(layer.out_vision_proj.weight)).flatten(1, 2)
    to_image = torch.baddbmm(
        layer.out_vision_proj.bias.expand(batch, 1, -1), of_text.softmax(dim=-1).flatten(2), answers
    )
    return (to_image, None), (layer.out_text_proj(to_text), None)


def sampled(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_spatial_shapes_list: Sequence[tuple[int, int]],
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """What the `MultiScaleDeformableAttention` gives: weighted bilinear samples of all levels, (batch, queries, dim).

    `value` is (batch, places of all levels, heads, d), `sampling_locations` (batch, queries, heads, levels, points, 2)
    in shares of a level, `attention_weights` the same without the last axis. A query's samples are the weighted sum of
    rows of `value`, which torch can compute in one go instead of keeping every sample.
    """
    import torch

    batch, places, heads, _ = value.shape
    queries = sampling_locations.shape[1]
    # Each row once a batch item, place and head.
    rows = value.flatten(0, 2)
    sizes = torch.tensor([(width, height) for height, width in value_spatial_shapes_list], dtype=torch.int32)
    starts = sizes.prod(dim=1).cumsum(0, dtype=torch.int32) - sizes.prod(dim=1)
    out = []
    for item in range(batch):
        first = (starts + item * places)[:, None].int()
        for at in range(0, queries, _QUERIES):
            part = slice(at, at + _QUERIES)
            which, weight = _corners(sampling_locations[item, part], attention_weights[item, part], sizes, first)
            which = which * heads + torch.arange(heads, dtype=torch.int32)[:, None]
            out.append(
                torch.nn.functional.embedding_bag(
                    which.flatten(0, 1), rows, per_sample_weights=weight.flatten(0, 1), mode="sum"
                )
            )
    return torch.cat(out).view(batch, queries, -1)


def _corners(places: Tensor, shares: Tensor, sizes: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels around each place and their weights, (queries, heads, 4 · levels · points) int32 and float.

    `places` are (queries, heads, levels, points, 2), x and y in shares of a level of `sizes` (levels, 2); `shares` of
    each in the result; `first` (levels, 1) is where a level starts. A pixel outside its level has the weight 0.
    """
    import torch

    pixels = places * sizes[:, None] - 0.5
    low = pixels.floor()
    beyond = pixels - low
    columns, lines = [], []
    for step, weight in ((0, 1 - beyond), (1, beyond)):
        corner = low + step
        weight = weight * ((corner >= 0) & (corner < sizes[:, None]))
        corner = corner.clamp(min=0).minimum(sizes[:, None] - 1.0).int()
        columns.append((corner[..., 0], weight[..., 0]))
        lines.append((corner[..., 1] * sizes[:, :1] + first, weight[..., 1] * shares))
    which = torch.stack([line + column for line, _ in lines for column, _ in columns])
    weight = torch.stack([line * column for _, line in lines for _, column in columns])
    return tuple(tensor.movedim(0, -1).flatten(2) for tensor in (which, weight))
