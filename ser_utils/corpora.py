"""Corpora: from a folder of recordings (or a CSV) to a **clips** table.

A corpus is one entry of `CORPORA` and one parser in `parsers`, a small function that knows the corpus's own file names.
Everything else (reading headers, checks, messages) is shared.
"""

from __future__ import annotations

import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_utils import SerError
from ser_utils.parsers import AUDIO_ENDINGS, PARSERS, SHEMO_HOME, parse_csv

if TYPE_CHECKING:
    import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = ("clip", "path", "speaker", "emotion", "gender", "text", "duration", "sample_rate")
#: Below this a file holds no speech, and its header is wrong: 1 Hz would make hours of a few kilobytes [Hz].
LOWEST_RATE = 2_000
LABELS = ("filename", "shemo_json", "modified")


@dataclass(frozen=True)
class Archive:
    """A zip file of a corpus (or a file to put beside its recordings): where it lies and, if its publisher gives one, its checksum.

    `hash` is `"md5:…"` or `"sha256:…"`; None says that no checksum is published (or that the file is made
    afresh for each download, as GitHub archives are): the clip count is then the only check.
    `folder` is where its content goes below the corpus folder.
    """

    url: str
    hash: str | None = None
    folder: str = ""


@dataclass(frozen=True)
class Corpus:
    """What is known of a corpus before a single file is opened."""

    name: str
    title: str
    language: str
    description: str
    licence: str
    citation: str
    synthetic: bool = False
    homepage: str = ""
    n_clips: int = 0  # clips of the complete corpus; 0 = unknown
    archives: tuple[Archive, ...] = ()


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            name="demo",
            title="demo",
            language="Persian (espeak-ng)",
            description="Synthetic Persian speech made by espeak-ng and Praat in ShEMO's layout, for trying "
            "the programs out. Scores on it say nothing about human emotion.",
            licence="CC0 1.0",
            citation="data/demo/README.md of this repository",
            synthetic=True,
        ),
        Corpus(
            name="shemo",
            title="ShEMO",
            language="Persian",
            description="Semi-natural utterances of 87 speakers from Persian radio plays: five emotions "
            "and neutral.",
            licence="free of charge for academic use",
            citation="O. Mohamad Nezami, P. Jamshid Lou, M. Karami (2019). ShEMO: a large-scale validated "
            "database for Persian speech emotion detection. Language Resources and Evaluation 53, 1-16. "
            "doi:10.1007/s10579-018-9427-x",
            homepage=SHEMO_HOME,
            n_clips=3000,
            # The links of the authors' README (dl=1 asks Dropbox for the file instead of a page).
            # No checksums are published.
            archives=(
                Archive("https://www.dropbox.com/s/4t6mep8mo4yf81f/female.zip?dl=1", None, "female"),
                Archive("https://www.dropbox.com/s/xfi3hi927yxixa9/male.zip?dl=1", None, "male"),
                Archive(f"{SHEMO_HOME}/raw/master/shemo.json"),
            ),
        ),
        Corpus(
            name="emodb",
            title="EMO-DB",
            language="German",
            description="Ten actors, ten everyday sentences, six emotions and neutral, anechoic chamber.",
            licence="CC BY 4.0",
            citation="F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss (2005). A database of "
            "German emotional speech. Interspeech, 1517-1520. Version 2.0: doi:10.5281/zenodo.17651657",
            homepage="https://zenodo.org/records/17651657",
            n_clips=535,
            # Zenodo shows an MD5 on the record's page; it was out of reach when this was written.
            archives=(Archive("https://zenodo.org/records/17651657/files/emodb_2.0.zip?download=1"),),
        ),
        Corpus(
            name="ravdess",
            title="RAVDESS",
            language="English",
            description="Twenty-four actors, two sentences, seven emotions and neutral, two intensities; "
            "speech only.",
            licence="CC BY-NC-SA 4.0",
            citation="S. R. Livingstone, F. A. Russo (2018). The Ryerson Audio-Visual Database of Emotional "
            "Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391. doi:10.1371/journal.pone.0196391",
            homepage="https://zenodo.org/records/1188976",
            n_clips=1440,
            archives=(
                Archive(
                    "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
                    "md5:bc696df654c87fed845eb13823edef8a",
                ),
            ),
        ),
        Corpus(
            name="nemo",
            title="nEMO",
            language="Polish",
            description="Nine actors, 90 sentences, five emotions and neutral.",
            licence="CC BY-NC-SA 4.0",
            citation="I. Christop (2024). nEMO: Dataset of Emotional Speech in Polish. LREC-COLING. "
            "arXiv:2404.06292",
            homepage="https://github.com/amu-cai/nEMO",
            n_clips=4481,
            # GitHub makes archives afresh, so their bytes (and hashes) change; the commit pins the content.
            archives=(
                Archive("https://github.com/amu-cai/nEMO/archive/06f1f83dde8f1a780443a57d53b2af3971af34ab.zip"),
            ),
        ),
    )
}

