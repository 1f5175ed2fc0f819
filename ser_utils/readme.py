"""The results table of `README.md`, made from the committed `figures/<corpus>/scores.csv`.

`make readme` writes it between two markers; a test compares what stands there with what the files say.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ser_utils import SerError

REPOSITORY = Path(__file__).resolve().parents[1]

#: Corpora in the order of the columns, with the heading of each.
COLUMNS = {
    "demo": "demo (synthetic)",
    "nemo": "nEMO (Polish, 6 emotions)",
    "ravdess": "RAVDESS (English, 8 emotions)",
    "emodb": "EMO-DB (German, 4 of 7 emotions)",
}

#: Systems in the order of the rows, with a name a newcomer understands.
SYSTEMS = {
    "majority": "majority class",
    "spectrogram-cnn": "CNN pretrained on keywords, log-mel spectrograms",
    "spectrogram-cnn-scratch": "the same CNN from random weights",
    "egemaps-svm": "SVM, eGeMAPS",
    "encoder-svm": "SVM, wav2vec2-nano",
    "probe, untrained": "linear probe, the same encoder untrained",
    "probe, pre-trained": "linear probe, wav2vec2-nano",
    "CNN, untrained": "segment CNN, the same encoder untrained",
    "segment-cnn": "**segment CNN, wav2vec2-nano**",
    "egemaps-svm/speaker": "SVM, eGeMAPS · per-speaker",
    "encoder-svm/speaker": "SVM, wav2vec2-nano · per-speaker",
    "probe, untrained/speaker": "linear probe, the same encoder untrained · per-speaker",
    "probe, pre-trained/speaker": "linear probe, wav2vec2-nano · per-speaker",
    "CNN, untrained/speaker": "segment CNN, the same encoder untrained · per-speaker",
    "segment-cnn/speaker": "**segment CNN, wav2vec2-nano · per-speaker**",
}

BLOCK = re.compile(r"(<!-- results:begin -->\n).*?(<!-- results:end -->)", flags=re.DOTALL)


def results_table(figures: Path = REPOSITORY / "figures") -> str:
    """Clip-level UAR with its interval, a row a system and a column a corpus, as Markdown.

    Parameters
    ----------
    figures : Path
        The folder that holds `<corpus>/scores.csv`.

    Returns
    -------
    str
        A Markdown table; UAR in percent with the 95 % interval over speakers, `–` where a system was not run.

    Raises
    ------
    SerError
        If no corpus has scores yet.
    """
    columns = {}
    for corpus, heading in COLUMNS.items():
        path = figures / corpus / "scores.csv"
        if not path.exists():
            continue
        scores = pd.read_csv(path)
        uar = scores[(scores.metric == "uar") & (scores.level == "clip")].drop_duplicates("system").set_index("system")
        heading += f"<br>{int(uar.clips.max())} clips, {int(uar.speakers.max())} speakers"
        columns[heading] = {
            system: f"{100 * row.value:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
            for system, row in uar.iterrows()
        }
    if not columns:
        raise SerError(f"no scores.csv below {figures.name}/: run `make reproduce` first")
    present = [s for s in SYSTEMS if any(s in column for column in columns.values())]
    lines = ["| UAR in %, clip level | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for system in present:
        lines.append(f"| {SYSTEMS[system]} | " + " | ".join(c.get(system, "–") for c in columns.values()) + " |")
    return "\n".join(lines) + "\n"


def update(readme: Path = REPOSITORY / "README.md", figures: Path = REPOSITORY / "figures") -> bool:
    """Put the table between the markers of the README; returns whether that changed the file."""
    before = readme.read_text(encoding="utf-8")
    after = BLOCK.sub(lambda match: match[1] + results_table(figures) + match[2], before)
    if after != before:
        readme.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    print("README.md updated" if update() else "README.md was up to date")
