"""Encoders that the transformers library builds: vision models of the Hugging Face hub, by name or by address."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from src.encoders.network_encoder import PATCHES, RELEASED, TOKEN, TOKEN_PATCHES, WORDS, NetworkEncoder
from src.encoders.repositories import (
    CONFIG,
    WEIGHTS,
    Repository,
    own_code,
    read_json,
    read_pixels,
    side_of,
    vision_configuration,
)
from src.encoders.weights import explain_unreachable, read_weights, seed_draws
from src.system.checks import one_of

if TYPE_CHECKING:
    import torch

POOLER, PROJECTION = "pooler", "projection"
READOUTS = (TOKEN, PATCHES, TOKEN_PATCHES, POOLER, PROJECTION)
CLASS_TOKEN = (
    "beit",
    "chinese_clip_vision_model",
    "clip_vision_model",
    "data2vec-vision",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "metaclip_2_vision_model",
    "vit",
    "vit_msn",
)
"""Models whose tokens are the class token, then registers and the like, then those of the patches."""
PATCHES_ONLY = ("ijepa", "siglip_vision_model")
"""Models whose tokens are those of the patches."""
USUAL_READOUT = {"clip_vision_model": POOLER, "ijepa": PATCHES, "metaclip_2_vision_model": POOLER}
"""What becomes the descriptor, where neither the class token does nor, in models without one, the pooler."""
UNUSED = re.compile(
    r"(.+\.)?(classifier|cls_classifier|decoder|distillation_classifier|embeddings\.mask_token|embeddings\.position_ids"
    r"|head|lm_head|logit_bias|logit_scale|pooler|text_model|text_projection|visual_projection)(\..+)?"
)
"""Names of the tensors of a weights file that give no descriptor: of heads, texts, and masks in training."""


@dataclass(kw_only=True)
class Transformers(NetworkEncoder):
    """A vision model of the transformers library, without its heads.

    - `repository` OWNER/NAME on the Hugging Face hub. `configuration` what its `config.json` says of the vision model:
      `model_type`, which is the `architecture`, and its parameters. Where it is empty, it is read there, or beside the
      weights where `weights` is a path; so are `mean`, `std` and `input_size` from the repository's image processor.
    - `readout` what becomes the descriptor: `token` (the class token), `patches` (the mean of the patch tokens),
      `token_patches` (the one, then the other), `pooler` (the model's own), `projection` (what CLIP compares to texts);
      empty: as most use such a model.
    - `trust` runs the code that a repository brings, if the library does not have its model. `code` is what identifies
      that code: the commit, or for a folder the SHA-256 of its Python files.
    """

    architecture: str = ""
    weights: str = RELEASED
    repository: str = ""
    configuration: dict[str, Any] = field(default_factory=dict)
    readout: str = ""
    trust: bool = False
    code: str = ""

    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    following: ClassVar[tuple[str, ...]] = (
        *NetworkEncoder.following,
        "architecture",
        "configuration",
        "readout",
        "code",
    )
    outside_recipe: ClassVar[tuple[str, ...]] = (*NetworkEncoder.outside_recipe, "repository", "trust")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(READOUTS, readout=self.readout)

    def follow(self) -> None:
        """Read what is not given from the repository; afterwards all of it counts as given."""
        if self.repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repository):
            raise ValueError(f"encoder.repository must be OWNER/NAME on the hub, but got {self.repository!r}")
        if not self.configuration:
            self.read_configuration()
        model_type = self.configuration.get("model_type", "")
        if not model_type or self.architecture not in ("", model_type):
            raise ValueError(
                "`encoder.architecture` must be what encoder.configuration.model_type says, but got "
                f"{self.architecture or None} and {model_type or None}: take encoder=transformers for another model"
            )
        self.architecture = model_type
        folder = self.folder()
        self.label = self.label or self.repository.rpartition("/")[2] or (folder.name if folder else model_type)
        if self.smallest is None and self.has_tokens():
            self.smallest = side_of(self.configuration.get("patch_size")) or None
        self.readout = self.readout or self.usual_readout()
        super().follow()

    def own(self) -> dict[str, Any]:
        """Return what the repository's image processor does to pixels."""
        if self.mean and self.std and self.input_size is not None:
            return {}
        return read_pixels(self.origin())

    def usual_readout(self) -> str:
        """Return the readout that most use of such a model."""
        has_class_token = self.architecture in CLASS_TOKEN or bool(self.code)
        return USUAL_READOUT.get(self.architecture, TOKEN if has_class_token else POOLER)

    def read_configuration(self) -> None:
        """Read the configuration, and what code it needs. Errors: ValueError where it needs some and is not trusted."""
        repository = self.origin()
        config = repository.read(CONFIG)
        if config is None:
            raise ValueError(f"{repository.source} is no repository of the transformers library: it has no {CONFIG}")
        self.configuration = vision_configuration(config, repository.source)
        if not (classes := own_code(config)):
            return
        if self.trust:
            self.configuration["auto_map"] = classes
            self.code = self.code or repository.code_version()
        elif not knows(self.configuration["model_type"]):
            raise ValueError(
                f"{repository.source} brings code of its own ({', '.join(classes.values())}), which would run here: "
                "encoder.trust=true runs it, once you have read it"
            )

    def folder(self) -> Path | None:
        """Return the folder of weights that are given by a path, if it holds a configuration."""
        if self.weights in WORDS:
            return None
        path = Path(self.weights).expanduser()
        folder = path if path.is_dir() else path.parent
        return folder if (folder / CONFIG).is_file() else None

    def origin(self) -> Repository:
        """Return the repository that the model is from. Errors: ValueError where that is not said."""
        folder = self.folder()
        if not folder and not self.repository:
            raise ValueError(
                "encoder=transformers needs a model: give encoder.repository=OWNER/NAME of the Hugging Face hub, or "
                f"encoder.weights=FOLDER, where FOLDER is a repository as it was downloaded, with its {CONFIG}"
            )
        return Repository(self.repository, folder)

    def published(self) -> str:
        """`released`: they are a repository's."""
        return RELEASED

    def fetch(self) -> Path:
        """Return the weights' file of the repository, from the hub's cache if it is there."""
        repository = self.origin()
        try:
            return repository.fetch_weights()
        except OSError as error:
            raise explain_unreachable(self.label, repository.source, error, self.files(), repository.advice) from None

    def digest(self) -> str:
        """Return the identity of the weights, once the library is there that they are for."""
        check_library()
        return super().digest()

    def import_libraries(self) -> None:
        """Import what builds the network."""
        check_library()
        super().import_libraries()

    def names(self) -> list[str]:
        """Return the names under which a folder may hold the weights, in the order of preference."""
        return list(WEIGHTS)

    def build(self, auxiliary: bool) -> tuple["torch.nn.Module", int]:
        """Return the model without its heads, and the length of its descriptors."""
        from src.encoders.modules.pretrained_vision import PretrainedVision

        kind, config = self.classes()
        model = self.create(kind, config)
        for part in model.modules():
            if getattr(part, "mask_token", None) is not None:
                part.mask_token = None  # what stands for hidden patches in pretraining: it gives no descriptor
        patch = side_of(getattr(config, "patch_size", 0)) if self.has_tokens() else 0
        size = side_of(getattr(config, "image_size", 0))
        return PretrainedVision(model, self.readout, patch, size), self.length(config)

    def create(self, kind: Any, config: Any) -> Any:
        """Return the model with random weights. Errors: ValueError if the configuration does not suit it."""
        import torch

        try:
            return kind._from_config(config, dtype=torch.float32, **self.without_pooler(kind))
        except (AttributeError, TypeError, ValueError) as error:
            raise self.unsuited(error) from None

    def without_pooler(self, kind: Any) -> dict[str, bool]:
        """Return the argument that leaves the pooler out, where it is not read and can be left out."""
        can = self.readout != POOLER and "add_pooling_layer" in signature(kind.__init__).parameters
        return {"add_pooling_layer": False} if can else {}

    def classes(self) -> tuple[Any, Any]:
        """Return the model's class and its configuration.

        Errors: ValueError where the library has no such model, or the model no such readout.
        """
        check_library()
        if self.code:
            return self.trusted_classes()
        import transformers

        if not knows(self.architecture):
            raise ValueError(f"transformers {transformers.__version__} has no model {self.architecture}")
        config = self.configured(transformers.CONFIG_MAPPING[self.architecture])
        kind = transformers.MODEL_MAPPING.get(type(config), None)
        if self.readout == PROJECTION:
            kind = getattr(transformers, f"{kind.__name__}WithProjection", None) if kind else None
        self.check_kind(kind)
        return kind, config

    def configured(self, kind: Any) -> Any:
        """Return the configuration as an object of the library."""
        values = {name: value for name, value in self.configuration.items() if name not in ("model_type", "auto_map")}
        if self.architecture == "siglip_vision_model":
            values["vision_use_head"] = self.readout == POOLER
        try:
            return kind(**values)
        except Exception as error:  # the library's checks of types have errors of their own
            raise self.unsuited(error) from None

    def unsuited(self, error: Exception) -> ValueError:
        """Return the error that says what the library has against the configuration."""
        return ValueError(f"encoder.configuration does not suit {self.architecture}: {' '.join(str(error).split())}")

    def check_kind(self, kind: Any) -> None:
        """Raise `ValueError` unless a model takes pixels alone, and has what is to become the descriptor."""
        tokens: tuple[str, ...] = (PATCHES,) if self.architecture in PATCHES_ONLY else ()
        tokens = (TOKEN, PATCHES, TOKEN_PATCHES) if self.architecture in CLASS_TOKEN else tokens
        if kind is None or self.readout not in (*tokens, POOLER, PROJECTION):
            others = " or ".join((*tokens, POOLER))
            raise ValueError(f"{self.architecture} has no encoder.readout={self.readout}: take {others}")
        main = getattr(kind, "main_input_name", "")
        if inputs := [main, *needed_inputs(kind)] if main != "pixel_values" else needed_inputs(kind):
            takes = ", ".join(inputs)
            raise ValueError(f"{self.label} is no encoder of images alone: {self.architecture} needs {takes}")

    def trusted_classes(self) -> tuple[Any, Any]:
        """Return the class and configuration that the repository's own code has; this imports that code."""
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        folder = self.folder()
        if not self.trust or (folder and Repository(folder=folder).code_version() != self.code):
            raise ValueError(
                f"{self.label} runs code of its repository, {self.code[:12]}, which is another now or not trusted: "
                "encoder.trust=true runs that which encoder.code names"
            )
        place, commit = (str(folder), None) if folder else (self.repository, self.code)
        references = self.configuration["auto_map"]
        found = {name: get_class_from_dynamic_module(each, place, revision=commit) for name, each in references.items()}
        return found["AutoModel"], self.configured(found["AutoConfig"])

    def length(self, config: Any) -> int:
        """Return how many numbers the readout has."""
        if self.readout == PROJECTION:
            return int(config.projection_dim)
        width = int(config.hidden_size if hasattr(config, "hidden_size") else config.hidden_sizes[-1])
        return 2 * width if self.readout == TOKEN_PATCHES else width

    def has_tokens(self) -> bool:
        """Return whether the model has a token for every patch."""
        return bool(self.code) or self.architecture in (*CLASS_TOKEN, *PATCHES_ONLY)

    def native_size(self) -> int:
        """Return the size that the positions of patches were learnt at; 0 where the configuration does not say."""
        return side_of(self.configuration.get("image_size"))

    def shape(self, size: int) -> None:
        """Ask the network as PyTorch keeps it on its `meta` device: shapes without numbers."""
        import torch

        with torch.device("meta"), torch.inference_mode():
            module, _ = self.build(auxiliary=False)
            module.eval()(torch.empty(1, 3, size, size))

    def fill(self, module: Any, path: Path) -> None:
        """Replace the random weights by those of a file, under whatever names versions of the library gave them.

        Errors: ValueError with the tensors that are missing, unexpected or of another shape.
        """
        self.check_configuration(path.parent / CONFIG)
        loaded, report = self.load_pretrained(path)
        wanted = module.model.state_dict()
        faults = {
            "missing": [name for name in report["missing_keys"] if name in wanted],
            "unexpected": [name for name in report["unexpected_keys"] if not UNUSED.fullmatch(name)],
            "of another shape": [name for name, *_ in report["mismatched_keys"]],
        }
        told = [f"{what}: {len(names)}, the first is {min(names)}" for what, names in faults.items() if names]
        if told:
            raise ValueError(f"{path} does not fit {self.label}: tensors {'; '.join(told)}")
        state = {name: tensor for name, tensor in loaded.state_dict().items() if name in wanted}
        module.model.load_state_dict(state, assign=True)  # not copied: some of these models take gigabytes

    def load_pretrained(self, path: Path) -> tuple[Any, dict[str, Any]]:
        """Return the model as the library loads a file's tensors, and its report of them."""
        kind, config = self.classes()
        state = read_weights(path)
        with quiet(), seed_draws(self.seed):
            loaded, report = kind.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype="float32",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported
                **self.without_pooler(kind),
            )
        return loaded, report

    def check_configuration(self, path: Path) -> None:
        """Raise `ValueError` where the configuration that lies beside weights contradicts the encoder's."""
        if not path.is_file():
            return
        theirs = vision_configuration(read_json(path), str(path)) | {"model_type": self.architecture}
        other = [name for name, value in self.configuration.items() if theirs.get(name, value) != value]
        if other:
            told = " ".join(f"encoder.configuration.{name}={theirs[name]}" for name in other)
            raise ValueError(f"{path} is of another model than {self.label}: it asks for {told}")


def check_library() -> None:
    """Raise `ValueError` where the transformers library is not installed."""
    if find_spec("transformers") is None:
        raise ValueError(
            "encoders of the transformers library need it, and it is not here: `make transformers` installs it"
        )


def knows(model_type: str) -> bool:
    """Return whether the library has a model of a type."""
    check_library()
    from transformers import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def needed_inputs(kind: Any) -> list[str]:
    """Return what a model must be given besides pixels."""
    parameters = [
        each for each in signature(kind.forward).parameters.values() if each.name not in ("self", "pixel_values")
    ]
    return [
        each.name for each in parameters if each.default is Parameter.empty and each.kind is not Parameter.VAR_KEYWORD
    ]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's reports and bars off the terminal."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
