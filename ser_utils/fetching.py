"""From the internet to a folder: download a corpus, verify it, unpack it safely."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

from ser_utils import SerError
from ser_utils.corpora import CORPORA, Archive, Corpus, default_folder, describe
from ser_utils.parsers import audio_files

#: No archive of these corpora unpacks to more; a bigger one is a mistake or an attack ("zip bomb").
LARGEST_UNPACKED = 8 * 1024**3


def fetch(name: str, folder: str | Path | None = None, *, progress: bool = True) -> Path:
    """Download a corpus, verify it and unpack it.

    The folder appears when everything has been unpacked and counted, or not at all. Downloaded archives wait in
    `.<folder>-download` beside it, so that a second attempt does not start over, and are removed at the end.

    Parameters
    ----------
    name : str
        A name in `CORPORA` that has archives.
    folder : str or Path, optional
        Where to put it; `data/raw/<name>` of the repository when left out. What is there already is left alone.
    progress : bool
        Draw a progress bar.

    Returns
    -------
    Path
        The folder, ready for `load(name, folder)`.

    Raises
    ------
    SerError
        In one line, if the download, the checksum, the archive or the number of recordings is not as it should be.
    """
    known = describe(name)
    if not known.archives:
        fetchable = ", ".join(key for key, corpus in CORPORA.items() if corpus.archives)
        reason = "is part of the repository" if known.name in CORPORA else "is your own list of recordings"
        raise SerError(f"Nothing to fetch for {known.name}: it {reason}. Fetchable are {fetchable}.")
    folder = Path(folder) if folder is not None else default_folder(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        present = len(audio_files(folder)) if folder.is_dir() else 0
        if present >= known.n_clips:
            return folder
        raise SerError(
            f"{folder} exists and holds {present} recordings where {known.title} has {known.n_clips}: "
            f"move it away, or choose another folder with --dir."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    downloads = folder.parent / f".{folder.name}-download"
    files = [_download(known, archive, downloads, progress) for archive in known.archives]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        content = Path(temporary, "content")
        for archive, file in zip(known.archives, files, strict=True):
            if file.suffix == ".zip":
                _unpack(file, content / archive.folder)
            else:
                shutil.copy(file, content / archive.folder)
        present = len(audio_files(content))
        if present < known.n_clips:
            raise SerError(
                f"{known.title} as downloaded holds {present} recordings instead of {known.n_clips}: nothing was "
                f"kept. See {known.homepage} for a changed download."
            )
        if folder.exists():
            folder.rmdir()  # empty, as checked above
        os.rename(content, folder)
    shutil.rmtree(downloads)
    return folder


def _download(known: Corpus, archive: Archive, folder: Path, progress: bool) -> Path:
    """Download one archive through pooch, or take it as it waits from an earlier attempt."""
    import pooch
    import requests

    name = archive.url.split("?")[0].rsplit("/", 1)[-1]
    by_hand = f"download it by hand from {known.homepage} and pass its unpacked folder with --data"
    if archive.hash is None:
        warnings.warn(
            f"{known.title}: no checksum is known for {name}; only the number of recordings will be checked.",
            stacklevel=3,
        )
    pooch.get_logger().setLevel("WARNING")
    try:
        file = pooch.retrieve(
            archive.url,
            known_hash=archive.hash,
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60),
        )
    except requests.RequestException as error:
        raise SerError(
            f"{known.title}: {archive.url} could not be downloaded ({type(error).__name__}): check the connection "
            f"and try again, or {by_hand}."
        ) from error
    except OSError as error:
        raise SerError(f"{known.title}: {name} could not be stored in {folder}: {error}.") from error
    except ValueError as error:  # pooch's word for a wrong checksum
        raise SerError(
            f"{known.title}: {name} does not have the checksum its publisher gives ({archive.hash}): nothing was "
            f"kept. Try again, or {by_hand}."
        ) from error
    return Path(file)


def _unpack(file: Path, folder: Path) -> None:
    """Unpack a zip file into a folder, refusing entries that would land elsewhere.

    A single top folder (`nEMO-<commit>/`, or `female/` of `female.zip`) is taken off.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            for member in members:
                parts = Path(member.filename).parts
                outside = member.filename.startswith("/") or ".." in parts or ":" in parts[0]
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
                with archive.open(member) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        file.unlink()
        raise SerError(
            f"{file.name} is not a whole zip archive ({error}): it was removed, fetch again to download it anew."
        ) from error
