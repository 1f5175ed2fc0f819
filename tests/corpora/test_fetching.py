"""Fetching corpora from a server on the loopback interface."""

import dataclasses
import hashlib
import http.server
import itertools
import os
import subprocess
import threading
import time
import warnings
import zipfile

import pytest
from filelock import FileLock
from small import one_line, write_silence

from ser_utils import SerError, cli, corpora
from ser_utils.corpora import resuming


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder as a good server does (ranges, ETags), or misbehaves as `script` says, a request after the other."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.script, self.asked = folder, [], []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        step = self.server.script.pop(0) if self.server.script else None
        file = self.server.folder / self.path.split("?")[0].lstrip("/")
        if isinstance(step, int):
            return self.answer(step, {"Retry-After": "0"}, b"busy")
        if isinstance(step, str) and step.startswith("http"):
            return self.answer(302, {"Location": step}, b"")
        if step == "page":
            return self.answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Too many requests</html>")
        if not file.is_file():
            return self.answer(404, {}, b"")
        content = file.read_bytes()
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start and self.headers.get("If-Range", etag) != etag:
            start = 0
        if start >= len(content):
            return self.answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
        headers = {"ETag": etag, "Content-Type": "application/zip"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        sent = content[start:]
        if step is not None:  # ("break off" | "stall", after so many bytes)
            self.answer(206 if start else 200, headers, sent[: step[1]], length=len(sent))
            if step[0] == "stall":
                self.wfile.flush()
                time.sleep(1.0)
            return self.connection.close()
        self.answer(206 if start else 200, headers, sent)

    def answer(self, status, headers, content, length=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(length or len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on the loopback interface, the only host that downloads may go to."""
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("ser_utils.corpora.cards.HOSTS", ("127.0.0.1",))
    monkeypatch.setattr("ser_utils.corpora.resuming.BACKOFF", 0.01)
    monkeypatch.setattr("ser_utils.corpora.resuming.PATIENCE", 0.4)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def offer(server, monkeypatch, tmp_path):
    """Put a zip of EMO-DB's layout on the server and point the card to it."""
    folder, url = server.folder, server.url
    recordings = {
        f"emodb_2.0/wav/{name}.wav": write_silence(tmp_path / "source" / f"{name}.wav").read_bytes()
        for name in ("03a01Fa", "08a02Wb", "16b10Tc")
    }

    def offer(
        extra=None, *, cut=None, digest="right", n_clips=3, mirrors=("",), copies_differ=False, names_sha256=""
    ):
        archive = folder / "emodb.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for name, content in {**recordings, "__MACOSX/emodb_2.0/._x.wav": b"x", **(extra or {})}.items():
                file.writestr(name, content)
        if cut:
            archive.write_bytes(archive.read_bytes()[:cut])
        right = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
        known_hash = {"right": right, "wrong": "md5:" + "0" * 32, None: None}[digest]
        urls = [f"{url}/{mirror}emodb.zip?download=1" for mirror in mirrors]
        archives = (corpora.Archive(tuple(urls), known_hash, copies_differ=copies_differ),)
        entry = dataclasses.replace(
            corpora.CORPORA["emodb"], n_clips=n_clips, names_sha256=names_sha256, archives=archives
        )
        monkeypatch.setitem(corpora.CORPORA, "emodb", entry)
        return archive.read_bytes()

    return offer


def left_behind(folder):
    return sorted(path.name for path in folder.parent.iterdir() if path.name.startswith((folder.name, ".")))


def test_a_corpus_is_fetched_unpacked_and_ready_to_load(offer, tmp_path):
    offer()
    folder = corpora.fetch("emodb", tmp_path / "raw" / "emodb", progress=False)
    assert len(corpora.load("emodb", folder)) == 3
    assert (folder / "wav" / "03a01Fa.wav").is_file()  # the top folder is taken off
    assert left_behind(folder) == ["emodb"]  # neither archive nor temporary files


def test_what_is_there_already_is_neither_fetched_again_nor_touched(offer, tmp_path):
    offer()
    folder = corpora.fetch("emodb", tmp_path / "emodb", progress=False)
    (tmp_path / "server" / "emodb.zip").unlink()
    (folder / "notes.txt").write_text("mine")
    assert corpora.fetch("emodb", folder, progress=False) == folder
    (folder / "wav" / "03a01Fa.wav").unlink()
    with pytest.raises(SerError, match="holds 2 recordings where EMO-DB has 3"):
        corpora.fetch("emodb", folder, progress=False)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(offer, tmp_path):
    offer(digest="wrong")
    with pytest.raises(SerError, match="without the published checksum") as caught:
        corpora.fetch("emodb", tmp_path / "emodb", progress=False)
    one_line(caught)
    assert not (tmp_path / "emodb").exists()
    assert not list(tmp_path.glob(".emodb-download/*.zip*"))


def test_an_unknown_checksum_is_admitted(offer, tmp_path):
    offer(digest=None)
    with pytest.warns(UserWarning, match="no checksum is published for emodb.zip"):
        corpora.fetch("emodb", tmp_path / "emodb", progress=False)


def test_a_truncated_archive_is_removed_so_that_the_next_attempt_starts_afresh(offer, tmp_path):
    offer(cut=2000, digest=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SerError, match="not a whole zip archive") as caught:
            corpora.fetch("emodb", tmp_path / "emodb", progress=False)
        one_line(caught)
        assert not (tmp_path / "emodb").exists()
        offer(digest=None)
        assert corpora.fetch("emodb", tmp_path / "emodb", progress=False).is_dir()


@pytest.mark.parametrize("name", ["../evil.wav", "emodb_2.0/../../evil.wav", "/evil.wav", "C:/evil.wav", "a\\..\\b.wav"])
def test_an_archive_that_reaches_outside_its_folder_is_refused(offer, tmp_path, name):
    offer({name: b"evil"})
    with pytest.raises(SerError, match="unsafe entry") as caught:
        corpora.fetch("emodb", tmp_path / "raw" / "emodb", progress=False)
    one_line(caught)
    assert not list(tmp_path.rglob("*evil*")) and not (tmp_path / "raw" / "emodb").exists()


def test_an_archive_with_a_symbolic_link_is_refused(offer, tmp_path):
    offer()
    link = zipfile.ZipInfo("emodb_2.0/wav/link.wav")
    link.external_attr = 0o120777 << 16
    offer({link: "/etc/passwd"})
    with pytest.raises(SerError, match="unsafe entry 'emodb_2.0/wav/link.wav'"):
        corpora.fetch("emodb", tmp_path / "emodb", progress=False)


def test_an_archive_that_swells_is_refused(offer, tmp_path, monkeypatch):
    offer({"emodb_2.0/wav/big.wav": b"0" * 100_000})
    monkeypatch.setattr("ser_utils.corpora.fetching.LARGEST_UNPACKED", 50_000)
    with pytest.raises(SerError, match="would unpack to more"):
        corpora.fetch("emodb", tmp_path / "emodb", progress=False)


def test_an_incomplete_corpus_is_refused(offer, tmp_path):
    offer(n_clips=4)
    with pytest.raises(SerError, match="there are 3 recordings instead of 4") as caught:
        corpora.fetch("emodb", tmp_path / "emodb", progress=False)
    one_line(caught)
    assert not (tmp_path / "emodb").exists() and not list(tmp_path.glob(".emodb-download/*.zip"))


# --- servers as they are -----------------------------------------------------------------------------------------


def fetched(tmp_path):
    return corpora.fetch("emodb", tmp_path / "emodb", progress=False)


LONG = {"emodb_2.0/notes.txt": os.urandom(500_000)}  # several blocks of a download


@pytest.mark.parametrize("step", [("break off", 200_000), ("stall", 200_000)], ids=["breaks off", "stalls"])
def test_a_download_that_ends_in_the_middle_goes_on_where_it_ended(offer, server, tmp_path, step):
    offer(LONG)
    server.script[:] = [step]
    assert len(corpora.load("emodb", fetched(tmp_path))) == 3
    first, second = (range_ for _, range_ in server.asked)
    assert first is None and 100_000 < int(second[len("bytes=") : -1]) <= 200_000


def test_a_second_command_goes_on_where_the_first_one_was_given_up(offer, server, tmp_path):
    whole = offer(LONG)
    server.script[:] = [("break off", 90_000)] * corpora.ATTEMPTS
    with pytest.raises(SerError, match="broke off 5 times.*run the command again to go on") as caught:
        fetched(tmp_path)
    one_line(caught)
    part = tmp_path / ".emodb-download" / "emodb.zip.part"
    have = part.stat().st_size
    assert have > 300_000 and part.read_bytes() == whole[:have] and not (tmp_path / "emodb").exists()
    fetched(tmp_path)
    assert server.asked[-1][1] == f"bytes={have}-" and left_behind(tmp_path / "emodb") == ["emodb"]


def test_half_of_an_older_version_is_not_continued_with_the_new_one(offer, server, tmp_path):
    offer(LONG)
    server.script[:] = [("break off", 90_000)] * corpora.ATTEMPTS
    with pytest.raises(SerError):
        fetched(tmp_path)
    offer(LONG | {"emodb_2.0/wav/03a01Na.wav": b"another version"})  # with its own checksum
    assert (fetched(tmp_path) / "wav" / "03a01Na.wav").read_bytes() == b"another version"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(offer, server, tmp_path, status):
    offer()
    server.script[:] = [status, status]
    fetched(tmp_path)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([404], "answered 404"),
        ([403], "answered 403"),
        ([429] * 9, "was busy 5 times"),
        ([500] * 9, "was busy 5 times"),
        (["page"], "a web page instead of the file"),
        (["http://example.org/emodb.zip"], "leads to http://example.org, which is not among the hosts"),
        (["https://127.0.0.1.example.org/x"], "leads to https://127.0.0.1.example.org"),
        ([("stall", 0)] * 9, "sent nothing for 0.4 s|broke off"),
    ],
    ids=str,
)
def test_a_server_that_does_not_give_the_file_is_one_line_and_nothing_is_left(offer, server, tmp_path, script, reason):
    offer()
    server.script[:] = script
    with pytest.raises(SerError, match=reason) as caught:
        fetched(tmp_path)
    one_line(caught)
    assert not (tmp_path / "emodb").exists()


def test_a_mirror_takes_over(offer, server, tmp_path):
    offer(mirrors=("gone/", ""))
    fetched(tmp_path)
    assert [path.split("?")[0] for path, _ in server.asked] == ["/gone/emodb.zip", "/emodb.zip"]


def test_another_copy_with_the_right_names_is_accepted_with_a_warning_and_wrong_names_never(offer, tmp_path):
    names = hashlib.sha256(b"03a01Fa\n08a02Wb\n16b10Tc").hexdigest()
    offer(digest="wrong", copies_differ=True, names_sha256=names)
    with pytest.warns(UserWarning, match="not byte for byte"):
        fetched(tmp_path)
    offer(digest="wrong", copies_differ=True, names_sha256="0" * 64)
    with pytest.warns(UserWarning), pytest.raises(SerError, match="their names are not those of the corpus"):
        corpora.fetch("emodb", tmp_path / "other", progress=False)
    assert not (tmp_path / "other").exists()


def test_only_listed_hosts_are_asked(offer, server, tmp_path, monkeypatch):
    offer()
    monkeypatch.setattr("ser_utils.corpora.cards.HOSTS", ("zenodo.org",))
    with pytest.raises(SerError, match="not among the hosts"):
        fetched(tmp_path)
    assert not server.asked


def test_every_address_of_every_card_is_listed_and_encrypted():
    for card in corpora.CORPORA.values():
        for url in itertools.chain.from_iterable(archive.urls for archive in card.archives):
            resuming.check_host(url)
            assert url.startswith("https://")


def test_licence_size_and_checksum_are_shown_before_a_byte_is_asked_for(offer, server, tmp_path, capsys):
    offer()
    server.script[:] = [404]
    assert cli.main(["fetch", "emodb", "--dir", str(tmp_path / "emodb")]) == 2
    said = capsys.readouterr().err
    card = corpora.CORPORA["emodb"]
    assert all(text in said for text in (card.licence, card.citation, card.archives[0].urls[0], card.archives[0].hash))
    assert "374 MB" in corpora.announcement("shemo")


def test_two_fetches_at_once_do_not_meet_in_one_file(offer, tmp_path):
    offer()
    (tmp_path / ".emodb-download").mkdir()
    with FileLock(tmp_path / ".emodb-download" / ".lock"), pytest.raises(SerError, match="Another `ser fetch`"):
        fetched(tmp_path)


# --- what the reader has already ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["the archive", "its folder", "unpacked"])
def test_what_the_reader_has_is_verified_and_copied(offer, server, tmp_path, form):
    content = offer()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "emodb.zip").write_bytes(content)
    if form == "unpacked":
        with zipfile.ZipFile(mine / "emodb.zip") as archive:
            archive.extractall(mine)
        (mine / "emodb.zip").unlink()
    before = sorted(mine.rglob("*"))
    source = [mine / "emodb.zip" if form == "the archive" else mine]
    folder = corpora.fetch("emodb", tmp_path / "emodb", source=source)
    assert len(corpora.load("emodb", folder)) == 3 and not server.asked
    assert sorted(mine.rglob("*")) == before


