"""Where an encoder runs: what is asked for, or one message on why not."""

import logging
import os
import warnings

from src.encoders.encoder import Encoder

log = logging.getLogger(__name__)

CPU = "method.device=cpu (of src.predict device=cpu)"
"""What to take where a GPU cannot be used."""


def resolve_device(device: str, encoder: Encoder) -> str:
    """Return the device that `auto` stands for, and check one that is named; `cpu` where the encoder runs on no GPU."""
    import torch

    if not encoder.accelerated:
        return "cpu"
    # What cuBLAS needs for one order of summation; it looks but once, before the first product on a GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    # PyTorch warns where there is a GPU that it cannot use, as with a driver that is too old.
    unusable = " ".join(str(said[0].message).split("(Triggered")[0].split()) if said and not found else ""
    if device == "auto":
        if unusable:
            log.warning("the GPU cannot be used, so that the CPU is: %s", unusable)
        return "cuda" if found else "cpu"
    try:
        known = torch.device(device)
    except RuntimeError:
        known = None
    if known is None or known.type not in ("cpu", "cuda"):
        raise ValueError(f"`device` must be auto, cpu, cuda or cuda:N, but got device={device}")
    if known.type == "cuda" and (known.index or 0) >= torch.cuda.device_count():
        why = unusable or (f"PyTorch {torch.__version__} is built without CUDA" if torch.version.cuda is None else "")
        reason = f" ({why})" if why else ""
        raise ValueError(f"device={device}, but PyTorch finds no such GPU here{reason}; take {CPU}")
    return device
