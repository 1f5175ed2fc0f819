"""From the internet to a folder: download a corpus, verify it, unpack it safely."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pooch
import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from tqdm.auto import tqdm
from urllib3.util import Retry

from ser_utils import SerError
from ser_utils.corpora import cards
from ser_utils.corpora.cards import CORPORA, Archive, Corpus, card, default_folder
from ser_utils.corpora.parsers import audio_files

#: No archive of these corpora unpacks to more; a bigger one is a mistake or an attack ("zip bomb").
LARGEST_UNPACKED = 8 * 1024**3
#: A server that is busy (408, 429, 5xx) or breaks off is asked again so often, after so many seconds, then twice as many, …
ATTEMPTS, BACKOFF = 5, 1.0
#: A server that sends nothing for so long has stalled [s].
PATIENCE = 30.0


class _Unavailable(Exception):
    """One address did not give the file, and why: the next one is tried."""


def announcement(name: str, folder: str | Path | None = None) -> str:
    """Say what `fetch` is about to download, in the lines that a person should see before.

    Parameters
    ----------
    name : str
        A name in `CORPORA`.
    folder : str or Path, optional
        Where it is to go.
    """
    known = card(name)
    lines = [
        f"{known.title}: {known.description}",
        f"  licence   {known.licence}",
        f"  citation  {known.citation}",
        f"  to        {folder or default_folder(name)}",
    ]
    for archive in known.archives:
        size = f"{archive.size / 1e6:.0f} MB" if archive.size else "size told by the server"
        lines.append(f"  from      {archive.urls[0]} ({size}; {archive.hash or 'no checksum published'})")
        lines += [f"            or {url}" for url in archive.urls[1:]]
    return "\n".join(lines)


def fetch(
    name: str, folder: str | Path | None = None, *, source: Sequence[str | Path] = (), progress: bool = True
) -> Path:
    """Download a corpus, verify it and unpack it.

    The folder appears when everything has been unpacked and its recordings are those of the corpus, or not at all. Downloads
    wait in `.<folder>-download` beside it, so that a second attempt goes on where the first one ended, and are removed at
    the end.

    Parameters
    ----------
    name : str
        A name in `CORPORA` that has archives.
    folder : str or Path, optional
        Where to put it; `data/raw/<name>` of the repository when left out. What is there already is left alone.
    source : sequence of str or Path
        What the reader has already, instead of downloading: the archives, a folder that holds them, or a folder of
        unpacked recordings. It is verified in the same way and copied.
    progress : bool
        Draw a progress bar.

    Returns
    -------
    Path
        The folder, ready for `corpora.load(name, folder)`.

    Raises
    ------
    SerError
        In one line, if the download, the checksum, the archive or the recordings are not as they should be.
    """
    known = card(name)
    if not known.archives:
        fetchable = ", ".join(key for key, corpus in CORPORA.items() if corpus.archives)
        reason = "is part of the repository" if known.name in CORPORA else "is your own list of recordings"
        raise SerError(f"Nothing to fetch for {known.name}: it {reason}. Fetchable are {fetchable}.")
    folder = Path(folder).expanduser() if folder is not None else default_folder(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        present = len(audio_files(folder)) if folder.is_dir() else 0
        if present >= known.n_clips:
            return folder
        raise SerError(
            f"{folder} exists and holds {present} recordings where {known.title} has {known.n_clips}: "
            f"move it away, or choose another folder with --dir."
        )
    downloads = folder.parent / f".{folder.name}-download"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with FileLock(downloads / ".lock", timeout=0):
            _assemble(known, folder, downloads, [Path(path).expanduser() for path in source], progress)
    except Timeout:
        raise SerError(
            f"Another `ser fetch` is working in {downloads}: wait for it, or choose another --dir."
        ) from None
    except OSError as error:  # no space left, a folder that cannot be written
        reason = error.strerror or str(error)
        raise SerError(
            f"{known.title} could not be stored in {folder.parent}: {reason}; nothing that was there was changed. "
            f"Make room, or choose another folder with --dir, and run the command again."
        ) from error
    shutil.rmtree(downloads)
    return folder


def _assemble(known: Corpus, folder: Path, downloads: Path, source: list[Path], progress: bool) -> None:
    """Put the corpus together beside its folder, verify it, and only then give it its name."""
    unpacked, files = _given(known, source) if source else (None, {})
    if not source:
        files = {
            archive: file for archive in known.archives if (file := _download(known, archive, downloads, progress))
        }
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        content = Path(temporary, "content")
        if unpacked:
            shutil.copytree(unpacked, content, ignore=shutil.ignore_patterns(".*", "__MACOSX"))
        for archive, file in files.items():
            if archive.name.endswith(".zip"):
                try:
                    _unpack(file, content / archive.folder)
                except zipfile.BadZipFile as error:
                    if not source:
                        file.unlink()  # or the next attempt would meet it again
                    kept = "give a whole one" if source else "it was removed, fetch again to download it anew"
                    raise SerError(f"{file.name} is not a whole zip archive ({error}): {kept}.") from error
            else:
                shutil.copy(file, content / archive.name)
        wrong = _difference(known, content)
        if wrong:
            for file in files.values() if not source else ():
                file.unlink()
            raise SerError(f"{known.title}: {wrong}. Nothing was kept; see {known.homepage} for a changed download.")
        if folder.exists():
            folder.rmdir()  # empty, as `fetch` has checked
        os.rename(content, folder)


def _difference(known: Corpus, folder: Path) -> str:
    """Say how the recordings in a folder differ from the corpus's; empty if they are its own."""
    names = sorted(path.stem for path in audio_files(folder)) if folder.is_dir() else []
    if len(names) < known.n_clips or (known.names_sha256 and len(names) > known.n_clips):
        return f"there are {len(names)} recordings instead of {known.n_clips}"
    if known.names_sha256 and hashlib.sha256("\n".join(names).encode()).hexdigest() != known.names_sha256:
        return f"there are {len(names)} recordings, but their names are not those of the corpus"
    return ""


