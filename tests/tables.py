"""Clips and predictions tables for tests: small, drawn from a seed, with known properties."""

import numpy as np
import pandas as pd

from ser_utils import evaluation

SIX = ("anger", "fear", "happiness", "neutral", "sadness", "surprise")


def make_clips(speakers=10, each=4, emotions=SIX, texts=6, seed=0) -> pd.DataFrame:
    """`each` clips of every emotion by every speaker; texts, durations and genders have nothing to do with the emotion."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"s{speaker:02d}_{emotion}_{number}", f"s{speaker:02d}", emotion, ("female", "male")[speaker % 2])
        for speaker in range(speakers)
        for emotion in emotions
        for number in range(each)
    ]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "emotion", "gender"])
    clips["path"] = "missing/" + clips["clip"] + ".wav"
    clips["text"] = [f"sentence {k}" for k in rng.integers(texts, size=len(clips))]
    clips["duration"] = rng.uniform(1, 5, len(clips)).round(3)
    clips["sample_rate"] = 16_000
    return clips.sort_values("clip", ignore_index=True)


def make_predictions(clips, *, folds=None, system="a", seeds=(0,), skill=1.5, segments=None, seed=0) -> pd.DataFrame:
    """Predictions that are right more often the greater `skill` is; `segments` pieces a clip, or clip level if None."""
    rng = np.random.default_rng(seed)
    folds = evaluation.folds(clips) if folds is None else folds
    names = evaluation.emotions_of(pd.DataFrame(columns=sorted(set(clips["emotion"]))))
    clips = clips.reset_index(drop=True)
    tables = []
    for run in seeds:
        for piece in range(segments or 1):
            truth = pd.Index(names).get_indexer(clips["emotion"])
            logits = rng.normal(size=(len(clips), len(names))) + skill * np.eye(len(names))[truth]
            shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            table = clips[["clip", "speaker", "emotion"]].assign(system=system, seed=run, fold=clips["clip"].map(folds))
            if segments:
                table = table.assign(start=float(piece), end=float(piece + 1))
            tables.append(pd.concat([table, pd.DataFrame(shares, columns=names)], axis=1))
    return pd.concat(tables, ignore_index=True)
