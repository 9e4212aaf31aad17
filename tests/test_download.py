"""The download command; the fetching itself is tested in tests/data/test_archives.py."""

import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from src.data.reader import ArchiveRecord, Reader
from src.data.sets.mini_mias import MiniMias
from src.data.sets.tma import Tma
from src.download import main
from tests.support.commands import run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=demo"], "cannot be downloaded"),
        (["data=folder"], "cannot be downloaded"),  # before a folder is asked for
        (["data=nothing"], "the options of data are bach"),
        (["data=tma"], "https://tma.im"),
    ],
    ids=str,
)
def test_what_cannot_be_downloaded_is_named(tmp_path: Path, arguments: list[str], said: str) -> None:
    process = run("download", *arguments, workspace=tmp_path)
    assert process.returncode == 1
    assert said in process.stderr
    assert "Traceback" not in process.stderr


def download(reader: Reader) -> None:
    """What the command does with that data set."""
    main(OmegaConf.create({"data": OmegaConf.structured(reader)}))


def test_what_is_fetched_by_hand_is_explained_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "tma"
    reader = Tma(root=str(root), expected=8)
    with pytest.raises(
        ValueError, match=f"(?s)https://tma.im.*put them at {root}/breast.*Not there yet: .*no folder {root}"
    ) as error:
        download(reader)
    assert "{root}" not in str(error.value)
    for name in ("bladder", "breast", "lung", "lymphoma"):
        (root / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(root / name / "1.png")
    with pytest.raises(ValueError, match="Not there yet: the micro-arrays are 8 images, but .* has 4"):
        download(reader)
    for name in ("bladder", "breast", "lung", "lymphoma"):
        Image.new("RGB", (4, 4)).save(root / name / "2.png")
    download(reader)
    assert f"8 images in {root}: complete" in capsys.readouterr().err.replace("\n", " ")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the folder `served`."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Be silent."""

    (tmp_path / "served").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=tmp_path / "served"))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def pack(archive: Path, count: int) -> None:
    """mini-MIAS' archive, of so many images."""
    source = archive.parent / "source"
    source.mkdir(exist_ok=True)
    names = [f"mdb{number + 1:03d}" for number in range(count)]
    for name in names:
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(source / f"{name}.pgm")
    lines = [f"{name} G NORM" if number % 2 else f"{name} G CIRC B 1 2 3" for number, name in enumerate(names)]
    (source / "Info.txt").write_text("\n".join(lines))
    with tarfile.open(archive, "w:gz") as tar:
        for path in source.iterdir():
            tar.add(path, path.name)


def test_a_data_set_at_a_plain_address_is_fetched_counted_and_then_left_alone(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(kw_only=True)
    class Local(MiniMias):
        records: ClassVar[tuple[ArchiveRecord, ...]] = (
            ArchiveRecord(url=f"{server}/all-mias.tar.gz", files={"all-mias.tar.gz": ""}, direct=True),
        )

    archive = tmp_path / "served" / "all-mias.tar.gz"
    pack(archive, 3)
    reader = Local(root=str(tmp_path / "data"), task="abnormality", expected=4, size=4)
    with pytest.raises(
        ValueError, match=r"(?s)mini-MIAS has 4 images, but .* has 3.*from all-mias.tar.gz there: delete it"
    ):
        download(reader)
    (tmp_path / "data" / "all-mias.tar.gz").unlink()
    pack(archive, 4)
    download(reader)
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"4 images in {tmp_path / 'data'}, from all-mias.tar.gz: complete" in said
    archive.unlink()  # nothing is asked for again
    (tmp_path / "data" / "all-mias.tar.gz").unlink()
    download(reader)
    assert f"4 images in {tmp_path / 'data'}: complete" in capsys.readouterr().err.replace("\n", " ")
