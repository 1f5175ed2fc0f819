"""The tables of `README.md`, made from committed files: scores (`figures/<corpus>/scores.csv`) and speed (`figures/bench.json`).

`make readme` writes each between two markers; tests compare what stands there with what the files say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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

BLOCK = re.compile(r"(<!-- (results|bench):begin -->\n).*?(<!-- \2:end -->)", flags=re.DOTALL)


def results_table(figures: Path = REPOSITORY / "figures") -> str:
    """Clip-level UAR with its interval, one row per system and one column per corpus, as Markdown.

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


def bench_table(figures: Path = REPOSITORY / "figures") -> str:
    """What `ser bench --json` measured, as Markdown: one row per measurement, the machine below.

    Parameters
    ----------
    figures : Path
        The folder that holds `bench.json`.

    Returns
    -------
    str

    Raises
    ------
    SerError
        If nothing was measured yet.
    """
    path = figures / "bench.json"
    if not path.exists():
        raise SerError(f"no bench.json in {figures.name}/: run `ser bench --json > figures/bench.json` first")
    measured = json.loads(path.read_text(encoding="utf-8"))
    lines = ["| what | beside | times as fast (range) | speed | agreement |", "|---|---|---|---|---|"]
    for row in measured["rows"]:
        ratio, low, high = (f"{row[name]:.{2 if row['ratio'] < 10 else 0}f}" for name in ("ratio", "low", "high"))
        rate = row["amount"] / row["ours"]
        speed = (
            f"{row['ours']:.2g} s"
            if row["amount"] == 1
            else f"{rate:,.{0 if rate >= 10 else 1}f} {row['unit']} a second"
        )
        lines.append(
            f"| {row['row']} | {row['beside']} | **{ratio}** ({low} to {high}) | {speed} | {row['agreement'] or '–'} |"
        )
    machine = measured["machine"]
    shares = " and ".join(f"{100 * share:.0f} % in {kind}" for kind, share in machine["share_of_peak"].items())
    lines.append(
        f"\n{machine['cores']} cores ({machine['processor']}), {machine['precision']}; recordings: {machine['corpus']}. Large matrix "
        f"products reach {machine['fp32_tflops']:.2f} TFLOP/s in fp32 and {machine['bf16_tflops']:.2f} in bf16; extraction "
        f"with all layers of the base size reaches {shares} of that."
    )
    return "\n".join(lines) + "\n"


#: What stands between which markers.
TABLES: dict[str, Callable[[Path], str]] = {"results": results_table, "bench": bench_table}


def update(readme: Path = REPOSITORY / "README.md", figures: Path = REPOSITORY / "figures") -> bool:
    """Put the tables between their markers in the README; returns whether that changed the file."""
    before = readme.read_text(encoding="utf-8")
    after = BLOCK.sub(lambda match: match[1] + TABLES[match[2]](figures) + match[3], before)
    if after != before:
        readme.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    print("README.md updated" if update() else "README.md was up to date")
