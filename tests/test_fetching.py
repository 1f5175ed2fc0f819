"""Fetching corpora from a server on the loopback interface."""

import dataclasses
import functools
import hashlib
import http.server
import threading
import warnings
import zipfile

import pytest
from test_corpora import one_line, write_silence

from ser_utils import SerError, corpora, fetching


@pytest.fixture
def serve(tmp_path):
    """Serve a folder on the loopback interface; return (folder, URL)."""
    folder = tmp_path / "server"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def offer(serve, monkeypatch, tmp_path):
    """Put a zip of EMO-DB's layout on the server and point the registry to it."""
    folder, url = serve
    recordings = {
        f"emodb_2.0/wav/{name}.wav": write_silence(tmp_path / "source" / f"{name}.wav").read_bytes()
        for name in ("03a01Fa", "08a02Wb", "16b10Tc")
    }

    def offer(extra=None, *, cut=None, digest="right", n_clips=3):
        archive = folder / "emodb.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for name, content in {**recordings, "__MACOSX/emodb_2.0/._x.wav": b"x", **(extra or {})}.items():
                file.writestr(name, content)
        if cut:
            archive.write_bytes(archive.read_bytes()[:cut])
        right = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
        known_hash = {"right": right, "wrong": "md5:" + "0" * 32, None: None}[digest]
        entry = dataclasses.replace(
            corpora.CORPORA["emodb"],
            n_clips=n_clips,
            archives=(corpora.Archive(f"{url}/emodb.zip?download=1", known_hash),),
        )
        monkeypatch.setitem(corpora.CORPORA, "emodb", entry)

    return offer


def left_behind(folder):
    return sorted(path.name for path in folder.parent.iterdir() if path.name.startswith((folder.name, ".")))


def test_a_corpus_is_fetched_unpacked_and_ready_to_load(offer, tmp_path):
    offer()
    folder = fetching.fetch("emodb", tmp_path / "raw" / "emodb", progress=False)
    assert len(corpora.load("emodb", folder)) == 3
    assert (folder / "wav" / "03a01Fa.wav").is_file()  # the top folder is taken off
    assert left_behind(folder) == ["emodb"]  # neither archive nor temporary files


def test_what_is_there_already_is_neither_fetched_again_nor_touched(offer, tmp_path):
    offer()
    folder = fetching.fetch("emodb", tmp_path / "emodb", progress=False)
    (tmp_path / "server" / "emodb.zip").unlink()
    (folder / "notes.txt").write_text("mine")
    assert fetching.fetch("emodb", folder, progress=False) == folder
    (folder / "wav" / "03a01Fa.wav").unlink()
    with pytest.raises(SerError, match="holds 2 recordings where EMO-DB has 3"):
        fetching.fetch("emodb", folder, progress=False)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(offer, tmp_path):
    offer(digest="wrong")
    with pytest.raises(SerError, match="checksum") as caught:
        fetching.fetch("emodb", tmp_path / "emodb", progress=False)
    one_line(caught)
    assert not (tmp_path / "emodb").exists()
    assert not list(tmp_path.glob(".emodb-download/*"))


def test_an_unknown_checksum_is_admitted(offer, tmp_path):
    offer(digest=None)
    with pytest.warns(UserWarning, match="no checksum is known for emodb.zip"):
        fetching.fetch("emodb", tmp_path / "emodb", progress=False)


def test_a_truncated_archive_is_removed_so_that_the_next_attempt_starts_afresh(offer, tmp_path):
    offer(cut=2000, digest=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SerError, match="not a whole zip archive") as caught:
            fetching.fetch("emodb", tmp_path / "emodb", progress=False)
        one_line(caught)
        assert not (tmp_path / "emodb").exists()
        offer(digest=None)
        assert fetching.fetch("emodb", tmp_path / "emodb", progress=False).is_dir()


