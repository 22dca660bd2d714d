"""Small random SAM, SAM-HQ and SAM 2 with their processors, saved as published ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Pixels a side of what these models see (1024 in published ones).
SIDE = 128
EMBEDDED = SIDE // 16
_VISION = {
    "hidden_size": 32,
    "output_channels": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "window_size": 4,
    "global_attn_indexes": [1],
    "num_pos_feats": 16,
    "mlp_ratio": 2.0,
    "initializer_range": 0.2,
}
_PROMPTS = {"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 8}
_DECODER = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32}


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """Weights of `kind` (sam, sam-hq, sam2 or sam2-video) in `folder`, with their processor."""
    import torch

    torch.manual_seed(seed)
    model, processor = {"sam": _sam, "sam-hq": _sam_hq, "sam2": _sam2, "sam2-video": _sam2_video}[kind]()
    # Random weights guess an IoU on either side of 0: lifted, so that few are clipped.
    head = model.mask_decoder.iou_prediction_head
    with torch.no_grad():
        head.proj_out.bias += 0.5
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _image_processor() -> Any:
    from transformers import SamImageProcessor

    padded = {"height": SIDE, "width": SIDE}
    mask = {"height": SIDE // 4, "width": SIDE // 4}
    return SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size=padded, mask_size={"longest_edge": SIDE // 4}, mask_pad_size=mask
    )


def _sam() -> tuple[Any, Any]:
    from transformers import (
        SamConfig,
        SamMaskDecoderConfig,
        SamModel,
        SamProcessor,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    config = SamConfig(
        vision_config=SamVisionConfig(**_VISION),
        prompt_encoder_config=SamPromptEncoderConfig(**_PROMPTS),
        mask_decoder_config=SamMaskDecoderConfig(**_DECODER),
        initializer_range=0.2,
    )
    return SamModel(config), SamProcessor(_image_processor())


def _sam_hq() -> tuple[Any, Any]:
    from transformers import (
        SamHQConfig,
        SamHQMaskDecoderConfig,
        SamHQModel,
        SamHQProcessor,
        SamHQPromptEncoderConfig,
        SamHQVisionConfig,
    )

    config = SamHQConfig(
        vision_config=SamHQVisionConfig(**_VISION),
        prompt_encoder_config=SamHQPromptEncoderConfig(**_PROMPTS),
        mask_decoder_config=SamHQMaskDecoderConfig(**_DECODER, vit_dim=32),
        initializer_range=0.2,
    )
    return SamHQModel(config), SamHQProcessor(_image_processor())


def _sam2_parts() -> dict[str, Any]:
    from transformers import Sam2HieraDetConfig, Sam2MaskDecoderConfig, Sam2PromptEncoderConfig, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=16,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        initializer_range=0.2,
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        fpn_hidden_size=32,
    )
    return {
        "vision_config": vision,
        "prompt_encoder_config": Sam2PromptEncoderConfig(**_PROMPTS),
        "mask_decoder_config": Sam2MaskDecoderConfig(**_DECODER),
        "initializer_range": 0.2,
    }


def _sam2_image_processor() -> Any:
    from transformers import Sam2ImageProcessor

    return Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}, mask_size={"height": SIDE // 4, "width": SIDE // 4})


def _sam2() -> tuple[Any, Any]:
    from transformers import Sam2Config, Sam2Model, Sam2Processor

    return Sam2Model(Sam2Config(**_sam2_parts())), Sam2Processor(_sam2_image_processor())


def _sam2_video() -> tuple[Any, Any]:
    """As facebook publishes SAM 2: the video model's weights, of which the image model takes its part."""
    from transformers import Sam2VideoConfig, Sam2VideoModel, Sam2VideoProcessor, Sam2VideoVideoProcessor

    size = {"height": SIDE, "width": SIDE}
    config = Sam2VideoConfig(
        **_sam2_parts(),
        image_size=SIDE,
        memory_attention_hidden_size=32,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[EMBEDDED, EMBEDDED],
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=16,
        mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=32,
    )
    return Sam2VideoModel(config), Sam2VideoProcessor(_sam2_image_processor(), Sam2VideoVideoProcessor(size=size))
