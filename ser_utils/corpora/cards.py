"""Corpus cards: what is known of each corpus before a file is opened, and where it is to be had.

Figures and judgements come from the publication that `citation` names, unless a card says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ser_utils import ROOT, SerError
from ser_utils.corpora.parsers import SHEMO_HOME

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

    `urls` are tried in turn. `hash` is `"md5:…"` or `"sha256:…"`; None says that none is published, or that the file is
    made afresh for each download, as GitHub's archives are. `copies_differ`: copies with other bytes are about (ShEMO's on
    Dropbox), so that another hash is only warned of and the recordings' names decide. `size` is in bytes, where known.
    `folder` is where the content goes below the corpus's folder. Without an `optional` one the corpus is whole.
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
    n_clips: int = 0  # clips of the complete corpus; 0 = unknown
    names_sha256: str = ""  # of the clips' names, sorted, a line each; "" = only counted
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
            speakers="16 synthetic voices (7 imitate women, 9 men)",
            emotions="anger, fear, happiness, neutral, sadness, surprise",
            elicitation="Pitch, tempo, loudness and voice quality changed by rules taken from the literature, with a strength "
            "drawn for each clip.",
            recording="Generated; room noise and level vary.",
            annotation="None: the label is the rule that was applied.",
            problems=("A rule is easier to recognise than a person.",),
        ),
        Corpus(
            name="shemo",
            title="ShEMO",
            language="Persian",
            description="Semi-natural utterances from Persian radio plays: five emotions and neutral.",
            licence="free of charge for academic use",
            citation="O. Mohamad Nezami, P. Jamshid Lou, M. Karami (2019). ShEMO: a large-scale validated "
            "database for Persian speech emotion detection. Language Resources and Evaluation 53, 1-16. "
            "doi:10.1007/s10579-018-9427-x",
            homepage=SHEMO_HOME,
            speakers="87 (31 women, 56 men), very unequally heard",
            hours=3.4,
            emotions="anger, fear, happiness, neutral, sadness, surprise",
            elicitation="Acted, but for listeners and not for a corpus: utterances cut from online radio plays.",
            recording="Broadcast recordings, most of them at 44.1 kHz.",
            annotation="Twelve annotators, majority vote; kappa 64 %.",
            problems=(
                "Three sets of labels are about: the file names', shemo.json's and modified_shemo.json's, which corrects names "
                "and 163 labels (github.com/aliyzd95/ShEMO-Modification).",
                "121 files are stored at 22.05 kHz, and 104 of them are neutral: bandwidth gives labels away (audit in "
                "notebook 01).",
                "Fear has 32 to 38 clips, so scores here leave it out unless asked for (-p classes=all).",
                "The ten most heard speakers hold two fifths of the clips.",
            ),
            n_clips=3000,
            names_sha256="166dbabb3aa832a07e320554f45a03323037045d7796e2ed1f2e727f2d9cde62",
            rare=("fear",),
            # The links of the authors' README (dl=1 asks Dropbox for the file instead of a page).
            archives=(
                Archive(
                    ("https://www.dropbox.com/s/4t6mep8mo4yf81f/female.zip?dl=1",),
                    "sha256:663d8d7dceb44adbbf87d84be3a080fb691d169fbd972f6941e6302bc39f71e6",
                    "female",
                    374_368_830,
                    copies_differ=True,
                ),
                Archive(
                    ("https://www.dropbox.com/s/xfi3hi927yxixa9/male.zip?dl=1",),
                    "sha256:747670d0d918e59d5e5020cf66610242890b093d42968c467c4f02eb5e6a6b1a",
                    "male",
                    496_606_401,
                    copies_differ=True,
                ),
                Archive((f"{SHEMO_HOME}/raw/HEAD/shemo.json",), optional=True),
                Archive(
                    ("https://github.com/aliyzd95/ShEMO-Modification/raw/HEAD/modified_shemo.json",), optional=True
                ),
            ),
        ),
        Corpus(
            name="emodb",
            title="EMO-DB",
            language="German",
            description="Ten everyday sentences, six emotions and neutral.",
            licence="CC BY 4.0",
            citation="F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss (2005). A database of "
            "German emotional speech. Interspeech, 1517-1520. Version 2.0: doi:10.5281/zenodo.17651657",
            homepage="https://zenodo.org/records/17651657",
            speakers="10 actors (5 women, 5 men)",
            hours=0.4,
            emotions="anger, boredom, disgust, fear, happiness, neutral, sadness",
            elicitation="Acted.",
            recording="Anechoic chamber, 16 kHz.",
            annotation="A listening test: kept are 535 of about 800 recordings, which more than 80 % of the listeners recognised and "
            "more than 60 % found natural.",
            problems=("Kept by recognisability, so scores are far above what other speech gives.",),
            n_clips=535,
            # Zenodo shows an MD5 on the record's page; it was out of reach when this was written.
            archives=(
                Archive(
                    (
                        "https://zenodo.org/records/17651657/files/emodb_2.0.zip?download=1",
                        "https://zenodo.org/api/records/17651657/files/emodb_2.0.zip/content",
                    )
                ),
            ),
        ),
        Corpus(
            name="ravdess",
            title="RAVDESS",
            language="English",
            description="Two sentences, seven emotions and neutral, two intensities; speech only, without song.",
            licence="CC BY-NC-SA 4.0",
            citation="S. R. Livingstone, F. A. Russo (2018). The Ryerson Audio-Visual Database of Emotional "
            "Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391. doi:10.1371/journal.pone.0196391",
            homepage="https://zenodo.org/records/1188976",
            speakers="24 professional actors (12 women, 12 men)",
            hours=1.5,
            emotions="anger, calm, disgust, fear, happiness, neutral, sadness, surprise",
            elicitation="Acted, each expression at two intensities, in a neutral North American accent.",
            recording="Studio, 48 kHz.",
            annotation="247 untrained raters, each recording rated ten times; every recording was kept, recognised or not.",
            problems=(
                "Two sentences only: what is learned may be tied to them.",
                "Neutral was not acted at two intensities: it has half as many clips as the others.",
            ),
            n_clips=1440,
            names_sha256="fadd49d0b453b09e6350bfdaef59105fabd71f1c7deb26df2853abd4f43eea94",
            archives=(
                Archive(
                    (
                        "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
                        "https://zenodo.org/api/records/1188976/files/Audio_Speech_Actors_01-24.zip/content",
                    ),
                    "md5:bc696df654c87fed845eb13823edef8a",
                ),
            ),
        ),
        Corpus(
            name="nemo",
            title="nEMO",
            language="Polish",
            description="Ninety sentences, five emotions and neutral.",
            licence="CC BY-NC-SA 4.0",
            citation="I. Christop (2024). nEMO: Dataset of Emotional Speech in Polish. LREC-COLING. arXiv:2404.06292",
            homepage="https://github.com/amu-cai/nEMO",
            speakers="9 actors (4 women, 5 men)",
            hours=3.1,
            emotions="anger, fear, happiness, neutral, sadness, surprise",
            elicitation="Acted; sentences chosen to represent the sounds of Polish.",
            recording="24 kHz.",
            annotation="The label is the emotion that was asked for; agreement of listeners is not known to us.",
            problems=(
                "All actors speak the same sentences: a split by sentence has every speaker on both sides (notebook 08).",
                "One actor has half as many clips as the others, another five sixths.",
            ),
            n_clips=4481,
            names_sha256="86ee8f4f83fc0fafb3dd69a35c90a89955887081931782e98f3034af5480d29a",
            # GitHub makes archives afresh, so their bytes (and hashes) change; the commit pins the content.
            archives=(
                Archive(
                    (
                        "https://github.com/amu-cai/nEMO/archive/06f1f83dde8f1a780443a57d53b2af3971af34ab.zip",
                        "https://codeload.github.com/amu-cai/nEMO/zip/06f1f83dde8f1a780443a57d53b2af3971af34ab",
                    )
                ),
            ),
        ),
    )
}


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
    known = card(corpus)
    return f"{known.title} (synthetic)" if known.synthetic else known.title


def slug(corpus: str | Path) -> str:
    """Name a corpus as folders do.

    >>> slug("nemo"), slug("data/My calls.csv")
    ('nemo', 'My_calls')
    """
    return re.sub(r"[^\w.-]+", "_", card(corpus).name)


def default_folder(name: str) -> Path:
    """Say where a corpus lies when no folder is given: `data/demo`, else `data/raw/<name>`."""
    return ROOT / "data" / "demo" if name == "demo" else ROOT / "data" / "raw" / name
