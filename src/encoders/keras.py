"""Encoders that Keras builds, on its torch backend: the networks of Rakhlin 2018 from their own distribution."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from src.encoders.network_encoder import NetworkEncoder
from src.encoders.weights import check_address, explain_unreachable, fetch_weights

if TYPE_CHECKING:
    import torch

ENDINGS = (".weights.h5", ".h5")


@dataclass(kw_only=True)
class Keras(NetworkEncoder):
    """A model of `keras.applications` without its top.

    The descriptor is the average over the image of the model's output, or of the outputs of `layers`, one after the
    other. `url` and `md5` say where Keras publishes the weights, and their hash.
    """

    layers: list[str] = field(default_factory=list)
    url: str = ""
    md5: str = ""

    libraries: ClassVar[tuple[str, ...]] = ("torch", "keras")
    following: ClassVar[tuple[str, ...]] = (*NetworkEncoder.following, "url", "md5")
    outside_recipe: ClassVar[tuple[str, ...]] = (*NetworkEncoder.outside_recipe, "url", "md5")

    def own(self) -> dict[str, Any]:
        """Nothing, and an error unless the treatment of pixels is given: Keras keeps that in the code of each model."""
        self._application(import_keras())
        if not (self.mean and self.std):
            raise ValueError(
                f"it is not known here which pixels keras.applications.{self.architecture} takes: give encoder.scale, "
                "encoder.mean, encoder.std and encoder.channels as its `preprocess_input` has them"
            )
        return {}

    def fetch(self) -> Path:
        """Return the file of Keras' own weights, in Keras' cache."""
        check_address(self.url, self.architecture)
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
        try:
            return fetch_weights(self.url, folder, "md5", self.md5)
        except OSError as error:
            raise explain_unreachable(self.architecture, self.url, error, self.files()) from None

    def import_libraries(self) -> None:
        """Import Keras, on torch."""
        import_keras()

    def endings(self) -> list[str]:
        """Return the endings that a weights file may have: Keras' formats that hold arrays only."""
        return list(ENDINGS)

    def names(self) -> list[str]:
        """Return the names under which a folder may hold the weights, in the order of preference."""
        return [self.architecture + ending for ending in ENDINGS]

    def build(self, auxiliary: bool) -> tuple["torch.nn.Module", int]:
        """Return the model without its top, and the length of its descriptors."""
        from src.encoders.modules.readouts import Averages

        keras = import_keras()
        # Drawn on the CPU: a GPU draws other numbers, under the same digest.
        with _channels_first(keras), keras.device("cpu"):
            model = self._application(keras)(include_top=False, weights=None, input_shape=(3, None, None))
            outputs = self._outputs(model)
            averages = Averages(model, keras.Model(model.inputs, outputs))
        return averages, sum(int(output.shape[1]) for output in outputs)

    def _application(self, keras: Any) -> Any:
        application = getattr(keras.applications, self.architecture, None)
        if application is None:
            raise ValueError(f"keras.applications has no encoder.architecture={self.architecture}")
        return application

    def _outputs(self, model: Any) -> list[Any]:
        names = [layer.name for layer in model.layers]
        unknown = [name for name in self.layers if name not in names]
        if unknown:
            known = ", ".join(names)
            raise ValueError(f"encoder.layers must be layers of {self.architecture} ({known}), but got {unknown}")
        return [model.get_layer(name).output for name in self.layers] or [model.output]

    def maps(self, module: Any, pixels: "torch.Tensor") -> "list[torch.Tensor]":
        """Return the outputs that are averaged."""
        return list(module.feature_maps(pixels))

    def fill(self, module: Any, path: Path) -> None:
        """Replace the random weights by those of a file that `keras.Model.save_weights` wrote, or Keras published."""
        import torch

        keras = import_keras()
        variables = module.application.weights
        for variable in variables:
            variable.value.data.fill_(torch.nan)  # so that none of the random numbers can be left unnoticed
        try:
            with warnings.catch_warnings(action="ignore"), keras.device(str(variables[0].value.device)):
                module.application.load_weights(str(path))
        except (ValueError, OSError, KeyError) as error:
            raise self._unfit(path, " ".join(str(error).split())[:300]) from None
        empty = [variable.path for variable in variables if variable.value.isnan().any()]
        if empty:
            raise self._unfit(path, f"variables missing: {len(empty)}, the first is {empty[0]}")

    def _unfit(self, path: Path, reason: str) -> ValueError:
        model = f"{self.architecture} without its top (Keras calls such files notop)"
        return ValueError(f"{path} does not fit {model}: {reason}")


def import_keras() -> Any:
    """Keras on its torch backend, which must be chosen before Keras is first imported.

    Errors: ValueError if this process has Keras on another backend already.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    if keras.backend.backend() != "torch":
        raise ValueError(f"Keras must run on torch, but runs on {keras.backend.backend()} in this process")
    return keras


@contextmanager
def _channels_first(keras: Any) -> Iterator[None]:
    """Build with the channels first: the same values, a quarter to a third faster on torch, which wants them there."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)
