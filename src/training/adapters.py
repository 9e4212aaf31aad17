"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) on an encoder that stays as it is. Imports torch."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from src.system.checks import needs_extra
from src.training.network import NetworkWithHead
from src.training.parameters import ADAPTERS, FineTuning

if TYPE_CHECKING:
    from src.encoders.network_encoder import Network

MARK = ".lora_"
"""What the names of an adapter's tensors have after that of its layer."""
ENCODER = "encoder."


class AdaptedNetwork(NetworkWithHead):
    """An encoder with a new head, and with adapters on the layers that are named; its own weights never change.

    Its state is that of adapters and head: the encoder's weights are those of its file. An adapter adds
    alpha / rank * B A to a layer's matrix; B begins with zeros, so that the network begins as the encoder.
    """

    def __init__(self, network: "Network", classes: int, finetune: FineTuning, targets: Iterable[str]) -> None:
        super().__init__(network, classes, finetune.hidden, finetune.dropout)
        add_adapters(self.encoder, finetune, targets)

    def learn(self, trainable: str) -> None:
        """Make the head learn, and in `lora` the adapters; the encoder stays as in evaluation."""
        super().learn("head")
        for name, module in self.encoder.named_modules():
            if trainable == ADAPTERS and f".{name}".rpartition(".")[2].startswith(MARK.removeprefix(".")):
                module.requires_grad_(True).train()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the tensors of adapters and head by name."""
        whole = super().state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in whole.items() if MARK in name or not name.startswith(ENCODER)}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take the tensors of adapters and head."""
        assert not strict or state_dict.keys() == self.state_dict().keys(), "the adapters are another network's"
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def import_peft() -> Any:
    """Return the library peft; `ValueError` where it is not installed."""
    try:
        import peft
    except ModuleNotFoundError:
        raise ValueError(needs_extra("finetune.trainable=lora", "peft", "lora")) from None
    return peft


def add_adapters(module: nn.Module, finetune: FineTuning, targets: Iterable[str]) -> None:
    """Put adapters on layers of a network, drawn from torch's generator; `ValueError` as of `import_peft`."""
    peft = import_peft()
    config = peft.LoraConfig(
        r=finetune.lora_rank,
        lora_alpha=finetune.lora_alpha,
        lora_dropout=finetune.lora_dropout,
        # An expression, as it is matched in full: names in a list are matched by their ends.
        target_modules="|".join(name.replace(".", r"\.") for name in targets),
    )
    peft.inject_adapter_in_model(config, module)


def find_targets(network: "Network", wanted: Sequence[str], crop: Tensor) -> list[str]:
    """Return the names of the layers that get adapters: those whose names end as `wanted`, or all if none are.

    Layers are linear ones and convolutions without groups (a depthwise one has no matrix of which to take a low rank)
    that take part in what a network makes of a crop (3, size, size), uint8, as modules: some use but the weights of
    theirs (attention of torch, BEiT's). Unless they are wanted, the one that sees the pixels is left out, which has but
    three channels to look at.
    Errors: ValueError where there are no such layers.
    """
    layers = called_layers(network, crop)
    for end in wanted:
        if not any(ends_as(name, [end]) for name in layers):
            raise ValueError(
                f"finetune.lora_targets are ends of the names of layers of {network.encoder.architecture} "
                f"({list_ends(layers)}), but got {end}"
            )
    found = [name for name, layer in layers.items() if (ends_as(name, wanted) if wanted else sees_features(layer))]
    if not found:
        raise ValueError(
            f"{network.encoder.label} has no linear layer or convolution that can have an adapter: take "
            "finetune.trainable=head or all"
        )
    return found


def called_layers(network: "Network", crop: Tensor) -> dict[str, nn.Module]:
    """Return the layers by name that can have an adapter and are called for a crop (3, size, size), uint8."""
    called: set[nn.Module] = set()
    layers = {
        name: layer
        for name, layer in network.module.named_modules()
        if name and (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1))
    }
    hooks = [layer.register_forward_pre_hook(lambda each, _: called.add(each)) for layer in layers.values()]
    network(crop[None])
    for hook in hooks:
        hook.remove()
    return {name: layer for name, layer in layers.items() if layer in called}


def ends_as(name: str, ends: Sequence[str]) -> bool:
    """Return whether a layer's name ends in one of some names."""
    return any(f".{name}".endswith(f".{end}") for end in ends)


def sees_features(layer: nn.Module) -> bool:
    """Return whether a layer sees more than the colours of pixels."""
    return not isinstance(layer, nn.Conv2d) or layer.in_channels > 3


def adapted_layers(names: Iterable[str]) -> list[str]:
    """Return the layers whose adapters the tensors of these names are."""
    return list(dict.fromkeys(name.removeprefix(ENCODER).partition(MARK)[0] for name in names if MARK in name))


def list_ends(layers: Iterable[str]) -> str:
    """Return the last parts of layers' names, each once."""
    return ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in layers))
