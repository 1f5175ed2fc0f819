"""From the internet to a folder: download a corpus, verify it, unpack it safely."""

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
from urllib.parse import urlsplit

import pooch
from filelock import FileLock, Timeout

from ser_utils import SerError
from ser_utils.corpora.cards import CORPORA, Archive, Corpus, card, default_folder
from ser_utils.corpora.parsers import audio_files
from ser_utils.corpora.resuming import Resuming, Unavailable

#: No archive of these corpora unpacks to more; a bigger one is a mistake or an attack ("zip bomb").
LARGEST_UNPACKED = 8 * 1024**3


def fetch(
    name: str, folder: str | Path | None = None, *, source: Sequence[str | Path] = (), progress: bool = True
) -> Path:
    """Download a corpus, verify it and unpack it.

    The folder appears whole or not at all. Downloads are kept in `.<folder>-download` beside it until then, so that a
    second attempt resumes them.

    Parameters
    ----------
    name : str
        A name in `CORPORA` that has archives.
    folder : str or Path, optional
        `data/raw/<name>` of the repository by default. A corpus that is there already is left alone.
    source : sequence of str or Path
        Used instead of downloading, verified and copied: the archives, a folder of them, or one of unpacked recordings.

    Returns
    -------
    Path
        The folder, ready for `corpora.load(name, folder)`.

    Raises
    ------
    SerError
        If the download, the checksum, the archive or the recordings are not as they should be.
    """
    known = card(name)
    if not known.archives:
        fetchable = ", ".join(key for key, corpus in CORPORA.items() if corpus.archives)
        reason = "is your own list of recordings"
        if known.name in CORPORA:
            by_hand = f"is downloaded by hand from {known.homepage}, and used with --data DIR"
            reason = "is part of the repository" if known.synthetic else by_hand
        raise SerError(f"Nothing to fetch for {known.name}: it {reason}. Fetchable are {fetchable}.")
    folder = Path(folder).expanduser() if folder is not None else default_folder(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        present = len(audio_files(folder)) if folder.is_dir() else 0
        if present >= known.n_clips:
            return folder
        held = f"{folder} exists and holds {present} recordings where {known.title} has {known.n_clips}"
        raise SerError(f"{held}: move it away, or choose another folder with --dir.")
    downloads = folder.parent / f".{folder.name}-download"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with FileLock(downloads / ".lock", timeout=0):
            _assemble(known, folder, downloads, [Path(path).expanduser() for path in source], progress)
    except Timeout:
        raise SerError(f"Another `ser fetch` is working in {downloads}: wait, or choose another --dir.") from None
    except OSError as error:  # no space left, a folder that cannot be written
        failed = f"{known.title} could not be stored in {folder.parent}: {error.strerror or error}"
        advice = "Make room, or choose another folder with --dir, and run the command again."
        raise SerError(f"{failed}; nothing that was there was changed. {advice}") from error
    shutil.rmtree(downloads)
    return folder


def _assemble(known: Corpus, folder: Path, downloads: Path, source: list[Path], progress: bool) -> None:
    """Put the corpus together beside its folder, verify it, and only then give it its name."""
    if source:
        unpacked, files = _given(known, source)
    else:
        found = {archive: _download(known, archive, downloads, progress) for archive in known.archives}
        unpacked, files = None, {archive: file for archive, file in found.items() if file}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        content = Path(temporary, "content")
        if unpacked:
            shutil.copytree(unpacked, content, ignore=shutil.ignore_patterns(".*", "__MACOSX"))
        for archive, file in files.items():
            if archive.optional:
                shutil.copy(file, content / archive.name)
                continue
            try:
                _unpack(file, content / archive.folder)
            except zipfile.BadZipFile as error:
                if not source:
                    file.unlink()  # or the next attempt would meet it again
                kept = "give a whole one" if source else "it was removed, fetch again to download it anew"
                raise SerError(f"{file.name} is not a whole zip archive ({error}): {kept}.") from error
        if wrong := _difference(known, content):
            for file in files.values() if not source else ():
                file.unlink()
            raise SerError(f"{known.title}: {wrong}. Nothing was kept; see {known.homepage} for a changed download.")
        if folder.exists():
            folder.rmdir()  # empty, as `fetch` has checked
        os.rename(content, folder)


def _difference(known: Corpus, folder: Path) -> str:
    """How the recordings in a folder differ from the corpus's; empty if they do not."""
    names = sorted(path.stem for path in audio_files(folder)) if folder.is_dir() else []
    if len(names) < known.n_clips or (known.names_sha256 and len(names) > known.n_clips):
        return f"there are {len(names)} recordings instead of {known.n_clips}"
    if known.names_sha256 and hashlib.sha256("\n".join(names).encode()).hexdigest() != known.names_sha256:
        return f"there are {len(names)} recordings, but their names are not those of the corpus"
    return ""


def _given(known: Corpus, source: list[Path]) -> tuple[Path | None, dict[Archive, Path]]:
    """Find a folder of unpacked recordings, or the archives, in what the reader has."""
    if missing := [str(path) for path in source if not path.exists()]:
        raise SerError(f"--from {missing[0]}: there is no such file or folder.")
    names = {archive.name: archive for archive in known.archives}
    folders = [path for path in source if path.is_dir()]
    files = [path for path in source if path.is_file()]
    files += [folder / name for folder in folders for name in names if (folder / name).is_file()]
    if strangers := [path.name for path in files if path.name not in names]:
        raise SerError(f"--from {strangers[0]}: the files of {known.title} are called {', '.join(names)}.")
    if not any(path.suffix == ".zip" for path in files) and len(folders) == 1 and audio_files(folders[0]):
        return folders[0], {}
    found = {names[path.name]: path for path in files}
    if lacking := [name for name, archive in names.items() if archive not in found and not archive.optional]:
        raise SerError(f"--from lacks {', '.join(lacking)} of {known.title}: give all archives, or their folder.")
    for archive, file in found.items():
        _check_hash(known, archive, file)
    return None, found


def _download(known: Corpus, archive: Archive, folder: Path, progress: bool) -> Path | None:
    """Download one archive, or take it from an earlier attempt; None where an optional one cannot be had."""
    pooch.get_logger().setLevel("WARNING")
    if archive.hash is None and archive.name.endswith(".zip"):
        instead = f"its recordings are counted{' and their names compared' if known.names_sha256 else ''} instead"
        warnings.warn(f"{known.title}: no checksum is published for {archive.name}; {instead}.", stacklevel=5)
    by_hand = f"download it by hand from {known.homepage} and give it with --from"
    reasons = []
    known_hash = None if archive.copies_differ else archive.hash
    options = {"fname": archive.name, "path": folder, "downloader": Resuming(archive.name, progress)}
    for url in archive.urls:
        try:
            file = pooch.retrieve(url, known_hash, **options)
            if archive.copies_differ:
                _check_hash(known, archive, Path(file))
            return Path(file)
        except Unavailable as error:
            reasons.append(f"{urlsplit(url).hostname} {error}")
        except ValueError:  # pooch's word for a wrong checksum
            reasons.append(f"{urlsplit(url).hostname} gave a file without the published checksum ({archive.hash})")
    if archive.optional:
        warnings.warn(f"{known.title} comes without {archive.name}: {'; '.join(reasons)}.", stacklevel=5)
        return None
    failed = f"{known.title}: {archive.name} could not be downloaded ({'; '.join(reasons)})"
    raise SerError(f"{failed}: what has arrived is kept, run the command again to go on, or {by_hand}.")


def _check_hash(known: Corpus, archive: Archive, file: Path) -> None:
    """Compare a file with its published checksum; where other copies exist, only warn."""
    if archive.hash is None:
        return
    algorithm, _, expected = archive.hash.partition(":")
    if pooch.file_hash(str(file), alg=algorithm) == expected:
        return
    if not archive.copies_differ:
        wrong = f"{file.name} does not have the published checksum ({archive.hash})"
        raise SerError(f"{known.title}: {wrong}: get another copy.")
    said = f"{file.name} is not byte for byte the authors' ({archive.hash}); its recordings decide"
    warnings.warn(f"{known.title}: {said}.", stacklevel=6)


def _unpack(file: Path, folder: Path) -> None:
    """Unpack a zip file, without a single top folder (`nEMO-<commit>/`); BadZipFile if it is damaged."""
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
