"""The extraction of descriptors as work for an executor."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from src.cell import Cell
from src.data import image_file
from src.encoders.device import resolve_device
from src.encoders.encoder import Extractor
from src.encoders.network_encoder import WORDS, NetworkEncoder
from src.images.crop import MAP
from src.methods.frozen.extraction import Extraction
from src.methods.frozen.single_crops import extract_single_crops
from src.methods.preparation import Sample
from src.system import memory

LOADED: dict[str, Extractor] = {}
"""The network of a worker's process."""


@dataclass(kw_only=True)
class Encoding(Extraction):
    """Stores the descriptors of samples in this process; `encoder` gives the encoder where it is loaded already."""

    device: str
    encoder: Callable[[], Extractor] | None = None
    token: str = field(default_factory=lambda: f".{uuid.uuid4().hex}")
    """The name of a file with the recipe's while other machines are asked whether they have the same store."""

    def __call__(self, samples: list[Sample]) -> Iterator[int]:
        """Yield the number of crops after each batch."""
        network = (
            self.encoder() if self.encoder else self.cell.encoder.load(resolve_device(self.device, self.cell.encoder))
        )
        yield from extract_descriptors(self, samples, network)

    def prepare(self) -> Callable[[], None]:
        """Leave a token in the store, and return what takes it away."""
        return self.store.mark(self.wanted, self.token)

    def check(self) -> None:
        """Do nothing: this machine has been asked."""

    def abroad(self) -> "EncodingAbroad":
        """Return the same work for processes on other machines."""
        import torch

        own = {each.name: getattr(self, each.name) for each in fields(self)}
        changed = {"cell": located_cell(self.cell), "encoder": None}
        return EncodingAbroad(**own | changed, threads=torch.get_num_threads(), weights=self.cell.encoder.digest())


@dataclass(kw_only=True)
class EncodingAbroad(Encoding):
    """The same in the processes of a cluster: each loads the network once, on what the cluster gave it.

    `threads` are PyTorch's on the machine of the run: other numbers could round otherwise. `weights` is the digest of
    the encoder's there.
    """

    threads: int
    weights: str

    def __call__(self, samples: list[Sample]) -> Iterator[int]:
        """Yield the number of crops after each batch; what a lost worker has stored is not encoded again."""
        import torch

        memory.reuse_freed()
        torch.set_num_threads(self.threads)
        left = [sample for sample in samples if not self.store.holds(self.wanted, sample.content)]
        done = (len(samples) - len(left)) * self.cell.augment.count * self.cell.crop.count
        yield done
        for sample in left:
            self.check_sample(sample)
        self.encoder = self.network
        yield from super().__call__(left)

    def network(self) -> Extractor:
        """Return the network of this process, loaded once."""
        key = f"{self.weights} {self.device} {self.cell.encoder!r}"
        if key not in LOADED:
            self.check_weights()
            LOADED.clear()
            LOADED[key] = self.cell.encoder.load(resolve_device(self.device, self.cell.encoder))
        return LOADED[key]

    def check(self) -> None:
        """Raise `ValueError` where this machine has another store, other weights, or not the images."""
        if not self.store.marked(self.wanted, self.token):
            raise ValueError(
                f"{self.store.root} is not the store of this run: give a folder that all machines share by "
                "store=FOLDER, or storage that all reach by store=s3://BUCKET/PREFIX"
            )
        if not Path(self.cell.data.root).is_dir():
            raise ValueError(
                f"there are no images in {self.cell.data.root}: give a folder that all machines share by data.root="
            )
        self.check_weights()

    def check_weights(self) -> None:
        """Raise `ValueError` where the encoder has other weights than in the run."""
        if (found := self.cell.encoder.digest()) != self.weights:
            raise ValueError(
                f"the weights of {self.cell.encoder.label} are others than those of the run ({found}, there "
                f"{self.weights}): give a file that all machines share by encoder.weights=PATH"
            )

    def check_sample(self, sample: Sample) -> None:
        """Raise `ValueError` where an image is another one here: its descriptors would be stored under a wrong name."""
        path = Path(self.cell.data.root) / sample.name
        if image_file.file_digest(path) != sample.content:
            raise ValueError(f"{path} is another image than on the machine of the run")


def extract_descriptors(work: Extraction, samples: list[Sample], network: Extractor) -> Iterator[int]:
    """Store the descriptors of samples, and why an image is bad; yield the number of crops after each batch.

    Batches all have the same shape, so that neither the workers nor where an earlier extraction was killed changes a
    bit. What is held does not grow with the number of samples.
    """
    if work.cell.crop.sharing == MAP:
        from src.methods.frozen.shared_maps import extract_shared_maps

        yield from extract_shared_maps(work, samples, network)
    else:
        yield from extract_single_crops(work, samples, network)
    work.store.finish()


def located_cell(cell: Cell) -> Cell:
    """Return a cell whose paths are absolute."""
    data = replace(cell.data, root=str(Path(cell.data.root).absolute()))
    encoder = cell.encoder
    if isinstance(encoder, NetworkEncoder) and encoder.weights not in WORDS and Path(encoder.weights).exists():
        encoder = replace(encoder, weights=str(Path(encoder.weights).absolute()))
    return replace(cell, data=data, encoder=encoder)
