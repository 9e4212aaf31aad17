"""Encoders that timm builds: convolutional networks of ImageNet, and the foundation models of pathology."""

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from src.encoders.dinov2_weights import timm_state
from src.encoders.efficientnet_weights import timm_names
from src.encoders.network_encoder import IMAGENET, PATCHES, RELEASED, TOKEN, TOKEN_PATCHES, WORDS, NetworkEncoder
from src.encoders.repositories import CONFIG, WEIGHTS, Repository
from src.encoders.timm_repository import read_timm_config
from src.encoders.weights import explain_unreachable, fill_network, find_installed
from src.system.checks import one_of

if TYPE_CHECKING:
    import torch

CLASS_MEAN = "class_mean"
"""The older word for `token_patches`, under which descriptors are stored."""
TOKENS = (TOKEN, PATCHES, CLASS_MEAN)
READOUTS = ("pooled", TOKEN, PATCHES, TOKEN_PATCHES, "stages", CLASS_MEAN)


@dataclass(kw_only=True)
class Timm(NetworkEncoder):
    """A model of timm without its head.

    - `tag` which of timm's weights, on the Hugging Face hub, or in the Python `package` that brings them where it is
      installed; or `repository` and `file` of another model on the hub. Where the `architecture` is empty, it, its
      arguments and its pixels are what the repository's `config.json` says, or the one beside the weights.
    - `arguments` go to `timm.create_model`; an `mlp_layer` is named by its class in `timm.layers`. Where crops have
      another size than a transformer's positions, it interpolates them.
    - `readout` what becomes the descriptor: `pooled` (timm's own), of a transformer `token` (the class token),
      `patches` (the mean of the patch tokens, without class or register tokens) or `token_patches` (the one, then the
      other; once `class_mean`), of a VGG `stages` (the means of the last activations of its blocks 2 to 5).
    - `head` the first letters of the names of the head's tensors, which a weights file may hold and which are dropped.
    """

    tag: str = ""
    package: str = ""
    repository: str = ""
    file: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    readout: str = "pooled"
    head: list[str] = field(default_factory=list)

    libraries: ClassVar[tuple[str, ...]] = ("torch", "timm")
    sources: ClassVar[tuple[str, ...]] = ("tag", "package", "repository", "file", "head")
    following: ClassVar[tuple[str, ...]] = (*NetworkEncoder.following, "architecture", "arguments", *sources)
    outside_recipe: ClassVar[tuple[str, ...]] = (*NetworkEncoder.outside_recipe, *sources)
    usual: ClassVar[dict[str, Any]] = NetworkEncoder.usual | {"file": "model.safetensors"}

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(READOUTS, readout=self.readout)
        self.readout = CLASS_MEAN if self.readout == TOKEN_PATCHES else self.readout

    def follow(self) -> None:
        """Fill in what is not given: what the repository says, or timm."""
        if not self.architecture:
            said = read_timm_config(self.read_repository(), self.origin().source)
            self.architecture, self.arguments = said.pop("architecture"), said.pop("arguments") | self.arguments
            self._check_name()
            self.known = {self.architecture: {"label": Path(self.repository or self.weights).name} | said}
        super().follow()

    def origin(self) -> Repository:
        """Return the repository: that of an address, or of weights that are given by a folder with a configuration."""
        folder = Path(self.weights).expanduser()
        given = self.weights not in WORDS and (folder / CONFIG).is_file()
        return Repository(self.repository, folder if given else None)

    def read_repository(self) -> dict[str, Any]:
        """Return what the repository's configuration holds. Errors: ValueError where it has none, or cannot be had."""
        origin = self.origin()
        if not origin.folder and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repository):
            raise ValueError(
                f"encoder.repository must be OWNER/NAME on the hub, but got {self.repository!r}: give it, or "
                "encoder.weights=FOLDER, a repository as it was downloaded"
            )
        config = origin.read(CONFIG)
        if config is None:
            raise ValueError(
                f"{origin.source} does not say which model of timm it is (it has no {CONFIG}): give "
                "encoder.architecture=NAME and encoder.file=NAME, or try encoder=transformers"
            )
        return config

    def own(self) -> dict[str, Any]:
        """Return what timm's configuration of the architecture says, with the tag that is given, or timm's first."""
        import timm

        self._check_name()
        name = self.architecture if "." in self.architecture or not self.tag else f"{self.architecture}.{self.tag}"
        record = timm.models.get_pretrained_cfg(name)
        if record is None:
            return {}
        heads = [record.classifier] if isinstance(record.classifier, str) else record.classifier or []
        fixed = record.fixed_input_size and not self.arguments.get("dynamic_img_size")
        return {
            "tag": record.tag,
            "mean": list(record.mean),
            "std": list(record.std),
            "input_size": int(self.arguments.get("img_size", record.input_size[-1])) if fixed else 0,
            "smallest": record.min_input_size[-1] if record.min_input_size else self.usual["smallest"],
            "head": ["pre_logits.", "head."] if self.readout == "stages" else [f"{head}." for head in heads],
        }

    def published(self) -> str:
        """`released` for foundation models, which did not learn from ImageNet."""
        return RELEASED if self.repository else IMAGENET

    def fetch(self) -> Path:
        """Return the file of the published weights: of an installed package, or from the Hugging Face hub."""
        if self.package and (path := find_installed(self.package)):
            return path
        names = [self.file, *(WEIGHTS if self.file == self.usual["file"] else [])]
        origin = Repository(self.repository or f"timm/{self.architecture.partition('.')[0]}.{self.tag}")
        advice = f"`pip install {self.package}` brings them. " if self.package else ""
        advice = origin.advice if self.repository else advice
        try:
            if path := origin.find(names):
                return path
            reason: object = f"it has no {' or '.join(dict.fromkeys(names))}"
        except OSError as error:
            reason = error
        source = f"{origin.source} ({self.file})"
        raise explain_unreachable(self.architecture, source, reason, self.files(), advice) from None

    def names(self) -> list[str]:
        """Return the names under which a folder may hold the weights, in the order of preference."""
        return list(dict.fromkeys([*super().names(), self.file, *WEIGHTS]))

    def build(self, auxiliary: bool) -> tuple["torch.nn.Module", int]:
        """Return the model without its head, and the length of its descriptors."""
        from src.encoders.modules.readouts import Stages, Tokens

        model = self._create()
        needed = {PATCHES: "num_prefix_tokens", TOKEN: "cls_token", CLASS_MEAN: "cls_token", "stages": "features"}
        if self.readout in needed and getattr(model, needed[self.readout], None) is None:
            raise ValueError(f"{self.architecture} has no encoder.readout={self.readout}: take encoder.readout=pooled")
        if self.readout in TOKENS:
            return Tokens(model, self.readout), int(model.num_features) * (2 if self.readout == CLASS_MEAN else 1)
        if self.readout == "stages":
            stages = Stages(model.features)
            return stages, stages.length()
        return model, int(model.head_hidden_size if hasattr(model, "head_hidden_size") else model.num_features)

    def shape(self, size: int) -> None:
        """Ask the network as PyTorch keeps it on its `meta` device: shapes without numbers."""
        import torch

        with torch.device("meta"), torch.inference_mode():
            module, _ = self.build(auxiliary=False)
            module.eval()(torch.empty(1, 3, size, size))

    def native_size(self) -> int:
        """Return the size of `arguments`, or of timm's configuration."""
        import timm

        record = timm.models.get_pretrained_cfg(self.architecture)
        return int(self.arguments.get("img_size") or (record.input_size[-1] if record else 0))

    def maps(self, module: Any, pixels: "torch.Tensor") -> "list[torch.Tensor]":
        """VGG's last activations, or what timm pools; where that is not an average, it is not the descriptor's mean."""
        if self.readout == "stages":
            return list(module.feature_maps(pixels))
        return [module.forward_features(pixels)] if self.readout == "pooled" else []

    def _check_name(self) -> None:
        import timm

        if not timm.is_model(self.architecture):
            close = ", ".join(get_close_matches(self.architecture, timm.list_models(), n=3)) or "see timm.list_models()"
            raise ValueError(f"timm has no encoder.architecture={self.architecture}; did you mean: {close}?")

    def _create(self) -> Any:
        self._check_name()
        arguments = self._arguments()
        if self._other_size() and (model := self._try_to_create(arguments | {"dynamic_img_size": True})):
            return model
        return self._try_to_create(arguments, needed=True)

    def _try_to_create(self, arguments: dict[str, Any], needed: bool = False) -> Any:
        """Return the model, or none of an architecture that does not take such arguments unless it is `needed`."""
        import timm

        try:
            return timm.create_model(self.architecture, pretrained=False, num_classes=0, **arguments)
        except TypeError as error:
            if not needed:
                return None
            raise ValueError(f"encoder.arguments do not suit {self.architecture}: {error}") from None

    def _other_size(self) -> bool:
        """Return whether crops may have another size than one that the architecture was made for alone."""
        import timm

        record = timm.models.get_pretrained_cfg(self.architecture)
        return bool(record and record.fixed_input_size) and self.input_size != self.native_size()

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments for timm, with the class of the layer that is named.

        Timm itself knows activations by name.
        """
        import timm.layers

        name = self.arguments.get("mlp_layer")
        if name is None:
            return self.arguments
        if not isinstance(name, str) or not hasattr(timm.layers, name):
            raise ValueError(f"encoder.arguments.mlp_layer must name a class of timm.layers, but got {name!r}")
        return {**self.arguments, "mlp_layer": getattr(timm.layers, name)}

    def fill(self, module: "torch.nn.Module", path: Path) -> None:
        """Replace the random weights by those of a file of the whole model, or of the model without its head."""
        from src.encoders.modules.readouts import Tokens

        inner = module.transformer if isinstance(module, Tokens) else module
        fill_network(inner, path, self.architecture, self.head, rename=timm_names, convert=timm_state)
