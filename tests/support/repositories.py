"""Small repositories of the transformers library, made on disk by the library itself."""

from pathlib import Path
from typing import Any

import torch

SIZE = 56
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 14,
}
TEXT = VISION | {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
DINOV2 = {name: value for name, value in VISION.items() if name != "intermediate_size"} | {"use_swiglu_ffn": True}
PIXELS: dict[str, Any] = {"image_mean": [0.7, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIPModel", {"vision_config": VISION, "text_config": TEXT, "projection_dim": 24}),
    "convnext": ("ConvNextModel", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}),
    "dinov2": ("Dinov2Model", DINOV2),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", DINOV2 | {"num_register_tokens": 3}),
    "dinov3_vit": ("DINOv3ViTModel", VISION | {"num_register_tokens": 4}),
    "siglip": ("SiglipModel", {"vision_config": VISION, "text_config": TEXT}),
    "vit": ("ViTForImageClassification", VISION),
}
"""By the type that `config.json` names: the class whose file it is, and its configuration."""
PROCESSORS = {"clip": "CLIPImageProcessor", "dinov2": "BitImageProcessor", "siglip": "SiglipImageProcessor"}
"""Image processors that differ: some resize and cut out the middle, some resize."""


def make_repository(folder: Path, name: str) -> Path:
    """Write a repository of a model with drawn weights, of which no two tensors are alike."""
    import transformers

    kind, values = MODELS[name]
    config = transformers.AutoConfig.for_model(name, **values)
    model = getattr(transformers, kind)(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + 0.1)
    model.save_pretrained(folder)
    size: dict[str, Any] = {"size": {"height": SIZE, "width": SIZE}}
    if name in ("clip", "dinov2"):
        size = {"size": {"shortest_edge": 64}, "crop_size": {"height": SIZE, "width": SIZE}}
    processor = getattr(transformers, PROCESSORS.get(name, "ViTImageProcessor"))
    processor(**PIXELS, **size).save_pretrained(folder)
    return folder
