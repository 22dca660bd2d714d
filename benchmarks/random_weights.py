"""Published architectures with random weights, in the files that each package loads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Token ids of bert-base-uncased; both implementations of Grounding DINO have some of them in their code.
_MARKS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
_FIRST_WORD = 1100

_SAM_ENCODERS: dict[str, dict[str, Any]] = {
    "vit_b": {},
    "vit_l": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "global_attn_indexes": [5, 11, 17, 23],
    },
    "vit_h": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
    },
}
SAMS = tuple(_SAM_ENCODERS)

_SAM2_ENCODERS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "base-plus": {
        "hidden_size": 112,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 3, 16, 3],
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
}
SAM2S = tuple(_SAM2_ENCODERS)

# Names of the SAM weights in segment_anything → names in transformers; the rules are applied in this order.
_SAM_NAMES = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.blocks\.", ".layers."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"\.norm", ".layer_norm"),
    (r"neck\.([02])\.", lambda m: f"neck.conv{int(m[1]) // 2 + 1}."),
    (r"neck\.([13])\.", lambda m: f"neck.layer_norm{int(m[1]) // 2 + 1}."),
    (r"mask_downscaling\.([036])\.", lambda m: f"mask_embed.conv{int(m[1]) // 3 + 1}."),
    (r"mask_downscaling\.([14])\.", lambda m: f"mask_embed.layer_norm{int(m[1]) // 3 + 1}."),
    (r"output_upscaling\.([03])\.", lambda m: f"upscale_conv{int(m[1]) // 3 + 1}."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"point_embeddings", "point_embed"),
    (r"^.*positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
)


def save_dino(folder: Path, prompts: Sequence[str]) -> Path:
    """Grounding DINO (Swin-T) for transformers, with a tokenizer that knows the words of `prompts`."""
    import torch
    from transformers import (
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    torch.manual_seed(0)
    # The defaults of the configuration are those of the published model.
    GroundingDinoForObjectDetection(GroundingDinoConfig()).save_pretrained(folder)
    GroundingDinoProcessor(GroundingDinoImageProcessor(), _tokenizer(prompts)).save_pretrained(folder)
    return folder


def save_sam(folder: Path, kind: str) -> Path:
    """SAM of one of `SAMS` for transformers."""
    import torch
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(0)
    SamModel(SamConfig(vision_config=_sam_vision(kind))).save_pretrained(folder)
    SamProcessor(SamImageProcessor()).save_pretrained(folder)
    return folder


def sam_encoder(kind: str) -> Any:
    """Only the image encoder of one of `SAMS`: a module with input pixels (B, 3, 1024, 1024) float32."""
    import torch
    from transformers import SamVisionModel

    torch.manual_seed(0)
    return SamVisionModel(_sam_vision(kind)).eval()


def _sam_vision(kind: str) -> Any:
    from transformers import SamVisionConfig

    # The default of 1e-10 gives denormal numbers, with which a CPU is five times slower.
    return SamVisionConfig(**_SAM_ENCODERS[kind], initializer_range=0.02)


def save_sam2(folder: Path, kind: str) -> Path:
    """SAM 2 of one of `SAM2S` for transformers."""
    import torch
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2Model,
        Sam2Processor,
        Sam2VisionConfig,
    )

    encoder = Sam2HieraDetConfig(**_SAM2_ENCODERS[kind])
    vision = Sam2VisionConfig(backbone_config=encoder, backbone_channel_list=encoder.embed_dim_per_stage[::-1])
    torch.manual_seed(0)
    Sam2Model(Sam2Config(vision_config=vision)).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(folder)
    return folder


def save_home(home: Path, prompts: Sequence[str], sam: Path, kind: str) -> Path:
    """A home folder with the cache of autodistill-grounded-sam: its Grounding DINO, and SAM with the weights `sam`."""
    import groundingdino
    import torch
    from safetensors.torch import load_file
    from segment_anything import sam_model_registry
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    bert = home / "bert"
    BertModel(BertConfig()).save_pretrained(bert)
    _tokenizer(prompts).save_pretrained(bert)
    cache = home / ".cache" / "autodistill"
    for name in ("groundingdino", "segment_anything"):
        (cache / name).mkdir(parents=True)
    shipped = Path(groundingdino.__file__).with_name("config") / "GroundingDINO_SwinT_OGC.py"
    (cache / "groundingdino" / shipped.name).write_text(
        shipped.read_text().replace('"bert-base-uncased"', repr(str(bert)))
    )
    # An empty file: weights that are not in it keep their random values.
    torch.save({"model": {}}, cache / "groundingdino" / "groundingdino_swint_ogc.pth")
    weights = load_file(sam / "model.safetensors")
    with torch.device("meta"):
        names = list(sam_model_registry[kind]().state_dict())
    # The package only knows the file name of the largest model.
    torch.save({name: weights[_renamed(name)] for name in names}, cache / "segment_anything" / "sam_vit_h_4b8939.pth")
    return home


def _renamed(name: str) -> str:
    for pattern, new in _SAM_NAMES:
        name = re.sub(pattern, new, name)
    return name


def _tokenizer(prompts: Sequence[str]) -> Any:
    from transformers import BertTokenizer

    words = sorted({word for prompt in prompts for word in re.findall(r"\w+", prompt.lower())})
    known = {number: mark for mark, number in _MARKS.items()} | dict(enumerate(words, _FIRST_WORD))
    vocabulary = {known.get(n, f"[unused{n}]"): n for n in range(_FIRST_WORD + len(words))}
    return BertTokenizer(vocab=vocabulary, model_max_length=512)
