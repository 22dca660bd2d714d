"""A SAM 3 of random weights and a few pixels, saved with its processor as the published ones are."""

from __future__ import annotations

import string
from pathlib import Path

from autodistill.detection import CaptionOntology

PROMPTS = ("a red square", "a blue bolt", "a nut")


def save_model(folder: Path, *, lite: bool = False) -> Path:
    """The folder, with a model whose prompts each find something."""
    import torch
    import transformers

    size, width = 56, 32
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": width,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": size,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 28,
    }
    places = [[16, 16], [8, 8], [4, 4]]
    small = {"hidden_size": width, "num_attention_heads": 2}
    text = {"vocab_size": 600, "hidden_size": width, "intermediate_size": 64, "projection_dim": 16}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}
    kind = transformers.Sam3LiteTextConfig if lite else transformers.Sam3Config
    text["model_type"] = "sam3_lite_text_text_model" if lite else "clip_text_model"
    config = kind(
        vision_config={"backbone_config": backbone, "fpn_hidden_size": width, "backbone_feature_sizes": places},
        text_config=text,
        geometry_encoder_config=small | {"num_layers": 1, "intermediate_size": 64},
        detr_encoder_config=small | {"num_layers": 1, "intermediate_size": 64},
        detr_decoder_config=small | {"num_layers": 2, "intermediate_size": 64, "num_queries": 6},
        mask_decoder_config=small,
    )
    torch.manual_seed(3)
    model = (transformers.Sam3LiteTextModel if lite else transformers.Sam3Model)(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            # Random weights of the usual size say the same of every image and word.
            if weights.ndim > 1 and "position" not in name:
                weights.mul_(6)
    model.save_pretrained(folder)
    letters = [*string.ascii_lowercase, *string.digits]
    vocab = {token: at for at, token in enumerate([*letters, *(f"{one}</w>" for one in letters)])}
    vocab |= {"<|startoftext|>": len(vocab), "<|endoftext|>": len(vocab) + 1}
    tokenizer = transformers.CLIPTokenizer(vocab=vocab, merges=[])
    image = transformers.Sam3ImageProcessor(size={"height": size, "width": size})
    transformers.Sam3Processor(image_processor=image, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def ontology(*prompts: str) -> CaptionOntology:
    return CaptionOntology({prompt: prompt.split()[-1] for prompt in prompts or PROMPTS})
