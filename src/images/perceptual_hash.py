"""Near-identical images: a perceptual hash in eight orientations, and the pairs whose hashes differ little."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Int64, UInt8

from src.images import BadImage
from src.images.crop import resize_image

Numbers = npt.NDArray[np.int64]
Pairs = Int64[np.ndarray, "pair 3"]

BLOCK = 256  # images whose pairs are looked for at the same time
CANDIDATES = 2**18  # pairs that are compared at the same time: 8 MiB of hashes on either side
RADII = (0, 1)  # bits in which images may differ where they are looked up
LOOKED_UP = 20  # bits by which images are looked up, at most: 8 MiB of places a band


@dataclass(kw_only=True)
class PerceptualHash:
    """What an image looks like in `size` x `size` bits: which of its lowest spatial frequencies are strong.

    imagehash's `phash`: the signs, but for their median, of the cosine transform of the grey image of 4 `size` pixels.
    Saving an image again, another resolution, brightness or stain changes few bits, other contents about half of them.
    """

    size: int = 16
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.size < 8 or self.size % 8:
            raise ValueError(f"`size` must be a multiple of 8 from 8 on, but got size={self.size}")

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "8 octet"]:
        """Return the hashes of the image's eight orientations, its own first, eight bits an octet.

        A flat image is a `BadImage`: its hash would be that of every other one, or of the noise in it.
        """
        import imagehash
        from PIL import Image

        side = 4 * self.size
        grey = cv2.cvtColor(resize_image(image, side, side), cv2.COLOR_RGB2GRAY)
        if grey.std() < 1:
            raise BadImage("the image is flat: there is nothing in it to tell it from others")
        hashes = [imagehash.phash(Image.fromarray(each), self.size).hash for each in orient_image(grey)]
        return np.packbits(np.reshape(hashes, (8, -1)), axis=1)


def orient_image(grey: UInt8[np.ndarray, "side side"]) -> Iterator[UInt8[np.ndarray, "side side"]]:
    """Yield the eight orientations of a square image: turned by multiples of 90 degrees, and so transposed."""
    for image in (grey, grey.T):
        for turns in range(4):
            yield np.ascontiguousarray(np.rot90(image, turns))


def find_near_pairs(hashes: UInt8[np.ndarray, "image 8 octet"], distance: int) -> Iterator[Pairs]:
    """Yield rows `first, second, bits`, in order and in blocks: all pairs in which `distance` bits differ at most.

    First < second are the numbers of two images, `bits` the least by which an orientation of the first differs from the
    second. Of (`distance` + 1) / (radius + 1) bands of the bits one then differs in so many bits as the radius, at most
    (pigeonhole; multi-index hashing: Norouzi, Punjani and Fleet 2012, https://doi.org/10.1109/CVPR.2012.6248043), and
    only images that are so much alike in a band are compared. What is held grows with the number of images, and with
    the pairs found for a block.
    """
    words = np.ascontiguousarray(hashes).view(np.uint64)
    radius = min(RADII, key=lambda each: estimate_work(len(hashes), 8 * hashes.shape[2], distance, each))
    count = bands_of(distance, radius)
    bands = [Band(hashes[:, 0], number, count, radius) for number in range(count)]
    for start in range(0, max(len(hashes), 1), BLOCK):
        found = np.empty((0, 3), np.int64)
        for band in bands:
            for first, orientation, second in band.sharing(hashes[start : start + BLOCK], start):
                bits = np.bitwise_count(words[first, orientation] ^ words[second, 0]).sum(axis=1, dtype=np.int64)
                pairs = np.stack([first, second, bits], axis=1)[bits <= distance]
                found = keep_least_bits(np.concatenate([found, pairs])) if len(pairs) else found
        yield found


def bands_of(distance: int, radius: int) -> int:
    """Return how many bands there must be for one to differ in `radius` bits at most."""
    return -(-(distance + 1) // (radius + 1))


def estimate_work(count: int, bits: int, distance: int, radius: int) -> float:
    """Return about how many places are looked up for an image and how many images are compared with it.

    With a radius of 0 the images soon outnumber the places; with 1 there are some ten times as many places to look at.
    """
    bands = bands_of(distance, radius)
    kept = min(bits / bands, LOOKED_UP)
    places: float = 8 * bands * kept**radius
    return places * (1 + count / 2**kept)


def keep_least_bits(pairs: Pairs) -> Pairs:
    """Return each pair once, in order, with the least bits."""
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    repeated = (pairs[1:, :2] == pairs[:-1, :2]).all(axis=1)
    return pairs[np.concatenate([[True], ~repeated])]


class Band:
    """Some bits of the images' hashes, every `step`-th from `number` on, by which the images can be looked up.

    `radius`, 0 or 1, says in how many of the bits what is found may differ.
    """

    def __init__(self, hashes: UInt8[np.ndarray, "image octet"], number: int, step: int, radius: int) -> None:
        self.bits = range(number, 8 * hashes.shape[1], step)[:LOOKED_UP]
        self.changes = np.array([0, *(1 << bit for bit in range(radius * len(self.bits)))])
        key = self.key(hashes)
        self.numbers = np.argsort(key, kind="stable")
        self.begin = np.concatenate([[0], np.bincount(key, minlength=1 << len(self.bits)).cumsum()])

    def key(self, hashes: UInt8[np.ndarray, "*shape octet"]) -> Int64[np.ndarray, "*shape"]:
        """Return the bits of each hash as a number."""
        key = np.zeros(hashes.shape[:-1], np.int64)
        for bit in self.bits:
            key = key << 1 | hashes[..., bit // 8] >> (7 - bit % 8) & 1
        return key

    def sharing(
        self, hashes: UInt8[np.ndarray, "block 8 octet"], start: int
    ) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """Yield image, orientation and later image where the bits are alike; the block's images count from `start`.

        They come in portions of `CANDIDATES`, or of one place where it holds more.
        """
        key = (self.key(hashes)[..., None] ^ self.changes).ravel()
        count = self.begin[key + 1] - self.begin[key]
        asked = np.flatnonzero(count)  # most places are empty
        begin, count = self.begin[key[asked]], count[asked]
        portion = count.cumsum() // CANDIDATES
        for part in np.split(np.arange(len(count)), np.flatnonzero(np.diff(portion)) + 1):
            counts = count[part]
            places = np.arange(counts.sum()) + np.repeat(begin[part] - (counts.cumsum() - counts), counts)
            image, orientation = np.divmod(np.repeat(asked[part] // len(self.changes), counts), 8)
            second = self.numbers[places]
            later = second > image + start
            yield image[later] + start, orientation[later], second[later]
