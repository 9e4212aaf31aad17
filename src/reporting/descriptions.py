"""What a run used, in words, from its record: the values that were taken, not the option that they began with."""

from collections.abc import Mapping
from typing import Any

from src.evaluation.wording import listed
from src.reporting.typesetting import counted
from src.tracking import RunRecord
from src.tracking.run_record import parse_param

Params = Mapping[str, str]

OWN = ("csv", "folder")
"""The options of images of one's own, which say nothing of what these are."""


def dataset(run: RunRecord) -> str:
    """Return the name of a run's data set: its option, or of images of one's own what their reader calls them."""
    option = run.params.get("data", "")
    return listed(run.data_names) if option in OWN and run.data_names else option


def encoder(params: Params) -> str:
    """Return the encoder with what its weights are from."""
    name = params.get("encoder.label") or params.get("encoder", "")
    weights = params.get("encoder.weights", "none")
    return name if weights in ("none", "") else f"{name} ({weights} weights)"


def crops(params: Params) -> str:
    """Return how many crops of which size are taken at which scale."""
    size, option = params.get("crop.size", ""), params.get("crop", "")
    if not size:
        return option
    pixels = f"{size} x {size} pixels"
    if not is_windowed(params) and "crop.shorter" not in params:
        return f"whole images resized to {pixels}"
    if "crop.shorter" in params:
        return f"the central {pixels} of images whose shorter side is {params['crop.shorter']}"
    count = int(params.get("crop.count", "1"))
    shared = " on shared maps" if params.get("crop.sharing") == "map" else ""
    fitted = ", larger where crops would not fit" if params.get("crop.fit") == "True" else ""
    return (
        f"{counted(count, 'crop')} of {pixels}{shared} at scale {shorten_number(params.get('crop.scale', '1'))}{fitted}"
    )


def is_windowed(params: Params) -> bool:
    """Return whether an image is seen through windows that are cut from it, rather than as a whole or its centre."""
    return params.get("crop") != "whole" and "crop.shorter" not in params


def augmentation(params: Params) -> str:
    """Return how images are varied before they are described; empty where they are not."""
    option, count = params.get("augment", "none"), params.get("augment.count", "")
    return "" if option == "none" else f"{count} times {option.replace('_', ' ')}".removeprefix(" times ")


def classifier(params: Params) -> str:
    """Return the classifier, with the pooling of the descriptors that it learns from."""
    name, p = params.get("classifier", ""), params.get("pool.p", "")
    return f"{name} on descriptors pooled with p = {shorten_number(p)}" if name and p else name


def training(params: Params) -> str:
    """Return how a network was trained: layers and epochs at which rate, batches, transforms, when it stopped."""
    given = {key.removeprefix("finetune."): value for key, value in params.items() if key.startswith("finetune.")}
    if not given:
        return ""
    phases = parse_param(given.get("phases", "[]")) or [given]
    parts = [", then ".join(phase(each, given.get("lora_rank", "")) for each in phases)]
    parts.append(f"{given['optimizer']}, {given.get('schedule', 'constant')} rate" if "optimizer" in given else "")
    decay = float(given.get("layer_decay", "1"))
    parts.append(f"each layer's {decay:g} times that of the next" if decay < 1 else "")
    parts.append(averaging(given))
    parts.append(f"batches of {batch_size(given)}" if "batch" in given else "")
    parts.append(transforms(given.get("transforms", "[]")))
    share = float(given.get("validation", "0"))
    parts.append(f"stopped by {100 * share:g} % of the training patients" if share else "")
    return ", ".join(filter(None, parts))


def phase(given: Mapping[str, Any], rank: str = "") -> str:
    """Return the layers, the length and the rate of a phase; adapters are of a `rank`."""
    epochs, steps = int(given.get("epochs") or 0), int(given.get("steps") or 0)
    ways = {"head": "the head alone", "lora": f"adapters (LoRA, rank {rank}) and the head"}
    layers = ways.get(str(given.get("trainable")), "all layers")
    length = f" for {counted(epochs, 'epoch')}" if epochs else f" for {counted(steps, 'step')}" if steps else ""
    rate = given.get("learning_rate", "")
    return f"{layers}{length}" + (f" at a learning rate of {float(rate):g}" if rate else "")


def averaging(given: Mapping[str, str]) -> str:
    """Return which average of the weights was taken; empty where none was."""
    kinds = {
        "ema": f"weights averaged exponentially over steps ({given.get('ema_decay')})",
        "swa": f"weights averaged over the epochs after {100 * float(given.get('swa_start', 0)):g} % of each phase",
    }
    return kinds.get(given.get("averaging", "none"), "")


def batch_size(given: Mapping[str, str]) -> int:
    """Return the images behind a step."""
    return int(given["batch"]) * int(given.get("accumulate", "1"))


def transforms(text: str) -> str:
    """Return the names of the transforms of training images."""
    names = [name for each in parse_param(text) for name in each]
    return f"images varied by {listed(names)}" if names else "images not varied further"


def shorten_number(value: str) -> str:
    """Return a number as short as it can be: 3 for 3.0."""
    return value.removesuffix(".0")
