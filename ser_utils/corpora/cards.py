"""Corpus cards (`cards.toml`): what is known of each corpus before a file is opened, and where to download it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ser_utils import ROOT, SerError, digest

#: Downloads go to these hosts and to nowhere else, redirections included. A leading dot stands for all hosts below.
HOSTS = (
    "zenodo.org",
    "github.com",
    "codeload.github.com",
    ".githubusercontent.com",
    "www.dropbox.com",
    ".dropboxusercontent.com",
)


@dataclass(frozen=True)
class Archive:
    """A zip file of a corpus, or a file to put beside its recordings.

    `urls` are tried in turn. `hash` is `"md5:…"` or `"sha256:…"`; None if none is published, or if the host makes the
    file anew for each download, as GitHub does. `copies_differ`: copies with other bytes exist (ShEMO on Dropbox), so
    another hash is only a warning and the names of the recordings decide. `size` is in bytes, where known. `folder`
    is the place of the content below the corpus's folder. The corpus is complete without an `optional` archive.
    """

    urls: tuple[str, ...]
    hash: str | None = None
    folder: str = ""
    size: int | None = None
    copies_differ: bool = False
    optional: bool = False

    @property
    def name(self) -> str:
        """File name, such as "female.zip"."""
        return self.urls[0].split("?")[0].rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Corpus:
    """A corpus card."""

    name: str
    title: str
    language: str
    description: str
    licence: str
    citation: str
    synthetic: bool = False
    homepage: str = ""
    speakers: str = ""
    hours: float = 0.0
    emotions: str = ""
    elicitation: str = ""
    recording: str = ""
    annotation: str = ""
    problems: tuple[str, ...] = ()
    n_clips: int = 0  # clips of the complete corpus; 0: unknown
    names_sha256: str = ""  # of the clip names, sorted, one per line; "": clips are only counted
    rare: tuple[str, ...] = ()  # emotions with too few clips to be scored, unless asked for
    archives: tuple[Archive, ...] = ()

    def facts(self) -> dict[str, str]:
        """What the card says, by heading, in reading order; what is not known is left out."""
        size = f"{self.n_clips} clips, {self.hours:.1f} hours" if self.n_clips and self.hours else ""
        return {
            heading: text
            for heading, text in {
                "Language": self.language,
                "What it is": self.description,
                "Speakers": self.speakers,
                "Size": size,
                "Emotions": self.emotions,
                "How they were elicited": self.elicitation,
                "Recording": self.recording,
                "Annotators and agreement": self.annotation,
                "Known problems": " ".join(self.problems),
                "Licence": self.licence,
                "Citation": self.citation,
                "Home": self.homepage,
            }.items()
            if text
        }


def _read_cards() -> dict[str, Corpus]:
    cards = {}
    for name, entry in tomllib.loads((Path(__file__).parent / "cards.toml").read_text(encoding="utf-8")).items():
        entry = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
        archives = (Archive(**{**archive, "urls": tuple(archive["urls"])}) for archive in entry.pop("archives", ()))
        cards[name] = Corpus(name=name, archives=tuple(archives), **entry)
    return cards


#: The cards of `cards.toml`, by name.
CORPORA = _read_cards()


def card(corpus: str | Path) -> Corpus:
    """Tell what a corpus is, by its name or by the path of a CSV.

    Raises
    ------
    SerError
        If it is neither a known name nor a path that ends in `.csv`.

    Examples
    --------
    >>> card("nemo").language
    'Polish'
    """
    if str(corpus) in CORPORA:
        return CORPORA[str(corpus)]
    if str(corpus).lower().endswith(".csv"):
        stem = Path(corpus).stem
        return Corpus(
            name=stem,
            title=Path(corpus).name if stem in CORPORA else stem,  # demo.csv is not the demo corpus
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
    known = card(corpus)
    return f"{known.title} (synthetic)" if known.synthetic else known.title


def slug(corpus: str | Path) -> str:
    """Name a corpus as folders do; a table with a hash of its place and content, so that two of one name never share.

    >>> slug("nemo")
    'nemo'
    """
    name = re.sub(r"[^\w.-]+", "_", card(corpus).name)
    if str(corpus) in CORPORA:
        return name
    path = Path(corpus).expanduser().resolve()
    return f"{name}-{digest(str(path), path if path.is_file() else '')[:6]}"


def default_folder(name: str) -> Path:
    """Say where a corpus lies when no folder is given: `data/demo`, else `data/raw/<name>`."""
    return ROOT / "data" / "demo" if name == "demo" else ROOT / "data" / "raw" / name