def test_a_wrong_archive_of_the_readers_is_refused_and_kept(offer, tmp_path):
    offer()
    mine = tmp_path / "emodb.zip"
    mine.write_bytes(b"PK no")
    other = tmp_path / "wav.zip"
    other.write_bytes(b"PK no")
    for source, reason in (
        ([mine], "does not have the published checksum"),
        ([other], "are called emodb.zip"),
        ([tmp_path / "none"], "no such file or folder"),
        ([tmp_path / "server" / ".."], "checksum"),
    ):
        with pytest.raises(SerError, match=reason) as caught:
            corpora.fetch("emodb", tmp_path / "new", source=source)
        one_line(caught)
        assert mine.read_bytes() == b"PK no" and not (tmp_path / "new").exists()


# --- places --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path):
    """Mount an empty file system of 64 kB with some option."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(option: str):
        command = ["mount", "-t", "tmpfs", "-o", f"size=64k,{option}", "tmpfs", str(place)]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small file system needs the rights for it")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True)


@pytest.mark.parametrize("size", [40_000, 200_000], ids=["while unpacking", "before downloading"])
def test_no_space_left_is_one_line_and_nothing_half_written_is_left(offer, mounted, size):
    tiny = mounted("rw")
    offer({"emodb_2.0/wav/03a01Na.wav": os.urandom(size)}, n_clips=4)
    with pytest.raises(SerError, match="could not be stored in .*: (No space left|0 MB are needed)") as caught:
        corpora.fetch("emodb", tiny / "emodb", progress=False)
    one_line(caught)
    assert not (tiny / "emodb").exists()
    assert {path.name for path in tiny.iterdir()} <= {".emodb-download"}


def test_a_read_only_place_is_one_line(offer, tmp_path, mounted):
    offer()
    if os.geteuid():
        place, reason = tmp_path / "locked", "Permission denied"
        place.mkdir(mode=0o500)
    else:  # who may write anywhere still cannot write there
        place, reason = mounted("ro"), "Read-only file system"
    with pytest.raises(SerError, match=f"could not be stored .*{reason}") as caught:
        corpora.fetch("emodb", place / "emodb", progress=False)
    one_line(caught)
    assert not list(place.iterdir())


def test_a_file_in_the_place_of_the_folder_is_one_line_and_is_left_alone(offer, tmp_path):
    offer()
    (tmp_path / "place").write_text("mine")
    with pytest.raises(SerError) as caught:
        corpora.fetch("emodb", tmp_path / "place" / "emodb", progress=False)
    one_line(caught)
    assert (tmp_path / "place").read_text() == "mine"


def test_no_network_and_a_file_not_found_give_one_line(offer, tmp_path, monkeypatch):
    offer()
    known = corpora.CORPORA["emodb"]
    url = known.archives[0].urls[0]
    for wrong, reason in (("http://127.0.0.1:9/emodb.zip", "cannot be reached"), (url.replace("emodb.zip", "no.zip"), "404")):
        entry = dataclasses.replace(known, archives=(corpora.Archive((wrong,), "md5:" + "0" * 32),))
        monkeypatch.setitem(corpora.CORPORA, "emodb", entry)
        with pytest.raises(SerError, match=f"could not be downloaded .*{reason}.*--from") as caught:
            corpora.fetch("emodb", tmp_path / "emodb", progress=False)
        one_line(caught)
        assert not (tmp_path / "emodb").exists()


def test_two_archives_and_a_plain_file_land_where_shemo_has_them(server, monkeypatch, tmp_path):
    content = write_silence(tmp_path / "source.wav").read_bytes()
    for gender, name, top in (("female", "F01A01.wav", "female/"), ("male", "M01N01.wav", "")):
        with zipfile.ZipFile(server.folder / f"{gender}.zip", "w") as file:
            file.writestr(top + name, content)
    (server.folder / "shemo.json").write_text("{}")
    archives = (
        corpora.Archive((f"{server.url}/female.zip?dl=1",), None, "female"),
        corpora.Archive((f"{server.url}/male.zip?dl=1",), None, "male"),
        corpora.Archive((f"{server.url}/shemo.json",)),
        corpora.Archive((f"{server.url}/modified_shemo.json",)),
    )
    entry = dataclasses.replace(corpora.CORPORA["shemo"], n_clips=2, names_sha256="", archives=archives)
    monkeypatch.setitem(corpora.CORPORA, "shemo", entry)
    with pytest.warns(UserWarning) as warned:
        got = corpora.fetch("shemo", tmp_path / "shemo", progress=False)
    assert any("comes without modified_shemo.json: 127.0.0.1 answered 404" in str(w.message) for w in warned)
    found = sorted(str(path.relative_to(got)) for path in got.rglob("*.*"))
    assert found == ["female/F01A01.wav", "male/M01N01.wav", "shemo.json"]


def test_the_demo_and_a_csv_cannot_be_fetched():
    with pytest.raises(SerError, match="part of the repository.*shemo, emodb, ravdess, nemo"):
        corpora.fetch("demo")
    with pytest.raises(SerError, match="your own list"):
        corpora.fetch("calls.csv")


# --- the four corpora, whole ---------------------------------------------------------------------------------------


def layout(name, shared_data):
    """Archives of a corpus as its authors pack it: archive name → names of its members (contents where they matter)."""
    if name == "shemo":
        files = [line.split(",")[0] for line in (shared_data / "shemo_metadata" / "audio_files.csv").read_text().split()[1:]]
        return {f"{gender}.zip": [file for file in files if file.startswith(gender)] for gender in ("female", "male")}
    if name == "ravdess":
        emotions = [(emotion, strength) for emotion in range(1, 9) for strength in (1, 2) if (emotion, strength) != (1, 2)]
        return {
            "Audio_Speech_Actors_01-24.zip": [
                f"Actor_{actor:02}/03-01-{emotion:02}-{strength:02}-{sentence:02}-{again:02}-{actor:02}.wav"
                for (emotion, strength), sentence, again, actor in itertools.product(emotions, (1, 2), (1, 2), range(1, 25))
            ]
        }
    if name == "emodb":
        speakers, texts = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16"), ("a01", "a02", "a04", "a05", "b01", "b02")
        names = ["".join(parts) for parts in itertools.product(speakers, texts, "WLEAFTN", "ab")]
        return {"emodb_2.0.zip": [f"emodb_2.0/wav/{name}.wav" for name in names[:535]]}
    top = corpora.CORPORA["nemo"].archives[0].name.removesuffix(".zip")
    samples = [f"nEMO-{top}/samples/{path.stem}.wav" for path in (shared_data / "nemo" / "samples").iterdir()]
    return {f"{top}.zip": [*samples, f"nEMO-{top}/data.tsv"]}


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    ["shemo", "emodb", pytest.param("ravdess", marks=pytest.mark.slow), pytest.param("nemo", marks=pytest.mark.slow)],
)
def test_each_corpus_comes_whole_from_a_server_with_its_own_layout_and_names(server, tmp_path, monkeypatch, shared_data, name):
    sound = write_silence(tmp_path / "sound.wav", seconds=0.05).read_bytes()
    table = (shared_data / "nemo" / "data.tsv").read_bytes()
    for archive, members in layout(name, shared_data).items():
        with zipfile.ZipFile(server.folder / archive, "w") as file:
            for member in members:
                file.writestr(member, sound if member.endswith(".wav") else table)
    card = corpora.CORPORA[name]
    archives = []
    for archive in card.archives:
        if archive.name.endswith(".json"):
            (server.folder / archive.name).write_bytes((shared_data / "shemo_metadata" / archive.name).read_bytes())
        right = "md5:" + hashlib.md5((server.folder / archive.name).read_bytes()).hexdigest()
        archives.append(dataclasses.replace(archive, urls=(f"{server.url}/{archive.name}",), hash=archive.hash and right))
    monkeypatch.setitem(corpora.CORPORA, name, dataclasses.replace(card, archives=tuple(archives)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where no checksum is published
        assert cli.main(["fetch", name, "--dir", str(tmp_path / name)]) == 0
    clips = corpora.load(name, tmp_path / name)
    assert len(clips) == card.n_clips and left_behind(tmp_path / name) == [name]
    if name == "shemo":
        sets = corpora.label_sets(name, tmp_path / name)
        order = ["anger", "neutral", "sadness", "surprise", "happiness", "fear"]
        assert {column: [int((sets[column] == emotion).sum()) for emotion in order] for column in sets} == {
            "filename": [1059, 1028, 449, 225, 201, 38],
            "shemo_json": [1042, 1160, 362, 201, 203, 32],
            "modified": [1042, 1160, 361, 202, 203, 32],
        }
        both = sets[["filename", "shemo_json"]].dropna()
        corrected = sets[["filename", "modified"]].dropna()
        assert len(both) == 2838 and (corrected["filename"] != corrected["modified"]).sum() == 163
        five, fear = corpora.scored(clips, "shemo")
        assert len(five) == 2962 and set(fear["emotion"]) == {"fear"}
