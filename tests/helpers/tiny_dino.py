"""A Grounding DINO of transformers' own classes with small random weights, saved as a folder of the hub would be."""

from __future__ import annotations

from pathlib import Path

# The model's code knows the marks by bert-base-uncased's own numbers.
MARKS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "-": 1011, ".": 1012, "?": 1029}
WORDS = (
    "a",
    "the",
    "red",
    "green",
    "cat",
    "dog",
    "puppy",
    "plush",
    "toy",
    "remote",
    "control",
    "##s",
    "thing",
    "object",
)
DIGITS = tuple("0123456789") + tuple(f"##{digit}" for digit in "0123456789")


def vocabulary() -> dict[str, int]:
    """Words to ids, from 0 without a gap."""
    words = {word: 1100 + n for n, word in enumerate((*WORDS, *DIGITS))}
    filler = {f"[unused{n}]": n for n in range(1100) if n not in MARKS.values()}
    return dict(sorted({**MARKS, **words, **filler}.items(), key=lambda item: item[1]))


def save_tiny_dino(folder: Path, *, mm: bool = False, seed: int = 1, queries: int = 30) -> Path:
    """Writes model, image processor (shorter side 64) and tokenizer into `folder`."""
    import torch
    import transformers

    vocab = vocabulary()
    swin = transformers.SwinConfig(
        image_size=64,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        mlp_ratio=2.0,
        out_features=["stage2", "stage3", "stage4"],
    )
    bert = transformers.BertConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=256,
    )
    options = {
        "backbone_config": swin,
        "text_config": bert,
        "num_queries": queries,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "d_model": 32,
    }
    torch.manual_seed(seed)
    if mm:
        model = transformers.MMGroundingDinoForObjectDetection(transformers.MMGroundingDinoConfig(**options))
    else:
        model = transformers.GroundingDinoForObjectDetection(transformers.GroundingDinoConfig(**options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # As they are made, text and image hardly touch, and boxes do not depend on either.
            if parameter.ndim > 1 and "norm" not in name:
                # Boxes stay near where the image has something, so that prompts find the same.
                parameter.normal_(0, 0.05 if "bbox_embed" in name else 0.2)
            elif name.endswith(("vision_param", "text_param")):
                parameter.fill_(0.5)
        # Logits of a size that leaves scores spread over 0..1.
        model.model.decoder.layer_norm.weight.fill_(0.2)
    tokenizer = transformers.BertTokenizer(vocab=vocab, model_max_length=512)
    size = {"shortest_edge": 64, "longest_edge": 107}
    transformers.GroundingDinoProcessor(transformers.GroundingDinoImageProcessor(size=size), tokenizer).save_pretrained(
        folder
    )
    model.save_pretrained(folder)
    return folder
