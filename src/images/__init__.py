"""Array to array: stain normalisation, augmentation, crops."""


class BadImage(ValueError):  # noqa: N818
    """An image that cannot be read or treated. The message says why; the caller adds the file's name."""


class OutOfReach(BadImage):
    """A file that the system does not give now. That says nothing of the image, so it is not to be remembered."""
