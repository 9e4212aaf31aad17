from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, RLELossless

from src.data.dicom import is_binary, read_dicom, read_header, read_shape
from src.images import BadImage
from tests.support.dicoms import write

RAMP = np.linspace(0, 65535, 60).round().astype(np.uint16).reshape(6, 10)


def grey(path: Path, *arguments: Any) -> np.ndarray:
    pixels = read_dicom(path, *arguments)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def test_16_bits_become_8_over_the_full_range(tmp_path: Path) -> None:
    assert (grey(write(tmp_path / "a.dcm", RAMP)) == np.round(RAMP / 257)).all()


def test_8_bits_stay_as_they_are(tmp_path: Path) -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(6, 10)
    assert (grey(write(tmp_path / "a.dcm", pixels)) == pixels).all()


def test_stored_bits_and_signs_count(tmp_path: Path) -> None:
    twelve = (RAMP >> 4).astype(np.uint16)
    path = write(tmp_path / "a.dcm", twelve, BitsStored=12, HighBit=11)
    assert (grey(path) == np.round(twelve / 4095 * 255)).all()
    signed = (RAMP.astype(np.int32) - 32768).astype(np.int16)
    assert (grey(write(tmp_path / "b.dcm", signed)) == np.round(RAMP / 257)).all()


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    assert (grey(path) == 255 - np.round(RAMP / 257)).all()


def test_the_files_own_window_is_used_unless_bits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, WindowCenter=20000, WindowWidth=10001)
    inside = np.clip((RAMP - 15000.0 + 0.5) / 10000, 0, 1)
    assert np.abs(grey(path) - inside * 255).max() <= 1
    assert (grey(path, "bits") == np.round(RAMP / 257)).all()


def test_the_files_own_look_up_table_is_used(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [256, 0, 8]
    table.add_new("LUTData", "US", list(range(255, -1, -1)))
    pixels = np.arange(60, dtype=np.uint8).reshape(6, 10)
    rescaled = {"RescaleSlope": "2", "RescaleIntercept": "10"}
    assert (grey(write(tmp_path / "a.dcm", pixels, VOILUTSequence=[table])) == 255 - pixels).all()
    path = write(tmp_path / "b.dcm", pixels, VOILUTSequence=[table], **rescaled)
    assert (grey(path) == np.round((255 - (2 * pixels.astype(int) + 10)) / 245 * 255)).all()


def test_a_long_look_up_table_of_8_bits(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 8]
    table.add_new("LUTData", "OW", (np.arange(4096) // 16).astype("<u2").tobytes())
    twelve = (RAMP >> 4).astype(np.uint16)
    path = write(tmp_path / "a.dcm", twelve, VOILUTSequence=[table], BitsStored=12, HighBit=11)
    assert (grey(path) == twelve // 16).all()


def test_rescaling_may_turn_the_values_round(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, RescaleSlope="-1", RescaleIntercept="100")
    assert (grey(path) == 255 - np.round(RAMP / 257)).all()


def test_percentiles_spread_a_faint_image(tmp_path: Path) -> None:
    faint = (30000 + np.arange(2000)).astype(np.uint16).reshape(40, 50)
    faint[0, 0], faint[0, 1] = 0, 65535
    pixels = grey(write(tmp_path / "a.dcm", faint), "percentiles", 1.0)
    assert (pixels == 0).mean() == pytest.approx(0.01, abs=0.005)
    assert (pixels == 255).mean() == pytest.approx(0.01, abs=0.005)
    assert np.ptp(grey(tmp_path / "a.dcm")[1:]) < 10


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 999),
    window=st.sampled_from(["stored", "bits", "percentiles"]),
    centre=st.integers(5000, 60000),
    dark=st.booleans(),
)
def test_order_of_brightness_is_kept(tmp_path: Path, seed: int, window: str, centre: int, dark: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 2**16, (7, 9), dtype=np.uint16)
    kind = "MONOCHROME1" if dark else "MONOCHROME2"
    path = tmp_path / f"{seed}.dcm"
    write(path, pixels, PhotometricInterpretation=kind, WindowCenter=centre, WindowWidth=9000)
    greys = grey(path, window).ravel()[np.argsort(pixels.ravel())].astype(int)
    assert (np.diff(-greys if dark else greys) >= 0).all()


def test_compression_that_can_be_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP)
    dataset = dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "b.dcm")
    assert (grey(tmp_path / "b.dcm") == grey(path)).all()


def test_header_and_masks(tmp_path: Path) -> None:
    mask = np.where(RAMP > 30000, 255, 0).astype(np.uint8)
    path = write(tmp_path / "a.dcm", mask, "ROI mask images")
    assert read_header(path).description == "ROI mask images"
    assert read_header(path).pixels == 60
    assert is_binary(path)
    assert not is_binary(write(tmp_path / "b.dcm", RAMP))
    assert read_header(write(tmp_path / "c.dcm", None)).description == ""


BAD = {
    "has no pixels": {"pixels": None},
    "is RGB, not grey": {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
    "has 3 frames": {"NumberOfFrames": 3},
    "32 bits per pixel": {"pixels": RAMP.astype(np.uint32)},
    "truncated or damaged": {"PixelData": b"\0" * 20},
    "one grey under data.window=stored": {"WindowCenter": -90000, "WindowWidth": 10},
    "compressed in a way that cannot be decoded": {
        "TransferSyntaxUID": JPEGLosslessSV1,
        "PixelData": encapsulate([b"\xff\xd8 not for us \xff\xd9"]),
    },
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_image_says_why(tmp_path: Path, reason: str) -> None:
    elements: dict[str, Any] = {"pixels": RAMP} | BAD[reason]
    path = write(tmp_path / "a.dcm", elements.pop("pixels"), **elements)
    with pytest.raises(BadImage, match=reason) as caught:
        read_dicom(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_dicom_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"\x89PNG" + b"\0" * 300)
    (tmp_path / "b.dcm").write_bytes(b"")
    whole = write(tmp_path / "whole.dcm", RAMP).read_bytes()
    (tmp_path / "c.dcm").write_bytes(whole[:170])
    for name, reason in (
        ("a", "not a DICOM file"),
        ("b", "not a DICOM file"),
        ("c", "damaged|no pixels"),
        ("no", "missing"),
    ):
        with pytest.raises(BadImage, match=reason):
            read_dicom(tmp_path / f"{name}.dcm")
    with pytest.raises(BadImage, match="not a DICOM file"):
        read_header(tmp_path / "a.dcm")


def test_a_header_needs_no_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, "cropped images")
    path.write_bytes(path.read_bytes()[:-60])
    assert read_header(path).description == "cropped images"
    assert read_shape(path) == RAMP.shape
    with pytest.raises(BadImage, match="truncated"):
        read_dicom(path)
