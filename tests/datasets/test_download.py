"""Downloads: from a server on this machine, and from none."""

import functools
import http.server
import re
import threading

import chex
import pytest

from gconv_jax.datasets import Mnist, RotatedMnist, load_arrays
from tests.datasets import raw_files


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def server(tmp_path):
    """A server of the directory `served`; its attribute `asked` lists what was fetched."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.asked = []
        running.folder = folder
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def served_mnist(server, monkeypatch):
    source = raw_files.write_mnist(server.folder, url=server.url)
    monkeypatch.setattr(Mnist, "_mnist", source)
    return server


def _is_tiny_mnist(data):
    for split, (images, _) in raw_files.tiny_mnist().items():
        chex.assert_trees_all_equal(data[split]["image"], images)


def test_files_that_are_not_on_disk_are_downloaded(served_mnist, tmp_path, capfd):
    _is_tiny_mnist(load_arrays("mnist", data_dir=tmp_path / "data"))
    assert len(served_mnist.asked) == 4
    assert capfd.readouterr() == ("", "")


def test_only_files_that_are_not_on_disk_are_downloaded(served_mnist, tmp_path):
    folder = tmp_path / "raw"
    raw_files.write_mnist(folder)
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    _is_tiny_mnist(load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=folder))
    assert served_mnist.asked == ["/train-labels-idx1-ubyte.gz"]


def test_the_archive_is_downloaded(server, tmp_path, monkeypatch):
    source = raw_files.write_larochelle(server.folder, url=server.url)
    monkeypatch.setattr(RotatedMnist, "_larochelle", source)
    data = load_arrays("rotated_mnist/larochelle2007", data_dir=tmp_path / "data")
    chex.assert_trees_all_equal(data["test"]["image"], raw_files.tiny_amat()["test"][0])


def test_a_damaged_download_is_not_kept(served_mnist, tmp_path):
    path = served_mnist.folder / "train-labels-idx1-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    message = (
        f"md5 {raw_files.md5(content[:-1])} found, {raw_files.md5(content)} expected; the copy was "
        f"removed; run again, or fetch {served_mnist.url}/{path.name} by other means"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_arrays("mnist", data_dir=tmp_path / "data")
    kept = [p.name for p in (tmp_path / "data" / "downloads").rglob("*.gz*") if p.is_file()]
    assert len(kept) == 6 and not any("train-labels" in name for name in kept)  # 3, with .INFO
    # Nothing has to be removed by hand: as soon as the server is right again, so is the data set.
    path.write_bytes(content)
    _is_tiny_mnist(load_arrays("mnist", data_dir=tmp_path / "data"))
    assert served_mnist.asked.count(f"/{path.name}") == 2
    assert len(served_mnist.asked) == 5  # the other three were kept


def test_a_server_without_the_file(served_mnist, tmp_path):
    # All others are on disk: TFDS does not wait for other downloads when one fails, and their
    # threads would go on asking a server that is gone.
    folder = tmp_path / "raw"
    raw_files.write_mnist(folder)
    for directory in (folder, served_mnist.folder):
        (directory / "test-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=folder)
    assert "could not be downloaded (DownloadError: Failed to get url" in str(caught.value)
    assert "HTTP code: 404" in str(caught.value)


def test_no_server(tiny, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=empty)
    message = str(caught.value)
    assert "and could not be downloaded (ConnectionError: " in message
    assert f"{raw_files.NOWHERE}/train-images-idx3-ubyte.gz" in message
    assert "load_arrays(..., raw_dir=DIR)" in message
    assert caught.value.__cause__ is not None


def test_download_false_asks_nobody(served_mnist, tmp_path):
    with pytest.raises(FileNotFoundError, match="`download` is False"):
        load_arrays("mnist", data_dir=tmp_path / "data", download=False)
    assert not served_mnist.asked
