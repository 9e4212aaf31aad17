"""A Ray cluster of nodes that are processes of this machine, of which single ones can be killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

RAY = Path(sys.executable).parent / "ray"
MEMORY = 120_000_000
"""Bytes of a node's object store."""


class Node:
    """One node, with the processes below it."""

    def __init__(self, *options: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="tenfold-", dir="/tmp")  # sockets want short paths
        command = [str(RAY), "start", "--block", f"--temp-dir={self.folder}", f"--object-store-memory={MEMORY}"]
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        with Path(self.folder, "said").open("wb") as said:
            self.process = subprocess.Popen(
                [*command, "--disable-usage-stats", "--num-cpus=1", *options],
                env=environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def said(self) -> str:
        return Path(self.folder, "said").read_text()

    def wait(self) -> None:
        until = time.monotonic() + 120
        while "Ray runtime started" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.1)

    def tree(self) -> dict[int, str]:
        """The command lines of the node's processes."""
        parents, lines = {}, {}
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                number = int(folder.name)
                parents[number] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                lines[number] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        own = {self.process.pid}
        while more := {number for number, parent in parents.items() if parent in own} - own:
            own |= more
        return {number: lines.get(number, "") for number in own}

    def works_at(self, task: str) -> bool:
        """Whether a worker of the node is doing such a task."""
        return f"ray::{task}" in self.tree().values()

    def kill(self) -> None:
        """End all its processes at once, as a machine that loses its power."""
        for number in self.tree():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster:
    """A head of one processor, and the nodes that join it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.nodes = [Node("--head", f"--port={port}", "--include-dashboard=false", "--node-ip-address=127.0.0.1")]
        self.nodes[0].wait()

    def join(self, *options: str) -> Node:
        """Another node of one processor."""
        node = Node(f"--address={self.address}", "--node-ip-address=127.0.0.1", *options)
        self.nodes.append(node)
        node.wait()
        return node

    def close(self) -> None:
        for node in reversed(self.nodes):
            if node.process.poll() is None:
                node.kill()
