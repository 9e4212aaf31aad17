"""Where the weights of an encoder come from: a publisher's file, a file of the user, or a seeded draw.

Nothing here unpickles: safetensors, or torch's files with `weights_only`.
"""

import contextlib
import logging
import pickle
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.encoders.state_dicts import describe_choice, find_prefix, flatten_state
from src.system.downloads import content_length, download_rest, explain_failure
from src.system.files import hash_file

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SAFETENSORS = ".safetensors"
TORCH_FILES = (".pth", ".pt", ".bin", ".ckpt", ".torch", ".pth.tar")
SECONDS_TO_ANSWER = 5.0  # a host that is silent for longer counts as out of reach

OFFLINE = ContextVar("OFFLINE", default=False)
"""Whether weights are looked for on this machine alone."""

REFUSALS = {
    "GatedRepoError": "it is gated",
    "LocalEntryNotFoundError": "it is not in the cache, and the hub cannot be asked",
    "RemoteEntryNotFoundError": "it has no such file",
    "RepositoryNotFoundError": "the hub has no such repository, or it is private",
}
"""What errors of the hub's client mean, by their names: its own words are many."""

State = dict[str, "torch.Tensor"]
"""A network's tensors by name."""
Convert = Callable[[State, Collection[str]], State]
"""Returns a file's tensors as a network takes them, whose names are the second argument."""
Rename = Callable[[Collection[str], Collection[str]], Mapping[str, str]]
"""Returns the names under which a network takes a file's tensors, by those in the file: of both, and the network's."""


def find_weights(weights: str, architecture: str, endings: Sequence[str], names: Sequence[str]) -> Path:
    """The file that `encoder.weights=PATH` means: PATH itself, or in a folder the first of `names` that is there.

    Errors: ValueError if there is no PATH, the folder holds none of `names`, or the file has none of `endings`.
    """
    path = Path(weights).expanduser()
    if path.is_dir():
        path = _in_folder(path, names, architecture)
    if not path.is_file():
        raise ValueError(
            "encoder.weights must be imagenet, released, random or the path of a file or folder, "
            f"but {weights!r} is not there"
        )
    if not path.name.endswith(tuple(endings)):
        raise ValueError(f"the weights of {architecture} must be a file {_either(endings)}, but got {path}")
    return path


