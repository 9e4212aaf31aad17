"""A file from the network; where a transfer broke off, the rest of it.

By hand, as pooch, fsspec and torch.hub begin anew after a break. `http_get` of huggingface_hub goes on, but sends and
expects what the hub alone understands.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

BytesDone = Callable[[int, int], None]
"""Takes the octets that are there, and those of the whole file."""
BLOCK = 2**16
"""Octets: of a block that breaks off nothing is kept."""
TIMEOUT = (10, 60)
"""Seconds to connect, and between two blocks."""


def open_url(url: str, headers: Mapping[str, str] | None = None) -> "requests.Response":
    """Return the answer to a request for a file as it lies on the server; `OSError` where it is refused."""
    import requests

    asked = {"Accept-Encoding": "identity", **(headers or {})}
    response = requests.get(url, headers=asked, stream=True, timeout=TIMEOUT)
    if response.status_code != 416:
        response.raise_for_status()
    return response


def content_length(url: str) -> int:
    """Return how many octets the server says that a file has; `OSError` where it says nothing."""
    with open_url(url) as response:
        length = response.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise OSError("the server does not say how many bytes it has")
    return int(length)


def download_rest(url: str, part: Path, size: int, progress: BytesDone) -> None:
    """Append to `part` what it lacks of a file of `size` octets; begin anew where the server cannot go on.

    `OSError` where that breaks off: the next call goes on with what has come. Where more comes than there should be,
    the part is longer than `size`.
    """
    while size_of(part) < size and not _append(url, part, size, progress):
        part.unlink()  # the server did not continue where the part ends


def _append(url: str, part: Path, size: int, progress: BytesDone) -> bool:
    """Append the rest of the file to `part`; return whether the server could go on there."""
    start = size_of(part)
    with open_url(url, {"Range": f"bytes={start}-"} if start else {}) as response:
        if response.status_code == 416 or (response.status_code == 206 and _start(response) != start):
            if not start:
                raise OSError(f"the server answered {response.status_code} to a request for the whole file")
            return False
        response.raw.headers.pop("Content-Encoding", None)  # "gzip" of a .tar.gz: the file itself is wanted, not undone
        with part.open("ab" if response.status_code == 206 else "wb") as file:
            for block in response.iter_content(BLOCK):
                file.write(block)
                progress(file.tell(), size)
                if file.tell() > size:
                    break
    if size_of(part) < size:
        raise OSError("the server closed the connection")
    return True


def _start(response: "requests.Response") -> int:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def size_of(path: Path) -> int:
    """Return the octets of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def explain_failure(error: Exception) -> str:
    """Return why a transfer failed, in one line: requests wraps the cause into the names of its classes and objects."""
    import requests

    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection (is there a network?)"
    return str(error)
