"""Corpus cards: what is known of each corpus before a file is opened, and where it is to be had.

Figures and judgements come from the publication that `citation` names, unless a card says otherwise.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from ser_utils import ROOT, SerError, digest

#: Downloads go to these hosts and to nowhere else, redirections included. A leading dot stands for all hosts below.
HOSTS = ("zenodo.org", "github.com", "codeload.github.com", ".githubusercontent.com", "www.dropbox.com",
         ".dropboxusercontent.com")  # fmt: skip

#: How the names of a reader's own tables end.
TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".txt")


@dataclass(frozen=True)
class Archive:
    """A zip file of a corpus, or a metadata file to put beside its recordings.

    Attributes
    ----------
    urls, hash : tuple of str, str or None
        Addresses, tried in turn; `"md5:…"` or `"sha256:…"`, None where none is published, or each download differs.
    folder, size : str, int or None
        Where the content goes below the corpus's folder; bytes, where known.
    copies_differ : bool
        Copies with other bytes exist (ShEMO's on Dropbox): another hash only warns, the recordings' names decide.
    """

    urls: tuple[str, ...]
    hash: str | None = None
    folder: str = ""
    size: int | None = None
    copies_differ: bool = False

    @property
    def name(self) -> str:
        """File name, such as "female.zip"."""
        return self.urls[0].split("?")[0].rsplit("/", 1)[-1]

    @property
    def optional(self) -> bool:
        """Whether the corpus is complete without it: true of metadata files."""
        return not self.name.endswith(".zip")


@dataclass(frozen=True)
class Names:
    """What a corpus's file names say.

    Attributes
    ----------
    pattern : str
        Regular expression that a name without its ending matches as a whole, with the groups `speaker`, `emotion`, and
        optionally `gender`, `text` (what is said) and `clip`. With a "/" in it, it is matched with the folders' names.
    emotion, speaker, text : dict of str
        Code in the name → emotion, speaker, words. A speaker or text that is not listed is taken as it is.
    gender : dict of list of str
        "female" and "male" → codes of the group `gender`, or speakers where the pattern has no such group.
    left_out : dict of str
        Pattern → what such files are ("song"): not part of the corpus, counted in one line.
    """

    pattern: str
    emotion: dict[str, str]
    speaker: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    gender: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """A corpus card; `cards.toml` explains the fields."""

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
    n_clips: int = 0
    names_sha256: str = ""
    rare: tuple[str, ...] = ()
    archives: tuple[Archive, ...] = ()
    names: Names | None = field(default=None, hash=False)

    def facts(self) -> dict[str, str]:
        """What the card says, by heading, in reading order; what is not known is left out."""
        texts = {
            "Language": self.language,
            "What it is": self.description,
            "Speakers": self.speakers,
            "Size": f"{self.n_clips} clips, {self.hours:.1f} hours" if self.n_clips and self.hours else "",
            "Emotions": self.emotions,
            "How they were elicited": self.elicitation,
            "Recording": self.recording,
            "Annotators and agreement": self.annotation,
            "Known problems": " ".join(self.problems),
            "Licence": self.licence,
            "Citation": self.citation,
            "Home": self.homepage,
        }
        return {heading: text for heading, text in texts.items() if text}


def read_cards(file: Path) -> dict[str, Corpus]:
    """Read cards, by name; lists become tuples, so that cards can be compared and hashed."""
    corpora = {}
    for name, entry in tomllib.loads(file.read_text(encoding="utf-8")).items():
        archives = tuple(Archive(**archive | {"urls": tuple(archive["urls"])}) for archive in entry.pop("archives", ()))
        names = Names(**entry.pop("names")) if "names" in entry else None
        lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
        corpora[name] = Corpus(name=name, archives=archives, names=names, **{**entry, **lists})
    return corpora


#: The known corpora, by name.
CORPORA: dict[str, Corpus] = read_cards(Path(__file__).with_name("cards.toml"))


def card(corpus: str | Path) -> Corpus:
    """The card of a corpus, by its name or by the path of a reader's own table, which ends as in `TABLE_ENDINGS`.

    Raises SerError if it is neither.

    >>> card("nemo").language
    'Polish'
    """
    if str(corpus) in CORPORA:
        return CORPORA[str(corpus)]
    if is_table(corpus):
        stem, name = Path(corpus).stem, Path(corpus).name
        title = name if stem in CORPORA else stem  # demo.csv is not the demo corpus
        return Corpus(stem, title, "unknown", f"Recordings listed in {name}", licence="unknown", citation="none given")
    raise SerError(f"Unknown corpus '{corpus}': known are {', '.join(CORPORA)}, or the path of a {', '.join(TABLE_ENDINGS)} file.")


def is_table(corpus: str | Path) -> bool:
    """Whether this is the path of a reader's own table and not the name of a corpus."""
    return str(corpus) not in CORPORA and str(corpus).lower().endswith(TABLE_ENDINGS)


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
    """Where a corpus lies when no folder is given: `data/demo`, else `data/raw/<name>`."""
    return ROOT / "data" / "demo" if name == "demo" else ROOT / "data" / "raw" / name


def announcement(name: str, folder: str | Path | None = None) -> str:
    """What `fetch` will download (licence, citation, size, addresses), for people to read before it starts."""
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
