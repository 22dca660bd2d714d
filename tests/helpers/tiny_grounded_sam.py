"""GroundedSAM's real classes at a size for tests: small random weights in the files its package looks for.

`python -m tiny_grounded_sam SCRIPT …` runs a script, or a package by its name, with SAM's "vit_h" made as small.
"""

from __future__ import annotations

import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

CONFIG = """
modelname, backbone, position_embedding = "groundingdino", "swin_T_224_1k", "sine"
pe_temperatureH = pe_temperatureW = 20
return_interm_indices, backbone_freeze_keywords = [1, 2, 3], None
enc_layers = dec_layers = 1
pre_norm, dim_feedforward, hidden_dim, dropout, nheads = False, 32, 256, 0.0, 4
num_queries, query_dim, num_patterns, num_feature_levels = 4, 4, 0, 4
enc_n_points = dec_n_points = 4
two_stage_type, two_stage_bbox_embed_share, two_stage_class_embed_share = "standard", False, False
transformer_activation, dec_pred_bbox_embed_share = "relu", True
dn_box_noise_scale, dn_label_noise_ratio, dn_label_coef, dn_bbox_coef = 1.0, 0.5, 1.0, 1.0
embed_init_tgt, dn_labelbook_size, max_text_len = True, 2000, 256
use_text_enhancer = use_fusion_layer = use_text_cross_attention = sub_sentence_present = True
use_checkpoint = use_transformer_ckpt = False
text_dropout = fusion_dropout = fusion_droppath = 0.0
text_encoder_type = {text!r}
"""
# Special tokens have the numbers of bert-base-uncased's vocabulary: groundingdino has them written down.
SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
WORDS = {1100: "a", 1101: "red", 1102: "dog", 1103: "puppy", 1104: "cat"}


def save_text_model(folder: Path) -> None:
    """A BERT of two layers with its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir()
    tokens = [{**SPECIAL, **WORDS}.get(i, f"[unused{i}]") for i in range(1110)]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    tokenizer = BertTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    # Weights ten times the usual: attention to the wrong token must show.
    BertModel(BertConfig(vocab_size=len(tokens), initializer_range=0.2, **sizes)).save_pretrained(folder)


def build_sam(checkpoint: str | None = None) -> Any:
    """SAM with an image encoder of one layer on 64 x 64 pixels."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    encoder = ImageEncoderViT(
        img_size=64, patch_size=8, embed_dim=32, depth=1, num_heads=2, out_chans=32, norm_layer=norm, use_rel_pos=True
    )
    prompts = PromptEncoder(32, (8, 8), (64, 64), 16)
    decoder = MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(2, 32, 2, 64))
    sam = Sam(encoder, prompts, decoder)
    sam.eval()
    if checkpoint is not None:
        sam.load_state_dict(torch.load(checkpoint, weights_only=True))
    return sam


def save(home: Path) -> Path:
    """Writes everything below a home folder; returns it."""
    import torch
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig

    dino, sam = (home / ".cache" / "autodistill" / name for name in ("groundingdino", "segment_anything"))
    dino.mkdir(parents=True)
    sam.mkdir()
    save_text_model(home / "bert")
    config = dino / "GroundingDINO_SwinT_OGC.py"
    config.write_text(CONFIG.format(text=str(home / "bert")))
    torch.manual_seed(1)
    arguments = SLConfig.fromfile(str(config))
    arguments.device = "cpu"
    model = build_model(arguments)
    # Zero when it is made: the boxes would not depend on the text.
    torch.nn.init.normal_(model.bbox_embed[0].layers[-1].weight, std=0.1)
    torch.save({"model": model.half().state_dict()}, dino / "groundingdino_swint_ogc.pth")
    torch.save(build_sam().state_dict(), sam / "sam_vit_h_4b8939.pth")
    return home


def shrink_sam() -> None:
    """Makes autodistill-grounded-sam's choice of SAM, `vit_h`, the small one in this process."""
    from segment_anything import sam_model_registry

    sam_model_registry["vit_h"] = build_sam


if __name__ == "__main__":
    shrink_sam()
    sys.argv = sys.argv[1:]
    start = runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module
    start(sys.argv[0], run_name="__main__")
