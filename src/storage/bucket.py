"""A store on S3-compatible storage: objects of a bucket below a prefix."""

import errno
import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from src.storage.place import Item, Result
from src.system.files import replace

ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[\w./=+,~-]*))?")
REQUESTS = 16
"""Requests that are under way at the same time, at most; objects that wait to be written are as many again."""
PATIENCE = 20.0
"""Seconds within which storage that does not answer is asked again."""
AT_FIRST = 2.0
"""The same where nothing was done yet: an address may be wrong."""
TIMEOUTS = {"connect_timeout": 5, "read_timeout": 15}
"""Seconds. The latter does not hold while an object is sent (aiohttp), for which there is `SLOWEST`."""
SLOWEST = 2**19
"""Octets per second: what is sent more slowly counts as unanswered."""
COMPATIBLE = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
"""Not all that speaks S3 knows Amazon's newer checksums; descriptors hold one of their own."""


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
        self.giving, self.connecting = threading.RLock(), threading.Lock()

    def check(self) -> None:
        """Raise `ValueError` where the bucket is missing, out of reach, or not for us."""
        wanted = {"Bucket": self.bucket, "Prefix": self.key(""), "MaxKeys": 1}
        self.ask("call_s3", "list_objects_v2", within=AT_FIRST, **wanted)

    def address(self, name: str) -> str:
        """Return the object's address."""
        return "/".join(part for part in ("s3:/", self.bucket, self.prefix, name) if part)

    def key(self, name: str) -> str:
        """Return the key of an object, or the beginning of those of a folder."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def folders(self) -> list[str]:
        """Return the names of the folders."""
        found = (each["Prefix"] for page in self.pages("", Delimiter="/") for each in page.get("CommonPrefixes", []))
        return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in found)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the objects of a folder, and their sizes: a request per 1000."""
        found = (each for page in self.pages(f"{folder}/") for each in page.get("Contents", []))
        return {each["Key"].rpartition("/")[2]: each["Size"] for each in found}

    def names(self, folder: str) -> list[str]:
        """Return the names of a folder's objects."""
        return list(self.sizes(folder))

    def pages(self, name: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield the answers that list the objects whose keys begin so."""
        self.finish()
        more: dict[str, str] = {}
        while True:
            wanted = {"Bucket": self.bucket, "Prefix": self.key(name)} | options | more
            page = self.ask("call_s3", "list_objects_v2", **wanted)
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def holds(self, name: str) -> bool:
        """Return whether there is an object, by one request."""
        found = next(self.pages(name, MaxKeys=1)).get("Contents", [])
        return any(each["Key"] == self.key(name) for each in found)

    def read(self, name: str) -> bytes:
        """Return what an object holds, by one request."""
        return self.ask("cat_file", self.path(name), max_concurrency=1)

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
        longest = TIMEOUTS["read_timeout"] + len(content) / SLOWEST
        self.ask("pipe_file", self.path(name), content, timeout=longest)
        self.keep(name, content)

    def keep(self, name: str, content: bytes) -> None:
        """Write the copy of an object."""
        copy = self.folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        replace(copy, content)

    def remove(self, name: str) -> None:
        """Delete an object, if it is there, and its copy."""
        (self.folder / name).unlink(missing_ok=True)
        if self.holds(name):
            self.ask("rm", [self.path(name)])

    def delete(self, folder: str) -> None:
        """Delete a folder's objects, and their copies."""
        names = [self.path(f"{folder}/{name}") for name in self.names(folder)]
        if names:
            self.ask("rm", names)
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

    def path(self, name: str) -> str:
        """Return what fsspec calls an object."""
        return f"{self.bucket}/{self.key(name)}"

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that wait for answers."""
        return ThreadPoolExecutor(REQUESTS)

    @cached_property
    def files(self) -> Any:
        """The connection, made when it is needed: its settings are those of AWS's own tools, in the environment."""
        try:
            from s3fs import S3FileSystem
        except ImportError:
            raise ValueError(f"the store {self.address('')} needs s3fs: `make s3` installs it") from None
        once = {"total_max_attempts": 1}  # `ask` asks again
        settings = TIMEOUTS | COMPATIBLE | {"retries": once, "max_pool_connections": 2 * REQUESTS}
        made = S3FileSystem(config_kwargs=settings, use_listings_cache=False, skip_instance_cache=True)
        made.retries = 1
        try:
            made.connect()
        except failures(ValueError) as error:  # its words may hold a password
            what = "AWS_ENDPOINT_URL is no address" if type(error) is ValueError else type(error).__name__
            raise ValueError(f"the store {self.address('')} cannot be asked: {what}") from None
        return made

    def ask(self, method: str, *arguments: Any, within: float = PATIENCE, **options: Any) -> Any:
        """Return what storage answers; it is asked again for a while.

        `FileNotFoundError` where there is no such object, `ValueError` with what to do for all else.
        """
        until, pause = time.monotonic() + within, 0.25
        with self.connecting:
            ask = getattr(self.files, method)
        while True:
            try:
                return ask(*arguments, **options)
            except failures() as error:
                if code(error) == "NoSuchKey":
                    raise FileNotFoundError(errno.ENOENT, "No such object", f"s3://{arguments[0]}") from None
                if (reason := self.refused(error)) or time.monotonic() + pause > until:
                    raise ValueError(reason or self.away(error)) from None
            time.sleep(pause)
            pause *= 2

    def refused(self, error: Exception) -> str:
        """Return what to do where it is of no use to ask again; empty elsewhere."""
        from botocore.exceptions import NoCredentialsError, ParamValidationError, PartialCredentialsError

        at = f"the store {self.address('')}{endpoint()}"
        if isinstance(error, NoCredentialsError | PartialCredentialsError | PermissionError):
            why = f" ({code(error)})" if code(error) else ": there are none"
            return f"{at} refuses these credentials{why}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        if isinstance(error, FileNotFoundError):
            return f"{at} has no bucket {self.bucket} ({code(error)}); make it, or correct the address"
        return f"{at}: {error}" if isinstance(error, ParamValidationError) else ""

    def away(self, error: Exception) -> str:
        """Return what to do where storage does not answer."""
        what = f"answers with an error ({code(error)})" if code(error) else f"does not answer ({type(error).__name__})"
        return (
            f"the store {self.address('')}{endpoint()} {what}; look after it, or correct the address "
            "(AWS_ENDPOINT_URL), and run again: what is stored is kept"
        )


def failures(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the errors of storage, and of the way to it."""
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError
    from botocore.parsers import ResponseParserError

    return OSError, ClientError, BotoCoreError, ResponseParserError, *others


def code(error: BaseException) -> str:
    """Return the storage's own word for an error, such as AccessDenied; empty where it did not answer."""
    answer = getattr(error.__cause__, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def endpoint() -> str:
    """Return where storage other than Amazon's is, for messages: without a user and a password."""
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    try:
        host = urlsplit(given).netloc.rpartition("@")[2]
    except ValueError as error:
        raise ValueError(f"AWS_ENDPOINT_URL is no address: {error}") from None
    return f" at {given.split('//')[0]}//{host}" if given else ""