def _in_folder(folder: Path, names: Sequence[str], architecture: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    present = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
    raise ValueError(f"encoder.weights={folder} must hold {_either(names)} for {architecture}, but holds: {present}")


def _either(choices: Sequence[str]) -> str:
    return " or ".join(choices)


@contextlib.contextmanager
def without_network() -> Iterator[None]:
    """Look for weights on this machine alone: what would have to be fetched cannot be reached."""
    before = OFFLINE.set(True)
    try:
        yield
    finally:
        OFFLINE.reset(before)


def check_network(url: str) -> None:
    """Raise `OSError` where nothing is to be fetched."""
    if OFFLINE.get():
        raise OSError(f"{url} is not fetched")


def check_address(url: str, architecture: str) -> None:
    """Raise `ValueError` where it is not known who publishes an architecture's weights."""
    if not url:
        raise ValueError(
            f"it is not known here where the weights of {architecture} are published: give encoder.url=, or "
            "encoder.weights=PATH, or encoder.weights=random (untrained)"
        )


def fetch_weights(url: str, folder: Path, algorithm: str, start: str) -> Path:
    """Return the file of `url` in `folder`, downloaded unless it is there, whose hash starts with `start`.

    Where a download broke off, the rest is fetched. One process at a time fetches into a folder; another waits.
    Errors: OSError if the host cannot be reached, ValueError if what came has another hash.
    """
    path = folder / url.rpartition("/")[2]
    if _matches(path, algorithm, start):
        return path
    check_network(url)
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with FileLock(folder / ".download.lock"):
        if _matches(path, algorithm, start):
            return path
        _download(url, part)
        if not _matches(part, algorithm, start):
            part.unlink()
            raise ValueError(f"the {algorithm} of {url} must start with {start}, but got another hash: try again")
        part.replace(path)
    return path


def _matches(path: Path, algorithm: str, start: str) -> bool:
    return path.is_file() and hash_file(path, algorithm).startswith(start)


def _download(url: str, part: Path) -> None:
    from rich.console import Console
    from rich.progress import Progress

    try:
        size = content_length(url)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(url.rpartition("/")[2], total=size)
            download_rest(url, part, size, lambda done, _: progress.update(task, completed=done))
    except OSError as error:
        raise OSError(explain_failure(error)) from None


def find_installed(package: str) -> Path | None:
    """Return the weights file that a Python package brings, found without importing it; None if it is not installed."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name.endswith(TORCH_FILES))
    return next((path for path in paths if path.is_file()), None)


def fetch_from_hub(repository: str, name: str) -> Path:
    """Return the file `name` of a repository on the Hugging Face hub, from the hub's cache if it is there.

    Errors: OSError if the hub cannot be reached or refuses the file (gated repositories need a licence and a login).
    """
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(repository, name)
    if isinstance(cached, str):
        return Path(cached)
    check_network(huggingface_hub.hf_hub_url(repository, name))
    if not huggingface_hub.constants.HF_HUB_OFFLINE:
        _reach(huggingface_hub.hf_hub_url(repository, name))
    return Path(huggingface_hub.hf_hub_download(repository, name))


def explain_refusal(error: object) -> str:
    """Return why something could not be fetched, in one line."""
    return REFUSALS.get(type(error).__name__) or str(error).strip().partition("\n")[0]


def _reach(url: str) -> None:
    """Ask for a page's head. The hub's client tries for half a minute before it says that there is no network."""
    import requests

    try:
        requests.head(url, timeout=SECONDS_TO_ANSWER)  # a refusal is an answer
    except OSError as error:
        raise OSError(explain_failure(error)) from None


def explain_unreachable(architecture: str, source: str, reason: object, files: str, advice: str = "") -> ValueError:
    """Return the error that says which weights could not be had, why, and what to choose instead."""
    return ValueError(
        f"the weights of {architecture} could not be fetched from {source} ({explain_refusal(reason)}). {advice}"
        f"Choose encoder.weights=random (untrained) or encoder.weights=PATH, where PATH is {files}"
    )


@contextlib.contextmanager
def seed_draws(seed: int) -> Iterator[None]:
    """Let whatever draws weights draw them from `seed`; afterwards the global generators are as they were."""
    import torch

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  (Keras draws its seeds from them)
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the accelerators too
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def read_weights(path: Path) -> State:
    """Return all tensors that a file holds by name; of nested state dicts by names such as `state_dict.conv1.weight`.

    Errors: ValueError if the file is damaged, or holds no tensors by name.
    """
    try:
        found = _read(path)
    except (RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        if code := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            reason = f"it holds {code[1]}, too; where you trust it, save its state dict alone"
        raise ValueError(f"{path} cannot be read as weights (nothing but tensors is loaded): {reason}") from None
    state = dict(flatten_state(found))
    if not state:
        raise ValueError(f"{path} must hold a state dict, tensors by name, but holds something else")
    return state


def _read(path: Path) -> object:
    if path.suffix == SAFETENSORS:
        import safetensors
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except safetensors.SafetensorError as error:
            raise ValueError(error) from None
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def without_pickle(path: Path, folder: Path) -> Path:
    """Copy a weights file into a folder, as it is or, where it is torch's own format, as safetensors; return the copy.

    Errors: ValueError as of `read_weights`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not path.name.endswith(TORCH_FILES):
        return Path(shutil.copyfile(path, folder / path.name))
    from safetensors.torch import save_file

    copy = folder / f"{path.stem}{SAFETENSORS}"
    save_file({name: tensor.contiguous().clone() for name, tensor in read_weights(path).items()}, copy)
    return copy


def fill_network(
    module: "torch.nn.Module",
    path: Path,
    architecture: str,
    head: Sequence[str],
    optional: Sequence[str] = (),
    rename: Rename | None = None,
    convert: Convert | None = None,
) -> None:
    """Load a file's tensors into a network without a classification head.

    They are those below the prefix that most of the network's names have in the file, such as `state_dict.backbone.`;
    what lies beside it is left aside, and the log says both. `head` holds the first letters of the names of the head's
    tensors; they are dropped, every other tensor must fit. `optional` holds those of parts that keep their random
    weights if the file has no tensor of them. `convert` and then `rename` translate a file of another library.
    Errors: ValueError with the numbers of tensors that are missing, unexpected or of another shape, and their names.
    """
    wanted, everything = module.state_dict(), read_weights(path)
    prefix = find_prefix(everything, wanted)
    found = {name.removeprefix(prefix): tensor for name, tensor in everything.items() if name.startswith(prefix)}
    found = convert(found, wanted) if convert else found
    names = rename(found, wanted) if rename else {name: name for name in found}
    named = {names[name]: tensor for name, tensor in found.items()}
    state = {name: tensor for name, tensor in named.items() if name in wanted or not name.startswith(tuple(head))}
    faults = [
        *compare_states(state, wanted, optional),
        _fault([name for name, times in Counter(names.values()).items() if times > 1], "of two names"),
    ]
    if any(faults):
        below = f" below {prefix.rstrip('.')}" if prefix else ""
        raise ValueError(f"{path} does not fit {architecture}: tensors{below} {'; '.join(filter(None, faults))}")
    if prefix:
        log.info("%s: %s", path, describe_choice(everything, prefix))
    module.load_state_dict(state, strict=False)  # batch counters, the only ones that may be missing, matter to training


def compare_states(state: State, wanted: State, optional: Sequence[str]) -> list[str]:
    """Return what hinders tensors to be those that a network wants, empty texts where nothing does."""
    absent = tuple(part for part in optional if not any(name.startswith(part) for name in state))
    missing = [
        name
        for name in wanted
        if name not in state and not name.endswith("num_batches_tracked") and not name.startswith(absent)
    ]
    unexpected = [name for name in state if name not in wanted]
    reshaped = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    return [_fault(missing, "missing"), _fault(unexpected, "unexpected"), _fault(reshaped, "of another shape")]


def _fault(names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    kinds = Counter(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names)  # those of numbered layers as one
    every = ", ".join(f"{kind} ({times})" if times > 1 else kind for kind, times in kinds.items())
    return f"{what}: {len(names)}, the first is {names[0]}" + (f" (all: {every})" if len(names) > 1 else "")