def _given(known: Corpus, source: list[Path]) -> tuple[Path | None, dict[Archive, Path]]:
    """Find in what the reader has: a folder of unpacked recordings, or the archives."""
    missing = [str(path) for path in source if not path.exists()]
    if missing:
        raise SerError(f"--from {missing[0]}: there is no such file or folder.")
    names = {archive.name: archive for archive in known.archives}
    folders = [path for path in source if path.is_dir()]
    files = [path for path in source if path.is_file()]
    files += [folder / name for folder in folders for name in names if (folder / name).is_file()]
    strangers = [path.name for path in files if path.name not in names]
    if strangers:
        raise SerError(f"--from {strangers[0]}: the files of {known.title} are called {', '.join(names)}.")
    if not any(path.suffix == ".zip" for path in files) and len(folders) == 1 and audio_files(folders[0]):
        return folders[0], {}
    found = {names[path.name]: path for path in files}
    lacking = [name for name, archive in names.items() if archive not in found and not archive.optional]
    if lacking:
        raise SerError(
            f"--from lacks {', '.join(lacking)} of {known.title}: give all archives, or the folder they are in."
        )
    for archive, file in found.items():
        _check_hash(known, archive, file)
    return None, found


# --- downloading -------------------------------------------------------------------------------------------------


def _download(known: Corpus, archive: Archive, folder: Path, progress: bool) -> Path | None:
    """Download one archive through pooch, or take it as it waits from an earlier attempt; None if it may be missing and is."""
    pooch.get_logger().setLevel("WARNING")
    if archive.hash is None and archive.name.endswith(".zip"):
        warnings.warn(
            f"{known.title}: no checksum is published for {archive.name}; its recordings are counted"
            f"{' and their names compared' if known.names_sha256 else ''} instead.",
            stacklevel=5,
        )
    by_hand = f"download it by hand from {known.homepage} and give it with --from"
    reasons = []
    for url in archive.urls:
        try:
            file = pooch.retrieve(
                url,
                known_hash=None if archive.copies_differ else archive.hash,
                fname=archive.name,
                path=folder,
                downloader=_Resuming(archive.name, progress),
            )
            if archive.copies_differ:
                _check_hash(known, archive, Path(file))
            return Path(file)
        except _Unavailable as error:
            reasons.append(f"{urlsplit(url).hostname} {error}")
        except ValueError:  # pooch's word for a wrong checksum
            reasons.append(f"{urlsplit(url).hostname} gave a file without the published checksum ({archive.hash})")
    if archive.optional:
        warnings.warn(f"{known.title} comes without {archive.name}: {'; '.join(reasons)}.", stacklevel=5)
        return None
    raise SerError(
        f"{known.title}: {archive.name} could not be downloaded ({'; '.join(reasons)}): what has arrived is kept, run the "
        f"command again to go on, or {by_hand}."
    )


def _check_hash(known: Corpus, archive: Archive, file: Path) -> None:
    """Compare a file with its published checksum; where other copies are about, only warn."""
    if archive.hash is None:
        return
    algorithm, _, expected = archive.hash.partition(":")
    if pooch.file_hash(str(file), alg=algorithm) == expected:
        return
    if not archive.copies_differ:
        raise SerError(
            f"{known.title}: {file.name} does not have the published checksum ({archive.hash}): get another copy."
        )
    warnings.warn(
        f"{known.title}: {file.name} is not byte for byte the authors' ({archive.hash}); its recordings decide.",
        stacklevel=6,
    )


class _Listed(requests.Session):
    """A session that follows redirections to listed hosts only."""

    def get_redirect_target(self, response):
        target = super().get_redirect_target(response)
        if target is not None:
            _check_host(urljoin(response.url, target))
        return target


def _check_host(url: str) -> None:
    host, scheme = urlsplit(url).hostname or "", urlsplit(url).scheme
    listed = any(host == name or (name.startswith(".") and host.endswith(name)) for name in cards.HOSTS)
    if not listed or (scheme != "https" and host != "127.0.0.1"):
        raise _Unavailable(f"leads to {scheme}://{host}, which is not among the hosts of this program")


