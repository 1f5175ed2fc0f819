"""Probe the snapshots of a pre-training run: makes `probe_by_hours.csv` and the table in the card beside this file.

    .venv/bin/python tools/probe_by_hours.py RUN nemo=DIR ravdess=DIR

RUN is the folder that `ser pretrain` wrote. Every second speaker of each corpus is asked (in order of their names), at
most 60 clips each; the other half of the speakers stays unheard, for whoever wants to choose something by this curve.
Whole clips, mean and deviation of the frames of the encoder's recommended layer, linear probe, speakers left out.
"""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd

from ser_utils import ROOT, audio, corpora, encoders, evaluation, features, models

HERE = ROOT / "ser_utils" / "encoders" / "weights" / "wav2vec2-nano"
CARD, BEGIN, END = HERE / "README.md", "<!-- probes:begin -->", "<!-- probes:end -->"


def main(run: Path, **folders: str) -> None:
    """Write the table."""
    layer = encoders.load("wav2vec2-nano").recommended_layer
    facts = json.loads((run / "training.json").read_text())
    stages = [(None, "wav2vec2-nano-random")]
    stages += sorted((float(path.name[:-1]), str(path)) for path in (run / "snapshots").glob("*h"))
    stages.append((facts["hours_heard"], str(run)))
    rows = []
    for corpus, folder in folders.items():
        clips = corpora.load(corpus, folder)
        half = clips[clips.speaker.isin(sorted(clips.speaker.unique())[::2])]
        asked = corpora.thin(half, 60)
        whole, folds = audio.cut_segments(asked, seconds=None), evaluation.folds(asked)
        voice = asked.set_index("clip").speaker[whole["clip"]].to_numpy()
        for hours, name in stages:
            with tempfile.TemporaryDirectory() as cache:
                frames = features.extract(asked, whole, encoders.load(name), layers=(layer,), bins=32, cache=cache)
                X = features.pooled(frames)  # noqa: N806
            for condition, values in {"global": X, "per speaker": features.normalise_by_speaker(X, voice)}.items():
                judged = evaluation.cross_validate(
                    models.LinearProbe(), values, whole, asked, folds=folds, system=condition, progress=False
                )
                uar = evaluation.scores(judged).set_index("metric").loc["uar"]
                rows.append({
                    "hours": hours, "encoder": "untrained" if hours is None else "snapshot", "corpus": corpus, "layer": layer,
                    "condition": condition, "value": uar.value, "low": uar.low, "high": uar.high, "clips": len(asked),
                    "speakers": asked.speaker.nunique(),
                })  # fmt: skip
                print(rows[-1], flush=True)
    pd.DataFrame(rows).round(4).to_csv(HERE / "probe_by_hours.csv", index=False)
    before, rest = CARD.read_text(encoding="utf-8").split(BEGIN)
    CARD.write_text(before + BEGIN + "\n" + card_table() + END + rest.split(END)[1], encoding="utf-8")


def card_table() -> str:
    """Table of the card, from `probe_by_hours.csv`."""
    table = pd.read_csv(HERE / "probe_by_hours.csv")
    stages = table.hours.drop_duplicates().sort_values(na_position="first")
    names = {hours: f"{hours:g} h heard" for hours in stages} | {
        0.0: "0 h heard (first layer started as band-pass filters)"
    }
    columns = list(table.groupby(["corpus", "condition"], sort=False).groups)
    lines = ["| UAR in % | " + " | ".join(f"{corpus}, {condition}" for corpus, condition in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for hours in stages:
        rows = table[table.hours.isna() if pd.isna(hours) else table.hours == hours].set_index(["corpus", "condition"])
        cells = [rows.loc[column, ["value", "low", "high"]].astype(float) * 100 for column in columns]
        texts = [f"{cell.value:.1f} [{cell.low:.1f}, {cell.high:.1f}]" for cell in cells]
        lines.append(f"| {'untrained twin' if pd.isna(hours) else names[hours]} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), **dict(argument.split("=", 1) for argument in sys.argv[2:]))
