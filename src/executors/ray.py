"""Work by the workers of a Ray cluster."""

import hashlib
import logging
import os
import platform
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from src.executors.executor import Batched, Executor, Work
from src.system.checks import at_least, needs_extra
from src.system.own_code import MODULES

log = logging.getLogger(__name__)

Shared = Any
"""A reference to work in the cluster's memory, to which it is copied once."""

SOURCE = Path(__file__).resolve().parents[1]
"""The code that workers get."""
LIBRARIES = (
    "numpy scipy scikit-learn lightgbm torch torchvision timm keras openvino pandas pillow opencv-python-headless"
)
"""The libraries that may change results."""
KEPT = ("OMP_WAIT_POLICY", "TORCH_HOME", "HF_HOME", "KERAS_HOME", "XDG_CACHE_HOME")
"""Environment variables that workers take over: how threads wait, and where published weights are kept."""
REACH, GREET, PERIOD = 5.0, 120.0, 10.0
"""Seconds to reach the cluster, for every node to answer, and between two looks whether it can still do the work."""
AHEAD = 256
"""Tasks that are handed to the cluster at once."""
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
WAY_OUT = (
    "`RAY_USAGE_STATS_ENABLED=0 ray start --head` begins a cluster, which other machines join by "
    "`ray start --address=HOST:6379`; or take executor=local"
)


