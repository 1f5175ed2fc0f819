"""What pages say in numbers, made from committed files: scores (`figures/<corpus>/scores.csv`) and speed (`figures/bench.json`).

`make readme` writes each between two markers; tests compare what stands there with what the files say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from ser_utils import SerError, plots

REPOSITORY = Path(__file__).resolve().parents[1]

#: Pages that have markers.
PAGES = ("README.md", "docs/results.md", "docs/performance.md")

#: Corpora in the order of the columns, with the heading of each.
COLUMNS = {
    "demo": "demo (synthetic)",
    "nemo": "nEMO (Polish, 6 emotions)",
    "ravdess": "RAVDESS (English, 8 emotions)",
    "emodb": "EMO-DB (German, 4 of 7 emotions)",
}
#: Corpora that findings speak of: recordings of people.
PEOPLE = {"nemo": "nEMO", "ravdess": "RAVDESS", "emodb": "EMO-DB"}

#: Rows of the README's tables: a name and the systems whose scores stand side by side there.
CLASSIFIERS = ("lda", "svm", "segment-lda", "cnn")
ROWS = {
    "majority class": ["majority"],
    "spectrogram CNN: pre-trained on keywords / random weights": ["spectrogram-cnn-free", "spectrogram-cnn-scratch"],
    "the same, lower layers frozen": ["spectrogram-cnn", "spectrogram-cnn-scratch-frozen"],
    **{
        name: [f"{features}-{classifier}" for classifier in CLASSIFIERS]
        for features, name in {
            "log-mel": "log-mel", "egemaps": "eGeMAPS", "encoder-random": "nano, random weights",
            "encoder-start": "nano before its first update", "encoder": "nano",
        }.items()
    },
    "nano, average of the segment CNNs": ["encoder-cnn-ensemble"],
}  # fmt: skip
ENCODER, EXPERTS = ROWS["nano"], ["egemaps-lda", "egemaps-svm"]
SETTINGS = {"statistics of the training speakers": "", "per-speaker statistics": "/speaker"}

BLOCK = re.compile(r"(<!-- (findings|results|scores|bench):begin -->\n).*?(<!-- \2:end -->)", flags=re.DOTALL)


def read_scores(figures: Path) -> dict[str, pd.DataFrame]:
    """Clip-level UAR of every system, by corpus.

    Raises
    ------
    SerError
        If no corpus has scores yet.
    """
    found = {}
    for corpus in COLUMNS:
        path = figures / corpus / "scores.csv"
        if path.exists():
            scores = pd.read_csv(path)
            clip_level = scores[(scores.metric == "uar") & (scores.level == "clip")]
            found[corpus] = clip_level.drop_duplicates("system").set_index("system")
    if not found:
        raise SerError(f"no scores.csv below {figures.name}/: run `make reproduce` first")
    return found


def _markdown(heads: Sequence[str], rows: dict[str, list[str]]) -> str:
    """A Markdown table; `rows` are names and the cells behind them."""
    lines = [heads, ["---"] * len(heads), *([name, *cells] for name, cells in rows.items())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(table: pd.DataFrame, system: str, best: float, *, interval: bool = False) -> str:
    if system not in table.index:
        return "–"
    row = table.loc[system]
    value = f"**{100 * row.value:.1f}**" if row.value == best else f"{100 * row.value:.1f}"
    return value + (f" [{100 * row.low:.1f}, {100 * row.high:.1f}]" if interval else "")


def results_table(figures: Path = REPOSITORY / "figures") -> str:
    """Clip-level UAR, features by classifier: one table per setting, the best of each column in bold, as Markdown.

    Parameters
    ----------
    figures : Path
        The folder that holds `<corpus>/scores.csv`.
    """
    scores, parts = read_scores(figures), []
    for setting, ending in SETTINGS.items():
        rows = {name: [system + ending for system in systems] for name, systems in ROWS.items()}
        shown = [system for systems in rows.values() for system in systems]
        best = {corpus: table.value.reindex(shown).max() for corpus, table in scores.items()}
        cells = {
            name: [" / ".join(_cell(t, s, best[corpus]) for s in systems) for corpus, t in scores.items()]
            for name, systems in rows.items()
            if any(system in table.index for table in scores.values() for system in systems)
        }
        first = f"UAR in %, {setting}<br>LDA / SVM / LDA per segment / segment CNN"
        parts.append(_markdown([first, *(COLUMNS[corpus] for corpus in scores)], cells))
    return "\n".join(parts)


def scores_table(figures: Path = REPOSITORY / "figures") -> str:
    """Clip-level UAR of all systems with intervals, one table per setting, as Markdown.

    Systems without a display name are left out.
    """
    scores, parts = read_scores(figures), []
    for setting, ending in SETTINGS.items():
        names = {name for table in scores.values() for name in table.index if name.endswith("/speaker") == bool(ending)}
        systems = plots.system_order(names)
        best = {corpus: table.value.reindex(systems).max() for corpus, table in scores.items()}
        cells = {
            plots.display_name(system.removesuffix("/speaker"), encoder="wav2vec2-nano"): [
                _cell(table, system, best[corpus], interval=True) for corpus, table in scores.items()
            ]
            for system in systems
        }
        heads = [
            f"{COLUMNS[c]}<br>{t.clips.max():.0f} clips, {t.speakers.max():.0f} speakers" for c, t in scores.items()
        ]
        parts.append(_markdown([f"UAR in %, {setting}", *heads], cells))
    return "\n".join(parts)


def findings(figures: Path = REPOSITORY / "figures") -> str:
    """What came out on recordings of people: up to four sentences with numbers.

    A corpus whose scores lack a system that a sentence needs is left out of that sentence.
    """
    uar = {PEOPLE[corpus]: 100 * table.value for corpus, table in read_scores(figures).items() if corpus in PEOPLE}

    def leads(ours: Sequence[str], others: Sequence[str], ending: str = "") -> str:
        """On how many corpora the best of `ours` is ahead of the best of `others`, and by how much on each."""
        a, b = ([system + ending for system in side] for side in (ours, others))
        lead = {name: v[a].max() - v[b].max() for name, v in uar.items() if {*a, *b} <= set(v.index)}
        by_corpus = ", ".join(f"{name} {points:+.1f}" for name, points in lead.items())
        ahead = sum(points > 0 for points in lead.values())
        return f"on {ahead} of {len(lead)} corpora ({by_corpus} points)" if lead else ""

    def both(ours: Sequence[str], others: Sequence[str]) -> str:
        parts = leads(ours, others), leads(ours, others, "/speaker")
        return "; with per-speaker statistics ".join(parts) if all(parts) else ""

    def gains(systems: Sequence[str]) -> str:
        """Mean gain by per-speaker statistics over `systems`, by corpus."""
        own = [f"{system}/speaker" for system in systems]
        mean = {n: v[own].mean() - v[[*systems]].mean() for n, v in uar.items() if {*systems, *own} <= set(v.index)}
        return ", ".join(f"{points:+.1f} points on {name}" for name, points in mean.items())

    answers = {
        "**Does pre-training help?** The segment CNN scores higher on the encoder than on the same encoder before its "
        "first update": leads(["encoder-cnn"], ["encoder-start-cnn"]),
        "**Does it beat expert features?** The best system on the encoder scores higher than the best on eGeMAPS": both(
            ENCODER, EXPERTS
        ),
        "**Does the paper's CNN beat a linear classifier?** The segment CNN scores higher than LDA on the same "
        "segments": both(["encoder-cnn"], ["encoder-segment-lda"]),
        "**What does the setting change?** Per-speaker statistics, in place of those of the training speakers, change "
        "UAR by": gains([*EXPERTS, *ENCODER]),
    }
    lines = [f"- {claim} {numbers}.\n" for claim, numbers in answers.items() if numbers]
    return (
        "".join(lines)
        or "Not known yet: no scores of the present code in `figures/` (`ser run`, `make publish`, `make readme`).\n"
    )


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
            else f"{rate:,.{0 if rate >= 10 else 1}f} {row['unit']} per second"
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
TABLES: dict[str, Callable[[Path], str]] = {
    "findings": findings, "results": results_table, "scores": scores_table, "bench": bench_table,
}  # fmt: skip


def update(page: Path, figures: Path = REPOSITORY / "figures") -> bool:
    """Put the tables between their markers in a page; returns whether that changed the file."""
    before = page.read_text(encoding="utf-8")
    after = BLOCK.sub(lambda match: match[1] + TABLES[match[2]](figures) + match[3], before)
    if after != before:
        page.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    for name in PAGES:
        print(name, "updated" if update(REPOSITORY / name) else "was up to date")
