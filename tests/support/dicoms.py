"""Small DICOM files, and CBIS-DDSM as distributed with a few of its real rows."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

DESCRIPTIONS = {"full": "full mammogram images", "crop": "cropped images", "mask": "ROI mask images"}
HEAD = "patient_id,{density},left or right breast,image view,abnormality id,abnormality type,{own},assessment,"
PATHS = "pathology,subtlety,image file path,cropped image file path,ROI mask file path\r\n"
OWN = {"mass": ("breast_density", "mass shape,mass margins"), "calc": ("breast density", "calc type,calc distribution")}
PREFIXES = {"train": "Training", "test": "Test"}
ROWS = {
    ("mass", "train"): """
        P_00001,3,LEFT,CC,1,mass,IRREGULAR-ARCHITECTURAL_DISTORTION,SPICULATED,4,MALIGNANT,4
        P_00001,3,LEFT,MLO,1,mass,IRREGULAR-ARCHITECTURAL_DISTORTION,SPICULATED,4,MALIGNANT,4
        P_00004,3,RIGHT,MLO,1,mass,OVAL,CIRCUMSCRIBED,4,BENIGN,5
        P_00041,1,LEFT,CC,1,mass,LOBULATED,CIRCUMSCRIBED,2,BENIGN_WITHOUT_CALLBACK,5
        P_00041,1,LEFT,MLO,1,mass,ROUND,CIRCUMSCRIBED,2,BENIGN_WITHOUT_CALLBACK,5
        P_00419,3,LEFT,CC,1,mass,OVAL,CIRCUMSCRIBED,3,BENIGN,5
        P_00419,3,LEFT,CC,2,mass,NA,ILL_DEFINED,5,MALIGNANT,5
        P_00419,3,LEFT,MLO,1,mass,NA,ILL_DEFINED,5,MALIGNANT,5
        P_00419,3,LEFT,MLO,2,mass,OVAL,CIRCUMSCRIBED,3,BENIGN,5
    """,
    ("mass", "test"): """
        P_00016,4,LEFT,CC,1,mass,IRREGULAR,SPICULATED,5,MALIGNANT,5
        P_00016,4,LEFT,MLO,1,mass,IRREGULAR,SPICULATED,5,MALIGNANT,5
    """,
    ("calc", "train"): """
        P_00005,3,RIGHT,CC,1,calcification,AMORPHOUS,CLUSTERED,3,MALIGNANT,3
        P_00005,3,RIGHT,MLO,1,calcification,AMORPHOUS,CLUSTERED,3,MALIGNANT,3
    """,
    ("calc", "test"): """
        P_00038,2,LEFT,CC,1,calcification,PUNCTATE-PLEOMORPHIC,CLUSTERED,4,BENIGN,2
        P_00038,2,LEFT,MLO,1,calcification,PUNCTATE-PLEOMORPHIC,CLUSTERED,4,BENIGN,2
        P_00041,1,LEFT,CC,2,calcification,LUCENT_CENTER,NA,2,BENIGN_WITHOUT_CALLBACK,5
    """,
}


def write(path: Path, pixels: np.ndarray | None, description: str = "", **elements: Any) -> Path:
    """Write a grey image; `elements` are added to the file, or replace what it would say."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = elements.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    if description:
        dataset.SeriesDescription = description
    if pixels is not None:
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def image(kind: str, seed: int = 0) -> np.ndarray:
    """A full mammogram of 12 x 10 pixels, the mask of a lesion in it, or the crop of 4 x 5 around it."""
    if kind == "mask":
        mask = np.zeros((12, 10), np.uint8)
        mask[3:7, 2:7] = 255
        return mask
    shape = (12, 10) if kind == "full" else (4, 5)
    return np.random.default_rng(seed).integers(0, 2**16, shape, dtype=np.uint16)


def folders(kind: str, part: str) -> list[tuple[str, str]]:
    """The case folders of a table's rows: of the mammogram, and of the lesion's crop and mask."""
    prefix = f"{kind.capitalize()}-{PREFIXES[part]}"
    rows = [line.split(",") for line in ROWS[kind, part].split()]
    names = [f"{prefix}_{patient}_{side}_{view}" for patient, _, side, view, *_ in rows]
    return [(name, f"{name}_{row[4]}") for name, row in zip(names, rows, strict=True)]


def tables(root: Path) -> Path:
    """The four tables, with the released ones' line breaks within fields and their mixed-up file names."""
    root.mkdir(parents=True, exist_ok=True)
    for (kind, part), text in ROWS.items():
        density, own = OWN[kind]
        lines = [HEAD.format(density=density, own=own) + PATHS]
        for row, (full, lesion) in zip(text.split(), folders(kind, part), strict=True):
            crop, mask = ("000000", "000001") if kind == "mass" else ("000001", "000000")
            paths = f'{full}/1.3.6/1.3.7/000000.dcm,{lesion}/1.3.8/1.3.9/{crop}.dcm,"{lesion}/1.3.8/1.3.9/{mask}.dcm\n"'
            lines.append(f"{row},{paths}\r\n")
        (root / f"{kind}_case_description_{part}_set.csv").write_bytes("".join(lines).encode())
    return root


def cbis_ddsm(root: Path, images: str = "manifest-1/CBIS-DDSM", described: bool = True) -> Path:
    """CBIS-DDSM as the NBIA Data Retriever leaves it, a crop and its mask in one folder, in either order."""
    tables(root)
    for number, table in enumerate(ROWS):
        for full, lesion in folders(*table):
            order = ("crop", "mask") if number % 2 else ("mask", "crop")
            said = {kind: DESCRIPTIONS[kind] if described else "" for kind in DESCRIPTIONS}
            folder = root / images / full / "08-07-2016-DDSM-NA-30288" / "1.000000-full mammogram images-24515"
            write(folder / "1-1.dcm", image("full", sum(full.encode())), said["full"])
            folder = root / images / lesion / "08-07-2016-DDSM-NA-94942" / "1.000000-ROI mask images-18515"
            for place, kind in enumerate(order, start=1):
                write(folder / f"1-{place}.dcm", image(kind, sum(lesion.encode())), said[kind])
    return root
