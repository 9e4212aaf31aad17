"""What a repository of timm's models on the Hugging Face hub says of its model, in its `config.json`."""

from collections.abc import Mapping
from typing import Any

from src.encoders.repositories import CONFIG, side_of

NOT_ARGUMENTS = ("in_chans", "num_classes")
"""What `config.json` says of the classifier, which is left out, and of colours, which are three."""


def read_timm_config(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return `architecture`, `arguments` (for `timm.create_model`), `mean`, `std`, `input_size`, `smallest` and `head`.

    `source` is where the configuration is from, in words. What is not said is left out. Crops are resized
    (`input_size`) for models that were made for one size. Errors: ValueError where it is not of timm's format.
    """
    if not isinstance(config.get("architecture"), str):
        kind = config.get("model_type")
        whose = f"of transformers' {kind}" if kind else "of another library"
        raise ValueError(f"{source} is no model of timm: its {CONFIG} is {whose}. Try encoder=transformers")
    weights = config.get("pretrained_cfg", config)  # older ones have all in one
    arguments = {**config.get("model_args", {})}
    size = weights.get("input_size", [3, 224, 224])
    if [size[0], arguments.get("in_chans", 3)] != [3, 3]:
        raise ValueError(f"encoders take red, green and blue, but {source} takes {size[0]} channels")
    return {
        "architecture": config["architecture"],
        **describe_size(weights, arguments, int(size[-1])),
        **{name: list(weights[name]) for name in ("mean", "std") if name in weights},
        **({"smallest": int(weights["min_input_size"][-1])} if weights.get("min_input_size") else {}),
        **({"file": weights["hf_hub_filename"]} if weights.get("hf_hub_filename") else {}),
        "head": [f"{name}." for name in flatten(weights.get("classifier"))],
    }


def describe_size(weights: Mapping[str, Any], arguments: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return `arguments` with what timm adds to them from the weights' configuration, and `input_size`.

    The same as `timm.models._builder._update_default_model_kwargs` does.
    """
    arguments = {name: value for name, value in arguments.items() if name not in NOT_ARGUMENTS}
    if weights.get("global_pool") is not None:
        arguments.setdefault("global_pool", weights["global_pool"])
    sized = bool(weights.get("fixed_input_size")) or "img_size" in arguments
    if not sized:
        return {"arguments": arguments, "input_size": 0}
    arguments["img_size"] = side_of(arguments.get("img_size", size))
    return {"arguments": arguments, "input_size": arguments["img_size"]}


def flatten(names: str | list[str] | None) -> list[str]:
    """Return names as a list, whether there is one, several or none."""
    return [names] if isinstance(names, str) else names or []
