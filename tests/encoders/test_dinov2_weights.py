"""Files whose tensors have DINOv2's names, against timm's own conversion of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import checkpoint_filter_fn

from src.encoders.encoder import Encoder
from src.encoders.timm import Timm

SMALL = {
    "gpfm": {"depth": 2, "img_size": 28, "embed_dim": 32, "num_heads": 2},
    "kaiko_vitl14": {"depth": 2, "img_size": 28, "embed_dim": 32, "num_heads": 2},
    "h_optimus_1": {"depth": 2, "img_size": 28, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 4},
}


def dinov2_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's tensors as DINOv2 has them (github.com/facebookresearch/dinov2): positions of the class, SwiGLU, mask."""
    named = {}
    for name, tensor in state.items():
        wide = "mlp.fc1" in name and f"{name.partition('.mlp.')[0]}.mlp.fc2.weight" in state
        swiglu = wide and tensor.shape[0] != state[f"{name.partition('.mlp.')[0]}.mlp.fc2.weight"].shape[1]
        named[name.replace("mlp.fc1", "mlp.w12") if swiglu else name] = tensor
    for name in [name for name in named if "mlp.fc2" in name and name.replace("fc2", "w12") in named]:
        named[name.replace("fc2", "w3")] = named.pop(name)
    if "reg_token" in named:
        named["register_tokens"] = named.pop("reg_token")
        position = torch.randn_like(named["cls_token"])
        named["cls_token"] = named["cls_token"] - position[:, 0]
        named["pos_embed"] = torch.cat([position, named["pos_embed"]], dim=1)
    return named | {"mask_token": torch.zeros(1, 32)}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_dinov2s_own_names_load_as_timm_loads_them(
    option: Callable[..., Encoder], tmp_path: Path, name: str, chunked: bool
) -> None:
    small = {"arguments": SMALL[name], "input_size": 28}
    encoder = option(name, weights="random", seed=3, **small)
    module = encoder.load().module  # type: ignore[attr-defined]
    own = dinov2_names(dict(module.state_dict()))
    assert any("w12" in key for key in own) == (name == "h_optimus_1")
    theirs = checkpoint_filter_fn(dict(own), module)
    if chunked:  # as GPFM's, whose blocks lie in chunks below the teacher's backbone
        own = {f"teacher.backbone.{key.replace('blocks.', 'blocks.0.')}": tensor for key, tensor in own.items()}
    torch.save(own, tmp_path / "teacher.pth")
    found = option(name, weights=str(tmp_path / "teacher.pth"), **small)
    assert isinstance(found, Timm)
    state = found.load().module.state_dict()
    assert theirs.keys() == state.keys()
    for key, tensor in state.items():
        torch.testing.assert_close(tensor, theirs[key])