# ------------------------------------------------------------------------------------------- names and places


def describe(corpus: str | Path) -> Corpus:
    """Tell what a corpus is, by its name or by the path of a CSV.

    Raises
    ------
    SerError
        If it is neither a known name nor a path that ends in `.csv`.

    Examples
    --------
    >>> describe("nemo").language
    'Polish'
    """
    if str(corpus) in CORPORA:
        return CORPORA[str(corpus)]
    if str(corpus).lower().endswith(".csv"):
        stem = Path(corpus).stem
        return Corpus(
            name=stem,
            title=stem,
            language="unknown",
            description=f"Recordings listed in {Path(corpus).name}",
            licence="unknown",
            citation="none given",
        )
    raise SerError(f"Unknown corpus '{corpus}': known are {', '.join(CORPORA)}, or the path of a .csv file.")


def label(corpus: str | Path) -> str:
    """Name a corpus as figures and tables do, synthetic ones always as such.

    >>> label("demo"), label("emodb"), label("data/calls.csv")
    ('demo (synthetic)', 'EMO-DB', 'calls')
    """
    known = describe(corpus)
    return f"{known.title} (synthetic)" if known.synthetic else known.title


def slug(corpus: str | Path) -> str:
    """Name a corpus as folders do.

    >>> slug("nemo"), slug("data/My calls.csv")
    ('nemo', 'My_calls')
    """
    return re.sub(r"[^\w.-]+", "_", describe(corpus).name)


def default_folder(name: str) -> Path:
    """Say where a corpus lies when no folder is given: `data/demo`, else `data/raw/<name>`."""
    return REPOSITORY / "data" / "demo" if name == "demo" else REPOSITORY / "data" / "raw" / name


# -------------------------------------------------------------------------------------------------- loading


def load(
    corpus: str | Path,
    data: str | Path | None = None,
    *,
    labels: str = "filename",
    strict: bool = False,
    decode: bool = False,
) -> pd.DataFrame:
    """Read a corpus into a clips table.

    Parameters
    ----------
    corpus : str or Path
        A name in `CORPORA`, or the path of a CSV with columns `path` (relative to the CSV), `emotion`,
        `speaker` and optionally `clip`, `gender`, `text`.
    data : str or Path, optional
        Folder of the recordings; `data/demo` or `data/raw/<name>` of the repository when left out.
        Not used with a CSV.
    labels : {"filename", "shemo_json", "modified"}
        ShEMO only: labels from the file names, from `shemo.json` or from `modified_shemo.json`. The JSON is
        looked for in the folder, in a folder `shemo_metadata` beside it, and beside it.
    strict : bool
        Raise instead of warn when a recording cannot be used.
    decode : bool
        Decode every recording to its end instead of trusting its header: finds damaged files, and counts what is there.

    Returns
    -------
    DataFrame
        Columns `clip` (unique), `path`, `speaker`, `emotion` (canonical), `gender` ("female", "male" or
        None), `text` (or None), `duration` [s] and `sample_rate` [Hz, as stored], sorted by clip.
        `attrs["skipped"]` lists the paths left out, `attrs["corpus"]` holds the label.

    Raises
    ------
    SerError
        In one line, if the corpus is unknown, absent, unreadable or unusable (one speaker, one emotion, …).

    Examples
    --------
    >>> clips = load("demo")
    >>> sorted(set(clips["emotion"]))
    ['anger', 'fear', 'happiness', 'neutral', 'sadness', 'surprise']
    """
    import pandas as pd

    known = describe(corpus)
    if labels not in LABELS:
        raise SerError(f"labels='{labels}' is not one of {', '.join(LABELS)}.")
    if labels != "filename" and known.name != "shemo":
        raise SerError(f"labels='{labels}' exists for shemo only; leave it out for {known.name}.")
    if str(corpus) in CORPORA:
        folder = Path(data) if data is not None else default_folder(known.name)
        _check_folder(known, folder, given=data is not None)
        rows, skipped = PARSERS[known.name](folder, labels)
        source = str(folder)
    else:
        rows, skipped = parse_csv(Path(corpus))
        source = str(corpus)

    readable = []
    with ThreadPoolExecutor() as pool:
        lengths = pool.map(_decoded if decode else _length, [row["path"] for row in rows])
        for row, (frames, rate, problem) in zip(rows, lengths, strict=True):
            if problem:
                skipped.append((row["path"], problem))
            else:
                readable.append({**row, "duration": frames / rate, "sample_rate": rate})
    if skipped:
        total = len(skipped) + len(readable)
        message = f"{len(skipped)} of {total} recordings left out: {_name_some(skipped)}"
        if strict:
            raise SerError(f"{message} Remove them, or run without strict.")
        warnings.warn(message, stacklevel=2)
    if not readable:
        raise SerError(
            f"No readable recordings of {known.title} in {source}: expected {', '.join(AUDIO_ENDINGS[:3])} "
            f"files under the corpus's own names."
        )

    clips = pd.DataFrame(readable, columns=list(COLUMNS)).sort_values("clip", ignore_index=True)
    # Object columns keep None as None; pandas' str type would turn it into NaN.
    clips = clips.astype({"gender": object, "text": object, "duration": float, "sample_rate": int})
    clips[["gender", "text"]] = clips[["gender", "text"]].where(clips[["gender", "text"]].notna(), None)
    _check_table(clips, source)
    clips.attrs["skipped"] = [path for path, _ in skipped]
    clips.attrs["corpus"] = label(corpus)
    return clips