@dataclass(kw_only=True)
class Ray(Executor):
    """A Ray cluster: samples are encoded, and the models of each fold and seed fitted, wherever there is room.

    - `address`: HOST:PORT of the cluster, ray://HOST:PORT by a Ray client, or auto: the environment variable
      RAY_ADDRESS, else the cluster that this machine belongs to.
    - `samples`: how many are encoded by one task; what a lost worker has not stored of them is encoded again.
    - `cpus`, `gpus`: what a task that encodes takes of its node; 0: as many processors as PyTorch has threads here, and
      a GPU where the cluster has some and `method.device` allows it. A task that fits models takes one processor.
    - `retries`: how often a task is begun again whose worker, or node, was lost.

    Workers get the code from here. They need Python, Ray and the libraries in the same versions, and images, weights
    and store at the same absolute paths, or their own caches of published weights; all nodes are asked before any work.
    """

    address: str = "auto"
    samples: int = 8
    cpus: float = 0
    gpus: float = 0
    retries: int = 3

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, group="executor", samples=self.samples)
        at_least(0, group="executor", cpus=self.cpus, gpus=self.gpus, retries=self.retries)

    def check(self) -> None:
        """Connect to the cluster."""
        self.connect()

    def shares(self, seeds: list[int]) -> list[list[int]]:
        """Return each seed by itself, so that there is work for many nodes."""
        return [[seed] for seed in seeds]

    def map(self, work: Work, items: Sequence[Any], workers: int) -> Iterator[Any]:
        """Yield the result of each item, in order."""
        import ray

        self.connect()
        abroad = ray.put(work.abroad())
        greet_nodes(abroad)
        yield from self.results(attempt_one, abroad, items, {"num_cpus": 1})

    def spread(self, work: Batched, items: list[Any]) -> Iterator[int]:
        """Have work done on all items, some at a time, and yield how much each of these tasks has done."""
        import ray
        import torch

        self.connect()
        abroad = ray.put(work.abroad())
        needs = {"num_cpus": self.cpus or torch.get_num_threads(), "num_gpus": self.accelerators(work.device)}
        take_away = work.prepare()
        try:
            greet_nodes(abroad)
        finally:
            take_away()
        parts = [items[first : first + self.samples] for first in range(0, len(items), self.samples)]
        yield from self.results(attempt_all, abroad, parts, needs)

    def accelerators(self, device: str) -> float:
        """Return how many GPUs a task that encodes takes."""
        import ray

        if ":" in device:
            raise ValueError(
                f"method.device={device}, but the workers of a Ray cluster have GPUs of their own: take cuda"
            )
        held = ray.cluster_resources().get("GPU", 0)
        if device.startswith("cuda") and not held:
            raise ValueError(f"method.device={device}, but the Ray cluster has no GPU; take method.device=auto")
        return (self.gpus or 1) if held and device != "cpu" else 0

    def connect(self) -> None:
        """Connect this process to the cluster, until it ends; `ValueError` where that cannot be."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anyone
        os.environ.setdefault("RAY_task_oom_retries", str(self.retries))
        if any(os.environ.get(name) for name in TOKENS) or (Path.home() / ".ray" / "auth_token").is_file():
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # `ray start` asks for it where there is one
        try:
            import ray
        except ModuleNotFoundError:
            raise ValueError(needs_extra("executor=ray", "Ray", "ray")) from None
        send_own_code()
        if ray.is_initialized():
            return
        self.reach()
        ray._private.worker._worker_logs_enabled = False  # no option keeps its news of workers off the terminal
        threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment = {
            "py_modules": [str(SOURCE)],
            "excludes": ["**/__pycache__"],
            "env_vars": {"OMP_NUM_THREADS": threads, "PYTHONHASHSEED": "0", **kept},
        }
        try:
            with own_signals():
                ray.init(self.address, runtime_env=environment, log_to_driver=False, logging_level=logging.CRITICAL)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, ImportError) as error:
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
            raise ValueError(f"executor.address={self.address}: {said.rstrip('.')}. {WAY_OUT}") from None

    def reach(self) -> None:
        """Raise `ValueError` where nothing listens at the cluster's address: Ray itself takes long to say so."""
        address = os.environ.get("RAY_ADDRESS", "auto") if self.address == "auto" else self.address
        if address == "auto":
            return
        place = urlsplit(address if "://" in address else f"ray-cluster://{address}")
        try:
            socket.create_connection((place.hostname or "", place.port or 6379), REACH).close()
        except (OSError, ValueError) as error:
            raise ValueError(f"no Ray cluster answers at executor.address={address} ({error}). {WAY_OUT}") from None

    def results(
        self, call: Callable[[Any, Any], Any], work: Shared, items: Sequence[Any], needs: dict[str, float]
    ) -> Iterator[Any]:
        """Yield what a call of work and each item returns, in order; what is not asked for any more is given up."""
        import ray

        check_room(needs)
        # Without max_calls a worker of a GPU would end with each task, and load the network again for the next.
        options = {"max_retries": self.retries, "max_calls": 0, "scheduling_strategy": "SPREAD", **needs}
        task = ray.remote(**options)(call)
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(task.remote(work, item))
                if len(waiting) == AHEAD:
                    yield self.result(waiting[0], needs)
                    waiting.popleft()
            while waiting:
                yield self.result(waiting[0], needs)
                waiting.popleft()
        finally:
            give_up(list(waiting))

    def result(self, task: Any, needs: dict[str, float]) -> Any:
        """Return the result of a task; `ValueError` where its workers were lost again and again."""
        import ray
        from ray import exceptions

        try:
            while not ray.wait([task], timeout=PERIOD)[0]:
                check_room(needs)
            result = ray.get(task)
        except exceptions.RayTaskError:  # our own mistake, with its traceback
            raise
        except exceptions.RayError as error:
            said = next(iter(str(error).strip().splitlines()), "")
            raise ValueError(
                f"the Ray cluster lost the worker of a task {self.retries + 1} times ({type(error).__name__}: {said}); "
                "was there enough memory? Fewer tasks share a node with more executor.cpus; what is stored is kept"
            ) from None
        if isinstance(result, Failed):
            raise result.error
        return result


def send_own_code() -> None:
    """Have a user's own files go along with work, which is pickled: workers have no such files."""
    import ray

    for module in MODULES.values():
        ray.cloudpickle.register_pickle_by_value(module)