class _Resuming:
    """A downloader for pooch that goes on where an earlier attempt ended.

    What arrives is appended to `<name>.part`; the file's version (ETag) stands in `<name>.part.version`, and a server that
    has another version by now sends it from the start.
    """

    def __init__(self, name: str, progress: bool):
        self.name, self.progress = name, progress

    def __call__(self, url: str, output_file: str, caller) -> None:
        """Download `url` to `output_file`; `caller` is pooch's, and not needed."""
        _check_host(url)
        part = Path(output_file).parent / f"{self.name}.part"
        session = _Listed()
        busy = Retry(
            total=ATTEMPTS - 1,
            backoff_factor=BACKOFF,
            status_forcelist=[408, 429, 500, 502, 503, 504],
            allowed_methods={"GET"},
        )
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=busy))
        for attempt in range(ATTEMPTS):
            try:
                self._go_on(session, url, part)
                break
            except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
                broken = error  # in mid-file: ask for the rest
            except requests.exceptions.ConnectionError as error:
                if attempt + 1 == ATTEMPTS or not part.exists():
                    raise _Unavailable(_reason(error)) from error
                broken = error
            except requests.RequestException as error:
                raise _Unavailable(_reason(error)) from error
        else:
            raise _Unavailable(f"broke off {ATTEMPTS} times") from broken
        part.with_name(f"{part.name}.version").unlink(missing_ok=True)
        os.replace(part, output_file)

    def _go_on(self, session: requests.Session, url: str, part: Path) -> None:
        version = part.with_name(f"{part.name}.version")
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"}  # bytes are counted as they are stored
        if have:
            headers["Range"] = f"bytes={have}-"
            if version.exists():
                headers["If-Range"] = version.read_text(encoding="utf-8")
        with session.get(url, headers=headers, stream=True, timeout=PATIENCE) as answer:
            if answer.status_code == 416:  # nothing after what is here, or another file by now
                if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                    return
                part.unlink()
                raise requests.exceptions.ChunkedEncodingError("the file has changed on the server")
            answer.raise_for_status()
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise _Unavailable(
                    "answered with a web page instead of the file (as Dropbox does when it is asked too often)"
                )
            if answer.status_code != 206:
                have = 0
            if "ETag" in answer.headers and not answer.headers["ETag"].startswith("W/"):
                version.write_text(answer.headers["ETag"], encoding="utf-8")
            length = int(answer.headers.get("Content-Length", 0))
            free = shutil.disk_usage(part.parent).free
            if length > free:
                raise OSError(28, f"{length / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")
            bar = tqdm(
                desc=part.stem,
                total=have + length or None,
                initial=have,
                unit="B",
                unit_scale=True,
                disable=not self.progress,
            )
            with bar, open(part, "ab" if have else "wb") as file:
                for block in answer.iter_content(1 << 16):
                    file.write(block)
                    bar.update(len(block))


def _reason(error: requests.RequestException) -> str:
    """Say in a few words why a request failed."""
    if getattr(error, "response", None) is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.RetryError):
        return f"was busy {ATTEMPTS} times"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"sent nothing for {PATIENCE:g} s"
    return f"cannot be reached ({type(error).__name__})"


# --- unpacking ---------------------------------------------------------------------------------------------------


def _unpack(file: Path, folder: Path) -> None:
    """Unpack a zip file into a folder, refusing entries that would land elsewhere.

    A single top folder (`nEMO-<commit>/`, or `female/` of `female.zip`) is taken off.

    Raises
    ------
    SerError
        If an entry is unsafe, or the whole is too large.
    zipfile.BadZipFile
        If the archive is damaged or is none.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            for member in members:
                parts = Path(member.filename).parts
                outside = not parts or member.filename.startswith("/") or ".." in parts or ":" in parts[0]
                if outside or "\\" in member.filename or stat.S_ISLNK(member.external_attr >> 16):
                    raise SerError(f"{file.name} holds the unsafe entry '{member.filename}': nothing was unpacked.")
            hidden = (".", "__MACOSX")
            members = [m for m in members if not any(part.startswith(hidden) for part in Path(m.filename).parts)]
            if sum(member.file_size for member in members) > LARGEST_UNPACKED:
                raise SerError(f"{file.name} would unpack to more than {LARGEST_UNPACKED >> 30} GiB: refused.")
            tops = {Path(member.filename).parts[0] for member in members}
            strip = len(tops) == 1 and all(len(Path(member.filename).parts) > 1 for member in members)
            for member in members:
                target = folder.joinpath(*Path(member.filename).parts[strip:])
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile stops at the declared size and compares the checksum: what says it is small stays small.
                with archive.open(member) as content, open(target, "wb") as sink:
                    shutil.copyfileobj(content, sink, 1 << 20)
    except (EOFError, zlib.error, NotImplementedError, RuntimeError) as error:  # a damaged, odd or encrypted entry
        raise zipfile.BadZipFile(str(error)) from error
