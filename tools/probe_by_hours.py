"""Probe the snapshots of a pre-training run: makes `probe_by_hours.csv` and the table in the card beside this file.

    .venv/bin/python tools/probe_by_hours.py RUN HOURS nemo=DIR ravdess=DIR

RUN is the folder that `ser pretrain` wrote, and HOURS what its `start` had heard before (0 for a first stage): rows up to
there stay. Every second speaker of each corpus is asked (in order of their names), at
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


#: What `encoder` says of rows that are no snapshot of a run.
NAMES = {"wav2vec2-nano-random": "random weights", "log-mel": "log-mel"}


def main(run: Path, before: float, **folders: str) -> None:
    """Write the table."""
    table = pd.read_csv(HERE / "probe_by_hours.csv")
    kept = table[table.hours.isna() | (table.hours <= before)] if before else table[:0]
    layer = encoders.load("wav2vec2-nano").recommended_layer
    facts = json.loads((run / "training.json").read_text())
    stages = sorted((before + float(path.name[:-1]), str(path)) for path in (run / "snapshots").glob("*h"))
    if before:  # a later stage begins where the one before ended; its first hours add little
        stages = [(hours, path) for hours, path in stages if hours >= 1.2 * before]
    else:
        stages[:0] = [(None, "wav2vec2-nano-random"), (None, "log-mel")]
    stages.append((before + facts["hours_heard"], str(run)))
    rows = []
    for corpus, folder in folders.items():
        clips = corpora.load(corpus, folder)
        half = clips[clips.speaker.isin(sorted(clips.speaker.unique())[::2])]
        asked = corpora.thin(half, 60)
        whole, folds = audio.cut_segments(asked, seconds=None), evaluation.folds(asked)
        voice = asked.set_index("clip").speaker[whole["clip"]].to_numpy()
        for hours, name in stages:
            with tempfile.TemporaryDirectory() as cache:
                if name == "log-mel":
                    frames = features.log_mel(asked, whole, cache=cache).transpose(0, 2, 1)  # frames before bands
                else:
                    frames = features.extract(asked, whole, encoders.load(name), layers=(layer,), bins=32, cache=cache)
                X = features.pooled(frames)  # noqa: N806
            for condition, values in {"global": X, "per speaker": features.normalise_by_speaker(X, voice)}.items():
                judged = evaluation.cross_validate(
                    models.LinearProbe(), values, whole, asked, folds=folds, system=condition, progress=False
                )
                uar = evaluation.scores(judged).set_index("metric").loc["uar"]
                rows.append({
                    "hours": hours, "encoder": NAMES.get(name, "snapshot"), "corpus": corpus, "layer": layer,
                    "condition": condition, "value": uar.value, "low": uar.low, "high": uar.high, "clips": len(asked),
                    "speakers": asked.speaker.nunique(),
                })  # fmt: skip
                print(rows[-1], flush=True)
    made = pd.concat([kept, pd.DataFrame(rows).round(4)]).round({"hours": 3})
    made = made.sort_values(["corpus", "hours"], kind="stable", na_position="first")
    made.to_csv(HERE / "probe_by_hours.csv", index=False)
    above, rest = CARD.read_text(encoding="utf-8").split(BEGIN)
    CARD.write_text(above + BEGIN + "\n" + card_table() + END + rest.split(END)[1], encoding="utf-8")


def card_table() -> str:
    """Table of the card, from `probe_by_hours.csv`."""
    table = pd.read_csv(HERE / "probe_by_hours.csv")
    table["stage"] = [row.encoder if pd.isna(row.hours) else f"{row.hours:g} h heard" for row in table.itertuples()]
    columns = list(table.groupby(["corpus", "condition"], sort=False).groups)
    lines = ["| UAR in % | " + " | ".join(f"{corpus}, {condition}" for corpus, condition in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for stage, rows in table.groupby("stage", sort=False):
        rows = rows.set_index(["corpus", "condition"])
        cells = [rows.loc[column, ["value", "low", "high"]].astype(float) * 100 for column in columns]
        texts = [f"{cell.value:.1f} [{cell.low:.1f}, {cell.high:.1f}]" for cell in cells]
        about = " (first layer started as band-pass filters)" if stage == "0 h heard" else ""
        lines.append(f"| {stage}{about} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), **dict(argument.split("=", 1) for argument in sys.argv[3:]))
