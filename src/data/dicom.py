"""Mammograms in DICOM files to arrays: 8-bit grey as RGB, and what a file's header says."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from src.data import image_file
from src.images import BadImage, OutOfReach

if TYPE_CHECKING:
    from pydicom import Dataset

WINDOWS = ("stored", "bits", "percentiles")
REVISION = 1  # raise it whenever a file gives other pixels
GREY = ("MONOCHROME1", "MONOCHROME2")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
TAGS = ["SeriesDescription", "Rows", "Columns"]
DAMAGED = (OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, struct.error)


@dataclass(frozen=True, kw_only=True)
class Header:
    """A file's series description, "" where it has none, and how many pixels its image has, 0 where it does not say."""

    description: str
    pixels: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """Return what the file says of itself, read without its pixels; BadImage where it is no DICOM file."""
    with _decoding():
        dataset = _dataset(path, header_only=True)
        description = str(dataset.get("SeriesDescription") or "").strip()
        pixels = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0)
    return Header(description=description, pixels=pixels)


def read_shape(path: str | os.PathLike[str] | BinaryIO) -> tuple[int, int]:
    """The image's height and width, read without its pixels; BadImage where it is no DICOM file, or does not say."""
    with _decoding():
        dataset = _dataset(path, header_only=True)
        height, width = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not height * width:
        raise BadImage("the DICOM file has no pixels")
    return height, width


def read_dicom(
    path: str | os.PathLike[str] | BinaryIO, window: str = "stored", percentile: float = 0.5
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image as 8-bit grey, repeated to RGB; bright stays bright (MONOCHROME1 is inverted).

    By `window`, 0 and 255 are: `stored` the ends of the file's own window or look-up table (VOI LUT) where it has one,
    else as `bits`; `bits` the least and the greatest value that can be stored; `percentiles` the percentiles
    `percentile` and 100 - `percentile` of the image. The modality's rescaling is applied first.

    Raises BadImage: missing, no DICOM file, without pixels, colour, several frames, not 8 to 16 bits, truncated, or
    compressed in a way that cannot be decoded.
    """
    with _decoding():
        dataset = _dataset(path)
        _check(dataset)
        pixels = _pixels(dataset)
        greys = _greys(dataset, pixels, window, percentile)
    return np.repeat(greys[pixels][..., None], 3, axis=2)


def is_binary(path: str | os.PathLike[str]) -> bool:
    """Return whether the image has two values at most, as a mask does; BadImage as of `read_dicom`."""
    with _decoding():
        dataset = _dataset(path)
        _check(dataset)
        pixels = _pixels(dataset)
    return bool(np.isin(pixels, (pixels.min(), pixels.max())).all())


@contextmanager
def _decoding() -> Iterator[None]:
    """Around what pydicom decodes, and nothing else: a damaged file can end in many kinds of errors."""
    from pydicom.errors import InvalidDicomError

    try:
        yield
    except BadImage:
        raise
    except FileNotFoundError:
        raise OutOfReach("the file is missing") from None
    except InvalidDicomError:
        raise BadImage("the file is not a DICOM file (it lacks the mark DICM)") from None
    except (RuntimeError, NotImplementedError) as error:  # no decoder
        raise BadImage(
            f"the image is compressed in a way that cannot be decoded here ({_why(error)}): decompress it, for example "
            "by `gdcmconv --raw`"
        ) from error
    except OSError as error:
        raise OutOfReach(f"the file cannot be opened: {error.strerror or error}") from error
    except DAMAGED as error:
        raise BadImage(f"the DICOM file is truncated or damaged ({_why(error)})") from error


def _why(error: Exception) -> str:
    """Return the error's first sentence; pydicom lists all that could be installed in further lines."""
    return str(error).strip().partition("\n")[0].rstrip(":")


def _dataset(path: str | os.PathLike[str] | BinaryIO, header_only: bool = False) -> "Dataset":
    from pydicom import dcmread

    return dcmread(path, stop_before_pixels=header_only, specific_tags=TAGS if header_only else None)


def _check(dataset: "Dataset") -> None:
    """BadImage unless it is one grey image of 8 to 16 bits."""
    if not any(name in dataset for name in PIXELS):
        raise BadImage("the DICOM file has no pixels")
    kind = dataset.get("PhotometricInterpretation", "")
    bits = dataset.get("BitsAllocated", 0)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if kind not in GREY:
        raise BadImage(f"the image is {kind or 'of no known kind'}, not grey ({' or '.join(GREY)})")
    if frames != 1:
        raise BadImage(f"the DICOM file has {frames} frames, not one image")
    if "PixelData" not in dataset or bits not in (8, 16):
        raise BadImage(f"the image has {bits} bits per pixel, not 8 or 16")
    if dataset.Rows * dataset.Columns > image_file.PIXELS:
        raise BadImage(f"the image has {dataset.Columns} x {dataset.Rows} pixels, more than {image_file.PIXELS}")


def _range(dataset: "Dataset") -> tuple[int, int]:
    """Return the least and the greatest value that can be stored."""
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _pixels(dataset: "Dataset") -> npt.NDArray[np.int32]:
    """Stored values, counted from the least that can be stored: so they index a table of all of these."""
    low, high = _range(dataset)
    return np.clip(dataset.pixel_array.astype(np.int32) - low, 0, high - low)


def _greys(dataset: "Dataset", pixels: npt.NDArray[np.int32], window: str, percentile: float) -> npt.NDArray[np.uint8]:
    """The grey of every value that can be stored. What is done to a value depends on it alone, and such a table is
    some hundred times smaller than a mammogram."""
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    low, high = _range(dataset)
    values = apply_modality_lut(np.arange(low, high + 1), dataset)
    if window == "stored" and dataset.get("VOILUTSequence"):
        values = _looked_up(values, dataset.VOILUTSequence[0])
    elif window == "stored" and None not in (dataset.get("WindowCenter"), dataset.get("WindowWidth")):
        values = apply_windowing(values, dataset)
    shown = values = values.astype(np.float64)
    if window == "percentiles":
        shown = values[np.percentile(pixels, (percentile, 100 - percentile), method="nearest")]
    dark, bright = shown.min(), shown.max()
    if dark == bright:
        raise BadImage(f"the image is of one grey under data.window={window}: try another of {', '.join(WINDOWS)}")
    greys = np.round(np.clip((values - dark) / (bright - dark), 0, 1) * 255).astype(np.uint8)
    return 255 - greys if dataset.PhotometricInterpretation == "MONOCHROME1" else greys


def _looked_up(values: npt.NDArray[Any], table: "Dataset") -> npt.NDArray[np.integer]:
    """The values by a look-up table, those beyond its ends as these. pydicom's own wraps where entries have 8 bits."""
    count, start, _ = table.LUTDescriptor
    data = table.LUTData
    entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
    entries = entries[: count or 2**16]  # 0 stands for 2**16
    return entries[np.clip(np.rint(values).astype(np.int64) - start, 0, len(entries) - 1)]
