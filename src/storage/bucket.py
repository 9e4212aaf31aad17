"""A store on S3-compatible storage: objects of a bucket below a prefix."""

import errno
import os
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from src.storage.place import Item, Result
from src.system.files import replace_file

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Store

ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/+(?P<prefix>[\w.=+,~-]+(/[\w.=+,~-]+)*))?")
ENDPOINT = re.compile(r"https?://([^/\s]*@)?[\w.:\[\]-]+(/\S*)?")
REQUESTS = 16
"""Requests that are under way at the same time, at most; objects that wait to be written are as many again."""
PATIENCE = timedelta(seconds=20)
"""For so long storage that does not answer is asked again."""
AT_FIRST = timedelta(seconds=2)
"""The same where nothing was done yet: an address may be wrong."""
PART = 5 * 2**20
"""Octets of an object that are sent with one request, at most."""
SLOWEST = 2**19
"""Octets per second: what is sent more slowly counts as unanswered."""
ANSWER = timedelta(seconds=15 + PART / SLOWEST)
"""For so long one request is waited for."""
METADATA = "169.254.169.254"
"""Where Amazon's own machines find keys: asked where there are none."""


@dataclass
class Bucket:
    """Objects of a bucket below a prefix. An object appears when all of it has arrived.

    What was read or written is kept in `folder`, so that no object is fetched twice; it may be deleted at any time.
    Objects are written while the caller goes on; an error is raised by the next call.
    """

    bucket: str
    prefix: str
    folder: Path

    def __post_init__(self) -> None:
        """Connect to nothing yet."""
        self.created: set[str] = set()
        self.writing: deque[Future[None]] = deque()
        self.giving = threading.RLock()

    def check(self) -> None:
        """Raise `ValueError` where the bucket is missing, out of reach, or not for us."""
        self.ask(lambda files: files.list_with_delimiter(), files=self.connect(AT_FIRST))

    def address(self, name: str) -> str:
        """Return the object's address."""
        return "/".join(part for part in ("s3:/", self.bucket, self.prefix, name) if part)

    def folders(self) -> list[str]:
        """Return the names of the folders."""
        self.finish()
        return sorted(self.ask(lambda files: files.list_with_delimiter())["common_prefixes"])

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the objects of a folder, and their sizes: a request per 1000."""
        self.finish()
        found = self.ask(lambda files: files.list(folder).collect())
        return {each["path"].rpartition("/")[2]: each["size"] for each in found}

    def names(self, folder: str) -> list[str]:
        """Return the names of a folder's objects."""
        return list(self.sizes(folder))

    def holds(self, name: str) -> bool:
        """Return whether there is an object, by one request."""
        self.finish()
        try:
            self.ask(lambda files: files.head(name), name)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Return what an object holds, by one request."""
        return self.ask(lambda files: files.get(name).bytes().to_bytes(), name)

    def local(self, name: str, check: Callable[[bytes], object]) -> Path:
        """Return the object's copy."""
        copy = self.folder / name
        if not copy.is_file():
            content = self.read(name)
            check(content)
            self.keep(name, content)
        return copy

    def create(self, name: str, content: Callable[[], bytes]) -> None:
        """Write an object unless it is there; others write the same bytes."""
        with self.giving:
            if name in self.created:
                return
            try:
                self.read(name)
            except FileNotFoundError:
                self.send(name, content())
            self.keep(name, content())
            self.created.add(name)

    def write(self, name: str, content: bytes) -> None:
        """Have an object written; wait where too many are under way."""
        with self.giving:
            while len(self.writing) >= 2 * REQUESTS:
                self.finish(1)
            self.writing.append(self.pool.submit(self.send, name, content))

    def finish(self, count: int = 0) -> None:
        """Wait for the first of the objects that are being written, or for all; those after a failure are given up."""
        with self.giving:
            try:
                for _ in range(count or len(self.writing)):
                    self.writing.popleft().result()
            except BaseException:
                for future in self.writing:
                    future.cancel()
                self.writing.clear()
                raise

    def send(self, name: str, content: bytes) -> None:
        """Write an object, and then its copy."""
        self.ask(lambda files: files.put(name, content, chunk_size=PART), name)
        self.keep(name, content)

    def keep(self, name: str, content: bytes) -> None:
        """Write the copy of an object."""
        copy = self.folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        replace_file(copy, content)

    def remove(self, name: str) -> None:
        """Delete an object, if it is there, and its copy."""
        (self.folder / name).unlink(missing_ok=True)
        self.finish()
        self.ask(lambda files: files.delete(name), name)

    def delete(self, folder: str) -> None:
        """Delete a folder's objects, and their copies."""
        names = [f"{folder}/{name}" for name in self.names(folder)]
        self.ask(lambda files: files.delete(names))
        if left := self.names(folder):  # storage may keep some, and say nothing
            raise ValueError(f"{len(left)} objects of {self.address(folder)} are still there: run again")
        shutil.rmtree(self.folder / folder, ignore_errors=True)
        self.created.clear()

    def abreast(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield function(item) in order, some at a time."""
        left = iter(items)
        self.finish()
        while some := list(islice(left, 2 * REQUESTS)):
            yield from self.pool.map(function, some)

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that wait for answers."""
        return ThreadPoolExecutor(REQUESTS)

    @cached_property
    def files(self) -> "S3Store":
        """The connection, made when it is needed."""
        return self.connect(PATIENCE)

    def connect(self, patience: timedelta) -> "S3Store":
        """Return a connection that asks again for so long; its keys and its endpoint are in the environment."""
        try:
            from obstore.store import S3Store
        except ImportError:
            raise ValueError(f"the store {self.address('')} needs obstore: `make s3` installs it") from None
        given = given_endpoint()
        if given and not ENDPOINT.fullmatch(given):
            raise ValueError(f"the store {self.address('')} cannot be asked: AWS_ENDPOINT_URL is no address")
        client: ClientConfig = {"allow_http": True, "connect_timeout": timedelta(seconds=5), "timeout": ANSWER}
        retries: RetryConfig = {"retry_timeout": patience, "max_retries": 1000}  # it is the time that counts
        return S3Store(self.bucket, prefix=self.prefix or None, client_options=client, retry_config=retries)

    def ask(self, request: "Callable[[S3Store], Result]", name: str = "", files: "S3Store | None" = None) -> Result:
        """Return what storage answers to a request about a name.

        `FileNotFoundError` where there is no such object, `ValueError` with what to do for all else.
        """
        files = files or self.files
        from obstore.exceptions import BaseError

        try:
            if threading.current_thread() is threading.main_thread():
                return self.pool.submit(request, files).result()  # Ctrl-C ends this, but not what waits in Rust
            return request(files)
        except (OSError, BaseError) as error:
            raise self.translate(error, name) from None

    def translate(self, error: Exception, name: str) -> Exception:
        """Return the error that says what to do. What storage answered stands in the text of obstore's errors alone."""
        said = str(error)  # it is not shown: it may hold a password
        status, code = find_stated(r"status code: (\d+)", said), find_stated(r"<Code>(\w+)</Code>", said)
        at = f"the store {self.address('')}{describe_endpoint()}"
        if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
            return FileNotFoundError(errno.ENOENT, "No such object", self.address(name))
        if status in ("401", "403") or METADATA in said:
            why = ": there are none" if METADATA in said else f" ({code or status})"
            return ValueError(f"{at} refuses these credentials{why}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if status == "404":
            return ValueError(f"{at} has no bucket {self.bucket} ({code or status}); make it, or correct the address")
        if "redirect" in said:
            return ValueError(f"{at} has the bucket {self.bucket} in another region; set AWS_DEFAULT_REGION")
        kind = find_stated(r"kind: (\w+)", said) or type(error).__name__
        what = f"answers with an error ({code or status})" if status else f"does not answer ({kind})"
        return ValueError(
            f"{at} {what}; look after it, or correct the address (AWS_ENDPOINT_URL), and run again: what is stored is "
            "kept"
        )


def find_stated(pattern: str, text: str) -> str:
    """Return what the group of a pattern matches first; empty where it is not there."""
    found = re.search(pattern, text)
    return found[1] if found else ""


def given_endpoint() -> str:
    """Return the address of storage other than Amazon's as it is given; empty where it is not."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")


def describe_endpoint() -> str:
    """Return where storage other than Amazon's is, for messages: without a user and a password."""
    given = given_endpoint()
    try:
        host = urlsplit(given).netloc.rpartition("@")[2]
    except ValueError as error:
        raise ValueError(f"AWS_ENDPOINT_URL is no address: {error}") from None
    return f" at {given.split('//')[0]}//{host}" if given else ""
