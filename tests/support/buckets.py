"""S3-compatible storage of this machine for tests, and a gate before it that can be shut."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.support.servers import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "member", "AWS_SECRET_ACCESS_KEY": "of the team", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "descriptors"
STORAGE = pytest.mark.extra("obstore", "moto")


@dataclass
class Storage:
    """A server that speaks S3: moto, in a process of its own."""

    address: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        return KEYS | {"AWS_ENDPOINT_URL": self.address}

    def asked(self) -> Counter[str]:
        """How many requests there were so far, by their method."""
        return Counter(re.findall(r'"\S*?(GET|PUT|HEAD|POST|DELETE) ', self.log.read_text()))


@contextmanager
def storage(folder: Path, bucket: str = BUCKET, environment: dict[str, str] | None = None) -> Iterator[Storage]:
    """Run a server with an empty bucket: for tests that are marked as `STORAGE`."""
    port, log = free_port(), folder / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("a") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | (environment or {}))
    try:
        made = Storage(f"http://127.0.0.1:{port}", log)
        until = time.monotonic() + 120
        while True:
            with suppress(requests.RequestException):
                if requests.get(f"{made.address}/moto-api/", timeout=1).ok:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        assert requests.put(f"{made.address}/{bucket}", timeout=30).ok
        yield made
    finally:
        process.kill()
        process.wait(timeout=30)


@dataclass
class Gate:
    """The way to a server, which can be shut: those on it fall, and nobody comes in. What the server holds stays."""

    to: str
    port: int = field(default_factory=free_port)
    listening: socket.socket | None = None
    passing: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> "Gate":
        self.listening = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self.admit, args=(self.listening,), daemon=True).start()
        return self

    def shut(self) -> None:
        assert self.listening is not None
        for each in [self.listening, *self.passing]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.passing.clear()

    def admit(self, listening: socket.socket) -> None:
        while True:
            try:
                come, _ = listening.accept()
            except OSError:
                return
            host, _, port = self.to.removeprefix("http://").partition(":")
            gone = socket.create_connection((host, int(port)))
            self.passing += [come, gone]
            for one, other in ((come, gone), (gone, come)):
                threading.Thread(target=pump, args=(one, other), daemon=True).start()


def pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while some := one.recv(2**16):
            other.sendall(some)
    for each in (one, other):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
