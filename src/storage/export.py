"""Descriptors with what is known of their samples, in one file that a notebook reads: Parquet, or NPZ without a pickle.

Parquet: `pandas.read_parquet(FILE)` has a row per descriptor, its values in the column `descriptor`; the metadata are
`json.loads(pyarrow.parquet.read_schema(FILE).metadata[b"tenfold"])`. NPZ: `numpy.load(FILE)` has `descriptors`, whose
first axis is that of the samples, an array per column, and `metadata`, JSON.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float32

if TYPE_CHECKING:
    import pyarrow

BLOCK = 2**25
"""Bytes of descriptors that are held together, and stand together in a Parquet file."""
AXES = ("augmentation", "crop")
"""What the axes of a sample's descriptors are, before that of their values."""
METADATA, DESCRIPTOR = "tenfold", "descriptor"

Array = Float32[np.ndarray, "*axes feature"]


@dataclass(kw_only=True)
class Export:
    """What is exported.

    facts
        A row per sample: its names, its label, its folds, and the columns of its data set.
    descriptors
        Of each row, in their order: augmentation x feature, or augmentation x crop x feature.
    metadata
        What they were made by, as JSON values.
    """

    facts: pd.DataFrame
    descriptors: Iterable[Array]
    metadata: Mapping[str, Any]


def check_format(name: str) -> None:
    """Raise `ValueError` for a file that is neither Parquet nor NPZ by its name."""
    if Path(name).suffix not in FORMATS:
        raise ValueError(f"descriptors are exported as FILE.parquet or FILE.npz, but got {name}")


def write_export(export: Export, path: Path, suffix: str) -> None:
    """Write an export in the format of a suffix; what is held does not grow with the number of samples."""
    FORMATS[suffix](export, path)


def write_parquet(export: Export, path: Path) -> None:
    """Write a row per descriptor: the facts of its sample, `augmentation`, `crop` where there are, and its values."""
    import pyarrow.parquet as parquet

    facts, descriptors = export.facts, iter(export.descriptors)
    first = next(descriptors)
    size, every = max(1, BLOCK // first.nbytes), chain([first], descriptors)
    blocks = (facts.iloc[start : start + size] for start in range(0, len(facts), size))
    tables = (tabulate_block(rows, np.stack(list(islice(every, len(rows))))) for rows in blocks)
    head = next(tables)
    stated = {METADATA: json.dumps(export.metadata, sort_keys=True)}
    with parquet.ParquetWriter(path, head.schema.with_metadata(stated)) as writer:
        for table in chain([head], tables):
            writer.write_table(table)


def tabulate_block(facts: pd.DataFrame, descriptors: Array) -> "pyarrow.Table":
    """Return the table of some samples, whose descriptors are sample x augmentation (x crop) x feature."""
    import pyarrow

    shape = descriptors.shape[1:-1]
    each = facts.loc[facts.index.repeat(int(np.prod(shape)))].reset_index(drop=True)
    places = np.indices(shape).reshape(len(shape), -1)
    for name, numbers in zip(AXES, places, strict=False):
        each[name] = np.tile(numbers, len(facts))
    values = pyarrow.array(descriptors.ravel())
    column = pyarrow.FixedSizeListArray.from_arrays(values, descriptors.shape[-1])
    return pyarrow.Table.from_pandas(each, preserve_index=False).append_column(DESCRIPTOR, column)


def write_npz(export: Export, path: Path) -> None:
    """Write an array per column, `descriptors` and `metadata`; the same bytes for the same export."""
    facts, descriptors = export.facts, iter(export.descriptors)
    first = next(descriptors)
    header = np.lib.format.header_data_from_array_1_0(first) | {"shape": (len(facts), *first.shape)}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(entry("descriptors"), "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for each in chain([first], descriptors):
                file.write(np.ascontiguousarray(each).data)
        for name, values in arrays_beside(export):
            with archive.open(entry(name), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def arrays_beside(export: Export) -> "Iterator[tuple[str, np.ndarray[Any, Any]]]":
    """Yield the columns and the metadata of an export as arrays without objects."""
    for name, column in export.facts.items():
        numeric = pd.api.types.is_numeric_dtype(column)
        yield str(name), column.to_numpy() if numeric else column.to_numpy(dtype=str)
    yield "metadata", np.array(json.dumps(export.metadata, sort_keys=True))


def entry(name: str) -> zipfile.ZipInfo:
    """Return an entry of an archive that says nothing of when it was made."""
    return zipfile.ZipInfo(f"{name}.npy")


FORMATS = {".parquet": write_parquet, ".npz": write_npz}
