"""Repositories of models, on the hub or as downloaded: their files, and what those of transformers say of a model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from src.encoders.weights import explain_refusal, fetch_from_hub

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""Where the treatment of images stands: by itself, or in newer repositories beside that of the texts."""
NOT_ARCHITECTURE = (
    "_commit_hash",
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "id2label",
    "label2id",
    "out_features",
    "out_indices",
    "problem_type",
    "stage_names",
    "torch_dtype",
    "torchscript",
    "transformers_version",
)
"""What of a configuration says where a model is from, how it was stored, and what others make of its outputs."""


@dataclass(frozen=True)
class Repository:
    """A repository: `name`, OWNER/NAME on the Hugging Face hub, or the `folder` that it was downloaded into."""

    name: str = ""
    folder: Path | None = None

    @property
    def source(self) -> str:
        """Where it is, in words."""
        return str(self.folder or f"https://huggingface.co/{self.name}")

    @property
    def advice(self) -> str:
        """What to do where the hub refuses it."""
        return f"If it is gated: accept the licence on https://huggingface.co/{self.name} and run `hf auth login`. "

    def find(self, names: Sequence[str]) -> Path | None:
        """Return the first of some files that is in the hub's cache, or else that it has; None if it has none.

        Errors: OSError if the hub cannot be reached or refuses it.
        """
        if self.folder:
            return next((self.folder / name for name in names if (self.folder / name).is_file()), None)
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        for name in [*self.cached(names), *names]:
            try:
                return fetch_from_hub(self.name, name)
            except LocalEntryNotFoundError:  # not there, because nobody could be asked
                raise
            except EntryNotFoundError:
                continue
        return None

    def cached(self, names: Sequence[str]) -> list[str]:
        """Return those of some files of the hub's repository that are in the cache."""
        import huggingface_hub

        return [each for each in names if isinstance(huggingface_hub.try_to_load_from_cache(self.name, each), str)]

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the object of a JSON file; None if there is no such file. Errors: ValueError if it cannot be had."""
        try:
            path = self.find([name])
        except OSError as error:
            raise ValueError(
                f"{name} could not be fetched from {self.source} ({explain_refusal(error)}). {self.advice}Give "
                "encoder.repository=OWNER/NAME as the hub spells it, or encoder.weights=FOLDER, the repository as it "
                "was downloaded"
            ) from None
        return read_json(path) if path else None

    def fetch_weights(self) -> Path:
        """Return the weights' file of the hub's repository. Errors: OSError if it cannot be had."""
        if not self.cached(WEIGHTS):
            fetch_from_hub(self.name, CONFIG)  # a refusal comes before gigabytes; the encoder compares it as well
        if path := self.find(WEIGHTS):
            return path
        raise OSError(f"it has no {' or '.join(WEIGHTS)}; weights in several files have to be joined into one")

    def code_version(self) -> str:
        """Return what identifies its Python files: the commit, or the SHA-256 of those of a folder."""
        if self.folder is None:
            path = self.find([CONFIG])
            return path.parent.name if path else ""
        content = [file.name.encode() + file.read_bytes() for file in sorted(self.folder.glob("*.py"))]
        return sha256(b"".join(content)).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds. Errors: ValueError where it holds none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold an object of JSON, but holds {type(values).__name__}")
    return values


def vision_configuration(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the configuration of the vision model in a repository's `config.json`: `model_type` and its parameters.

    Of a model of images and text it is the part of the images. Errors: ValueError where `source` is a repository of
    something else.
    """
    if "pretrained_cfg" in config:
        raise ValueError(f"{source} is a model of timm: encoder=hub encoder.repository=OWNER/NAME takes it")
    if not isinstance(config.get("model_type"), str):
        raise ValueError(f"{source} is no repository of the transformers library: its {CONFIG} names no model_type")
    kept = architecture_of(config)
    if not isinstance(config.get("vision_config"), dict):
        return kept
    shared = {name: kept[name] for name in ("projection_dim",) if name in kept}
    return {"model_type": f"{config['model_type']}_vision_model"} | architecture_of(config["vision_config"]) | shared


def architecture_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a configuration determines an architecture."""
    return {name: value for name, value in config.items() if name not in NOT_ARCHITECTURE}


def own_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the classes of a configuration and a model that a repository brings itself; empty unless both are."""
    classes = config.get("auto_map") or {}
    found = {name: classes[name] for name in ("AutoConfig", "AutoModel") if isinstance(classes.get(name), str)}
    return found if len(found) == 2 else {}


def read_pixels(repository: Repository) -> dict[str, Any]:
    """Return the mean, the deviation and the size that a repository's image processor gives pixels of 0 to 1.

    Errors: ValueError where the repository does not say, or treats them in another way.
    """
    for name in PROCESSORS:
        found = repository.read(name) or {}
        if processor := found.get("image_processor", found if name == PROCESSORS[0] else None):
            return pixels_of(processor, repository.source)
    raise ValueError(
        f"{repository.source} does not say which pixels its model takes (it has no {PROCESSORS[0]}): "
        "give encoder.mean=, encoder.std= and encoder.input_size="
    )


def pixels_of(processor: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return `mean`, `std` and `input_size` of an image processor's parameters, for pixels of 0 to 1."""
    if processor.get("do_flip_channel_order"):
        raise ValueError(f"{source} takes blue, green, red: give encoder.channels=bgr, encoder.mean= and encoder.std=")
    mean, std = processor.get("image_mean"), processor.get("image_std")
    if not processor.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    size = processor.get("size")
    if processor.get("crop_size") and processor.get("do_center_crop", True):
        size = processor["crop_size"]
    if not mean or not std or not (side := side_of(size)):
        raise ValueError(
            f"{source} does not say the mean, deviation and size of the pixels that its model takes: "
            "give encoder.mean=, encoder.std= and encoder.input_size="
        )
    # Its pixels are `factor` times what is in the file; those of 0 to 1 are 1 / 255 times.
    factor = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    return {"mean": [m / (255 * factor) for m in mean], "std": [s / (255 * factor) for s in std], "input_size": side}


def side_of(size: Any) -> int:
    """Return the side of a square as configurations write it: a number, two, or by name; 0 where it is none."""
    if isinstance(size, Mapping):
        size = size.get("height", size.get("shortest_edge"))
    if isinstance(size, Sequence) and size:
        size = size[0]
    return size if isinstance(size, int) else 0
