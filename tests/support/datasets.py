"""Files of small data sets, as their readers know them."""

from pathlib import Path

import numpy as np

BREAKHIS = (
    "SOB_B_A-14-22549AB-40-001.png",
    "SOB_B_A-14-29960CD-100-001.png",
    "SOB_B_F-14-29960AB-400-002.png",
    "SOB_B_PT-14-22704-100-013.png",
    "SOB_B_TA-14-16184-200-025.png",
    "SOB_M_DC-14-13412-100-014.png",
    "SOB_M_DC-14-3909-40-001.png",
    "SOB_M_LC-14-13412-200-003.png",
    "SOB_M_MC-14-18842D-200-016.png",
    "SOB_M_MC-14-18842-400-016.png",
    "SOB_M_PC-15-190EF-400-022.png",
)


SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}


def breakhis_path(name: str) -> Path:
    """Where BreakHis has the image of that name."""
    _, kind, rest = name.split("_")
    subtype, year, slide, magnification, _ = rest.split("-")
    folder = f"SOB_{kind}_{subtype}_{year}-{slide}"
    top = Path("BreaKHis_v1", "histology_slides", "breast", {"B": "benign", "M": "malignant"}[kind], "SOB")
    return top / SUBTYPES[subtype] / folder / f"{magnification}X" / name


MIAS = """REFNUM BG CLASS SEVERITY X Y RADIUS
mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb003 D NORM
mdb004 D NORM
mdb005 F CIRC B 477 133 30
mdb005 F CIRC B 500 168 26
mdb059 F CIRC B
mdb144 F MISC B 233 994 29
mdb144 F MISC M 313 540 27
mdb216 D CALC M *NOTE 3*

*NOTE 3* mdb216: the calcifications are all over the image.
"""


def mammogram(path: Path, size: int = 8) -> None:
    """A grey image as mini-MIAS has them, with a comment in its header."""
    content = np.random.default_rng(len(path.name)).integers(0, 256, (size, size), dtype=np.uint8)
    path.write_bytes(f"P5\n# a comment\n{size} {size}\n255\n".encode() + content.tobytes())


BAD = [b"", "name\nKäthe\n".encode("latin-1"), b'a,b\n1,2,3,4\n"']