@pytest.mark.parametrize("name", ["../evil.wav", "emodb_2.0/../../evil.wav", "/evil.wav", "C:/evil.wav", "a\\..\\b.wav"])
def test_an_archive_that_reaches_outside_its_folder_is_refused(offer, tmp_path, name):
    offer({name: b"evil"})
    with pytest.raises(SerError, match="unsafe entry") as caught:
        fetching.fetch("emodb", tmp_path / "raw" / "emodb", progress=False)
    one_line(caught)
    assert not list(tmp_path.rglob("*evil*")) and not (tmp_path / "raw" / "emodb").exists()


def test_an_archive_with_a_symbolic_link_is_refused(offer, tmp_path):
    offer()
    link = zipfile.ZipInfo("emodb_2.0/wav/link.wav")
    link.external_attr = 0o120777 << 16
    offer({link: "/etc/passwd"})
    with pytest.raises(SerError, match="unsafe entry 'emodb_2.0/wav/link.wav'"):
        fetching.fetch("emodb", tmp_path / "emodb", progress=False)


def test_an_archive_that_swells_is_refused(offer, tmp_path, monkeypatch):
    offer({"emodb_2.0/wav/big.wav": b"0" * 100_000})
    monkeypatch.setattr(fetching, "LARGEST_UNPACKED", 50_000)
    with pytest.raises(SerError, match="would unpack to more"):
        fetching.fetch("emodb", tmp_path / "emodb", progress=False)


def test_an_incomplete_corpus_is_refused(offer, tmp_path):
    offer(n_clips=4)
    with pytest.raises(SerError, match="holds 3 recordings instead of 4"):
        fetching.fetch("emodb", tmp_path / "emodb", progress=False)
    assert not (tmp_path / "emodb").exists()


def test_no_network_and_a_file_not_found_give_one_line(offer, tmp_path, monkeypatch):
    offer()
    known = corpora.CORPORA["emodb"]
    for url in ("http://127.0.0.1:9/emodb.zip", known.archives[0].url.replace("emodb.zip", "gone.zip")):
        entry = dataclasses.replace(known, archives=(corpora.Archive(url, "md5:" + "0" * 32),))
        monkeypatch.setitem(corpora.CORPORA, "emodb", entry)
        with pytest.raises(SerError, match="could not be downloaded .*--data") as caught:
            fetching.fetch("emodb", tmp_path / "emodb", progress=False)
        one_line(caught)
        assert not (tmp_path / "emodb").exists()


def test_two_archives_and_a_plain_file_land_where_shemo_has_them(serve, monkeypatch, tmp_path):
    folder, url = serve
    content = write_silence(tmp_path / "source.wav").read_bytes()
    for gender, name, top in (("female", "F01A01.wav", "female/"), ("male", "M01N01.wav", "")):
        with zipfile.ZipFile(folder / f"{gender}.zip", "w") as file:
            file.writestr(top + name, content)
    (folder / "shemo.json").write_text("{}")
    archives = (
        corpora.Archive(f"{url}/female.zip?dl=1", None, "female"),
        corpora.Archive(f"{url}/male.zip?dl=1", None, "male"),
        corpora.Archive(f"{url}/shemo.json"),
    )
    entry = dataclasses.replace(corpora.CORPORA["shemo"], n_clips=2, archives=archives)
    monkeypatch.setitem(corpora.CORPORA, "shemo", entry)
    with pytest.warns(UserWarning, match="no checksum"):
        got = fetching.fetch("shemo", tmp_path / "shemo", progress=False)
    found = sorted(str(path.relative_to(got)) for path in got.rglob("*.*"))
    assert found == ["female/F01A01.wav", "male/M01N01.wav", "shemo.json"]


def test_the_demo_and_a_csv_cannot_be_fetched():
    with pytest.raises(SerError, match="part of the repository.*shemo, emodb, ravdess, nemo"):
        fetching.fetch("demo")
    with pytest.raises(SerError, match="your own list"):
        fetching.fetch("calls.csv")
