"""The tables of `README.md`, made from committed files: scores (`figures/<corpus>/scores.csv`) and speed (`figures/bench.json`).

`make readme` writes each between two markers; tests compare what stands there with what the files say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ser_utils import SerError, plots

REPOSITORY = Path(__file__).resolve().parents[1]

#: Corpora in the order of the columns, with the heading of each.
COLUMNS = {
    "demo": "demo (synthetic)",
    "nemo": "nEMO (Polish, 6 emotions)",
    "ravdess": "RAVDESS (English, 8 emotions)",
    "emodb": "EMO-DB (German, 4 of 7 emotions)",
}

NAMES = {"demo": "the demo", "nemo": "nEMO", "ravdess": "RAVDESS", "emodb": "EMO-DB"}

BLOCK = re.compile(r"(<!-- (findings|results|bench):begin -->\n).*?(<!-- \2:end -->)", flags=re.DOTALL)


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


def results_table(figures: Path = REPOSITORY / "figures") -> str:
    """Clip-level UAR with its interval, one table per condition, the best of each column in bold, as Markdown.

    Parameters
    ----------
    figures : Path
        The folder that holds `<corpus>/scores.csv`.
    """
    scores, parts = read_scores(figures), []
    for words, ending in (("statistics of the training speakers", ""), ("statistics per speaker", "/speaker")):
        systems = plots.system_order(
            {s for table in scores.values() for s in table.index if s.endswith("/speaker") == bool(ending)}
        )
        heads = [f"{COLUMNS[c]}<br>{int(t.clips.max())} clips, {int(t.speakers.max())} speakers" for c, t in scores.items()]
        lines = [f"| UAR in %, {words} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for system in systems:
            cells = []
            for table in scores.values():
                if system not in table.index:
                    cells.append("–")
                    continue
                row, best = table.loc[system], table.value.reindex(systems).max()
                value = f"**{100 * row.value:.1f}**" if row.value == best else f"{100 * row.value:.1f}"
                cells.append(f"{value} [{100 * row.low:.1f}, {100 * row.high:.1f}]")
            name = plots.display_name(system.removesuffix("/speaker"), encoder="wav2vec2-nano")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def findings(figures: Path = REPOSITORY / "figures") -> str:
    """What came out, in four sentences with numbers from the corpora's scores."""
    uar = {corpus: 100 * table.value for corpus, table in read_scores(figures).items()}

    def per_corpus(number: Callable[[pd.Series], float]) -> str:
        return ", ".join(f"{number(values):+.1f} on {NAMES[corpus]}" for corpus, values in uar.items())

    def lead(values: pd.Series, ending: str) -> float:
        """Best encoder system minus best eGeMAPS system."""
        own = values[values.index.str.endswith("/speaker") == bool(ending)]
        trained = own[own.index.str.match(r"encoder-(lda|svm|segment-lda|cnn)(/|$)")]
        return trained.max() - own[own.index.str.startswith("egemaps-")].max()

    def normalising(values: pd.Series) -> float:
        pairs = [name for name in values.index if f"{name}/speaker" in values.index]
        return float((values[[f"{name}/speaker" for name in pairs]].to_numpy() - values[pairs].to_numpy()).mean())

    return "\n".join([
        "1. **Pre-training.** The segment CNN on the encoder minus the same CNN on the encoder before its first update, in points of UAR: "
        + per_corpus(lambda v: v["encoder-cnn"] - v["encoder-start-cnn"]) + ".",
        "2. **Against what experts chose.** The best system on the encoder minus the best on eGeMAPS, which need no training: "
        + per_corpus(lambda v: lead(v, "")) + "; with statistics per speaker " + per_corpus(lambda v: lead(v, "/speaker")) + ".",
        "3. **The paper's CNN.** The segment CNN minus LDA on the same segments: "
        + per_corpus(lambda v: v["encoder-cnn"] - v["encoder-segment-lda"]) + "; with statistics per speaker "
        + per_corpus(lambda v: v["encoder-cnn/speaker"] - v["encoder-segment-lda/speaker"]) + ".",
        "4. **The condition.** Statistics per speaker instead of those of the training speakers, averaged over all systems: "
        + per_corpus(normalising) + ".",
    ]) + "\n"  # fmt: skip


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
TABLES: dict[str, Callable[[Path], str]] = {"findings": findings, "results": results_table, "bench": bench_table}


def update(readme: Path = REPOSITORY / "README.md", figures: Path = REPOSITORY / "figures") -> bool:
    """Put the tables between their markers in the README; returns whether that changed the file."""
    before = readme.read_text(encoding="utf-8")
    after = BLOCK.sub(lambda match: match[1] + TABLES[match[2]](figures) + match[3], before)
    if after != before:
        readme.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    print("README.md updated" if update() else "README.md was up to date")
