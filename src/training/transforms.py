"""Training transforms by name: albumentations', and the project's stain jitter. Slow to import, so import it late."""

import difflib
import os
import random
from collections.abc import Sequence
from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt

from src.images import augment
from src.system.random_draws import keyed_generator

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # on import, it would ask a server for newer versions
import albumentations  # type: ignore[import-untyped]

Image = npt.NDArray[np.uint8]


class StainJitterTransform(albumentations.ImageOnlyTransform):  # type: ignore[misc]
    """Haematoxylin and eosin are multiplied by independent uniform draws from [low, high] (Rakhlin et al. 2018)."""

    class InitSchema(albumentations.BasicTransform.InitSchema):  # type: ignore[misc]
        """What albumentations checks the arguments against."""

        low: float
        high: float

    def __init__(self, low: float = 0.7, high: float = 1.3, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.factors = augment.StainJitter(low=low, high=high)  # checks them
        self.low, self.high = low, high

    def get_params(self) -> dict[str, Any]:
        """Return the draws of one image."""
        return {"multipliers": self.random_generator.uniform(self.low, self.high, size=2)}

    def apply(self, img: Image, multipliers: npt.NDArray[np.float64], **_: Any) -> Image:
        """Return the image with its stains multiplied."""
        import torch

        density = augment.natural_density(torch.from_numpy(img).permute(2, 0, 1))
        return np.ascontiguousarray(augment.jitter_stains(density, multipliers).permute(1, 2, 0).numpy())


class Pipeline:
    """Transforms one after the other: `[{Rotate: {limit: 30, p: 1}}, {HorizontalFlip: {}}]`. Threads may share it.

    Errors: ValueError for a name that is no transform, and for arguments that it does not take.
    """

    def __init__(self, transforms: Sequence[dict[str, Any]]) -> None:
        self.transforms = transforms
        self.of_thread = local()  # a transform keeps the draws of its last image
        self.of_thread.composed = self.compose()

    def compose(self) -> albumentations.Compose:
        """Return the transforms as one."""
        return albumentations.Compose([make_transform(transform) for transform in self.transforms])

    def __call__(self, image: Image, *names: str | int) -> Image:
        """Return the transformed image (height, width, 3), 8-bit, whose size may differ; draws are keyed by names."""
        if not hasattr(self.of_thread, "composed"):
            self.of_thread.composed = self.compose()
        drawn = keyed_generator(*names, "transform")
        # Shared by all transforms: a seed would give each the same draws, so that they go together.
        self.of_thread.composed.set_random_state(drawn, random.Random(int(drawn.integers(2**63))))
        return apply_transforms(
            self.of_thread.composed, image, " and ".join(name for each in self.transforms for name in each)
        )

    def check(self, height: int, width: int, least: int) -> None:
        """Try every transform once, one on what the other gives, on an image of noise of so many pixels.

        Errors: ValueError for one that cannot be applied to an image alone, or to one of that size; that gives
        something else than 8-bit RGB; and where all of them leave fewer than `least` pixels.
        """
        drawn = keyed_generator("transform", "trial")
        image: Image = drawn.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for transform in self.transforms:
            tried = make_transform(transform)
            tried.p = 1.0
            composed = albumentations.Compose([tried])
            composed.set_random_state(drawn, random.Random(0))
            image = apply_transforms(composed, image, *transform)
        if min(image.shape[:2]) < least:
            raise ValueError(
                f"finetune.transforms leave {image.shape[1]} x {image.shape[0]} pixels of an image of {width} x "
                f"{height}, too few for crop.size={least}"
            )


def apply_transforms(composed: albumentations.Compose, image: Image, name: str) -> Image:
    """Return the transformed image; `ValueError` where transforms, of this name, do not make 8-bit RGB of it."""
    height, width = image.shape[:2]
    try:
        found = np.asarray(composed(image=image)["image"])
    except MemoryError:
        raise
    except Exception as error:  # what transforms raise, and their library's own errors, have nothing else in common
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".") or type(error).__name__
        raise ValueError(
            f"finetune.transforms: {name} cannot be applied to an image of {width} x {height} pixels alone ({reason}): "
            "leave it out, or change its arguments"
        ) from None
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3:
        raise ValueError(
            f"finetune.transforms: {name} turns an image of {width} x {height} pixels into {found.dtype} of shape "
            f"{found.shape}, but has to leave it 8-bit RGB: leave it out, or change its arguments"
        )
    return found


def make_transform(transform: dict[str, Any]) -> albumentations.BasicTransform:
    """Return the transform that a dictionary of its name and arguments describes."""
    if len(transform) != 1:
        raise ValueError(
            "a transform is its name with its arguments, such as {Rotate: {limit: 30, p: 1}}, "
            f"but finetune.transforms has {transform}"
        )
    ((name, arguments),) = transform.items()
    known = find_transforms()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["see albumentations' list of transforms"]
        raise ValueError(f"finetune.transforms has {name}, which is no transform; did you mean: {', '.join(close)}?")
    if not isinstance(arguments or {}, dict):
        raise ValueError(f"the arguments of {name} in finetune.transforms go by name, but got {arguments!r}")
    try:
        return known[name](**lists_to_tuples(arguments or {}), strict=True)
    except (ValueError, TypeError) as error:
        # Of pydantic's report, what is wrong with which argument.
        lines = [line.strip() for line in str(error).splitlines() if "For further information" not in line]
        reason = " ".join(line.partition(" [type=")[0] for line in lines).replace(known[name].__name__, name)
        raise ValueError(f"finetune.transforms: {name} does not take {arguments}: {reason}") from None


def find_transforms() -> dict[str, type[albumentations.BasicTransform]]:
    """Return the transforms of images by name."""
    found = {name: getattr(albumentations, name) for name in dir(albumentations)}
    kinds = (albumentations.ImageOnlyTransform, albumentations.DualTransform)
    concrete = {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, kinds) and kind not in kinds
    }
    return concrete | {"StainJitter": StainJitterTransform}


def lists_to_tuples(value: Any) -> Any:
    """Return a value with its lists as tuples, which albumentations asks for."""
    if isinstance(value, dict):
        return {str(key): lists_to_tuples(each) for key, each in value.items()}
    return (
        tuple(lists_to_tuples(each) for each in value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
    )