def give_up(tasks: list[Any]) -> None:
    """Cancel the tasks that have not ended, if this process is to go on; where it ends, all of its workers do.

    Not by force: Ray 2.60 ends this process where a task that it kills has just succeeded.
    """
    import ray

    if tasks:
        for left in ray.wait(tasks, num_returns=len(tasks), timeout=0)[1]:
            ray.cancel(left, force=False)


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep our answer to a request to end, which closes runs: Ray would put its own in its place."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def check_room(needs: dict[str, float]) -> None:
    """Raise `ValueError` where no node of the cluster could ever do a task with such needs."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": needs["num_cpus"], "GPU": needs.get("num_gpus", 0)}
    if not any(all(node.get(name, 0) >= count for name, count in wanted.items()) for node in nodes):
        there = "; ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes)
        raise ValueError(
            f"a task takes {wanted['CPU']:g} processors and {wanted['GPU']:g} GPUs, but no node of the Ray cluster has "
            f"as many (they have {there}): set executor.cpus= and executor.gpus=, or OMP_NUM_THREADS here"
        )


@dataclass
class Failed:
    """An error that a user can cause, of a task."""

    error: Exception


def attempt_one(work: Callable[[Any], Any], item: Any) -> Any:
    """Return the result of an item, or the error that a user can cause; our own mistakes are raised."""
    try:
        return work(item)
    except (ValueError, OSError, MemoryError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = Path(frames[-1].filename).is_relative_to(SOURCE) or not isinstance(error, ValueError)
        if not ours:
            raise
        return Failed(error)


def attempt_all(work: Batched, items: list[Any]) -> Any:
    """Return how much was done."""
    return attempt_one(lambda part: sum(work(part)), items)


@dataclass
class Greeting:
    """What a node says of itself."""

    host: str
    versions: dict[str, str]
    processor: str
    problem: str


def make_greeting(work: Work) -> Greeting:
    """Return what this node says of itself, and why it cannot do some work; empty where it can."""
    problem = ""
    try:
        work.check()
    except (ValueError, OSError) as error:
        problem = str(error)
    return Greeting(platform.node(), result_versions(), processor_model(), problem)


@cache
def result_versions() -> dict[str, str]:
    """Return what may change results: the versions of libraries, and the code's digest."""
    found = {}
    for name in LIBRARIES.split():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    code = hashlib.sha256()
    for file in sorted(SOURCE.rglob("*.py")):
        code.update(file.relative_to(SOURCE).as_posix().encode() + file.read_bytes())
    return found | {"python": platform.python_version(), "tenfold": code.hexdigest()[:16]}


def processor_model() -> str:
    """Return the processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def greet_nodes(work: Shared) -> None:
    """Ask every node whether it can do some work; `ValueError` with the first node's problem where one cannot."""
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(make_greeting)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    asked = [
        ask.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(work)
        for node in nodes
    ]
    late = ray.wait(asked, num_returns=len(asked), timeout=GREET)[1]
    if late:
        raise ValueError(
            f"{len(late)} of {len(nodes)} nodes of the Ray cluster do not answer within {GREET:g} seconds; one that "
            "has to fetch the encoder's weights takes longer: give a file that all share by encoder.weights=PATH"
        )
    for answer in asked:
        try:
            compare_versions(ray.get(answer))
        except exceptions.RayTaskError:  # our own mistake, with its traceback
            raise
        except exceptions.RuntimeEnvSetupError as error:
            raise ValueError(f"a node of the Ray cluster cannot take the code: {error}") from None
        except exceptions.RayError:
            continue  # the node went away


def compare_versions(node: Greeting) -> None:
    """Raise `ValueError` where a node cannot do the work, or has other versions than this machine."""
    here = result_versions()
    if differ := [f"{name} {there}, here {here[name]}" for name, there in node.versions.items() if there != here[name]]:
        raise ValueError(f"node {node.host} of the Ray cluster has {'; '.join(differ)}: results could differ")
    if node.problem:
        raise ValueError(f"node {node.host} of the Ray cluster: {node.problem}")
    if node.processor != processor_model():
        warn_once(f"node {node.host} has another processor ({node.processor}): its results agree to rounding")


@cache
def warn_once(message: str) -> None:
    """Tell something once."""
    log.warning(message)