def _check_folder(known: Corpus, folder: Path, *, given: bool) -> None:
    if folder.is_dir():
        return
    fetch_it = f", or run `ser fetch {known.name}`" if known.archives else ""
    if given:
        raise SerError(f"No folder {folder} for {known.title}: check --data{fetch_it}.")
    raise SerError(f"{known.title} is not in {folder}: say where it is with --data DIR{fetch_it}.")


def _check_table(clips: pd.DataFrame, source: str) -> None:
    twice = clips.loc[clips["clip"].duplicated(keep=False)]
    if len(twice):
        first = twice.loc[twice["clip"] == twice["clip"].iloc[0], "path"]
        raise SerError(
            f"{twice['clip'].nunique()} clip ids occur more than once in {source}, "
            f"'{twice['clip'].iloc[0]}' as {' and '.join(first.iloc[:2])}: remove or rename the copies."
        )
    for column, reason in (
        ("speaker", "two speakers are needed, since one is tested who was not trained on"),
        ("emotion", "two emotions are needed, since there is nothing to tell apart"),
    ):
        if clips[column].nunique() < 2:
            only = clips[column].iloc[0]
            raise SerError(f"All {len(clips)} recordings in {source} have one {column} ('{only}'): {reason}.")


def _name_some(skipped: list[tuple[str, str]], most: int = 5) -> str:
    """Name the first few files left out, with reasons, in one line."""
    named = ", ".join(f"{Path(path).name} ({reason})" for path, reason in skipped[:most])
    return f"{named} and {len(skipped) - most} more." if len(skipped) > most else f"{named}."


def _length(path: str) -> tuple[int, int, str]:
    """Frames, sample rate, and what is wrong with a sound file as far as its header tells."""
    try:
        frames, rate = _header(path)
    except OSError:
        return 0, 0, "not readable as audio"
    if rate < LOWEST_RATE:
        return 0, rate, f"a sample rate of {rate} Hz"
    return frames, rate, "" if frames else "no samples"


def _decoded(path: str) -> tuple[int, int, str]:
    """As `_length`, with the frames that decoding gives; a piece at a time, since a recording may last hours."""
    import soundfile

    frames, rate, problem = _length(path)
    if problem:
        return frames, rate, problem
    try:
        with soundfile.SoundFile(path) as sound:
            frames = sum(len(block) for block in sound.blocks(1 << 18, dtype="float32"))
    except (soundfile.SoundFileError, OSError):
        return 0, rate, "damaged"
    return frames, rate, "" if frames else "damaged"


def _header(path: str) -> tuple[int, int]:
    """Return frames and sample rate of a sound file without decoding it; OSError if it is none.

    libsndfile takes 1.3 ms to open a Vorbis file since it sets up the decoder: 6 s for nEMO's 4481 clips,
    in each notebook. The two numbers lie in the first and the last Ogg page (RFC 3533, section 6; Vorbis I
    specification, section 4.2.2). Whatever looks unusual there is left to libsndfile.
    """
    import soundfile

    with open(path, "rb") as file:
        head = file.read(58)
        if head[:4] == b"OggS" and head[26:35] == b"\x01\x1e\x01vorbis":
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65_536))  # no Ogg page is longer
            tail = file.read()
            last = tail.rfind(b"OggS")
            rate = int.from_bytes(head[40:44], "little")
            frames = int.from_bytes(tail[last + 6 : last + 14], "little", signed=True)
            same_stream = tail[last + 14 : last + 18] == head[14:18]
            # A recording cut out of a stream starts with a high count: fewer than 4 kbit/s cannot be.
            if last >= 0 and same_stream and rate > 0 and 0 < frames < size * 8 / 4000 * rate:
                return frames, rate
    try:
        with soundfile.SoundFile(path) as sound:
            return sound.frames, sound.samplerate
    except soundfile.SoundFileError as error:
        raise OSError(str(error)) from error
