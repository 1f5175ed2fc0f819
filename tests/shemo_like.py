"""Make sound in ShEMO's shape: its file names, durations and sample rates, with the demo corpus's synthetic voices in them.

    python tests/shemo_like.py ../shared/data/shemo_metadata OUT [--clips 300]

ShEMO itself is not here; its metadata are. What they tell is kept, so that parsing, folds, the sample-rate shortcut, memory and
time are tested at true scale. Scores on it say nothing.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from ser_utils import audio, corpora

NOISE = 10 ** (-55 / 20)  # of a room, as wide as the file's band: what tells 22.05 from 44.1 kHz


def make(metadata: Path, out: Path, *, clips: int | None = None, seed: int = 0, progress: bool = False) -> pd.DataFrame:
    """Write recordings of ShEMO's names and lengths to `out/female`, `out/male`, with its two JSONs beside them.

    Parameters
    ----------
    metadata : Path
        Folder with `audio_files.csv` (columns file, sample_rate, duration), `shemo.json` and `modified_shemo.json`.
    out : Path
    clips : int, optional
        A sample of so many names, drawn evenly over speakers and emotions; all 3000 when left out.
    seed : int
    progress : bool

    Returns
    -------
    DataFrame
        What was written: `file, sample_rate, duration`. Where the metadata do not know a duration or a rate, another file's
        stand in.
    """
    rng = np.random.default_rng(seed)
    table = pd.read_csv(metadata / "audio_files.csv")
    names = table["file"].str.extract(r"/(?P<speaker>[FM]\d\d)(?P<code>[A-Z])\d\d")
    if clips is not None:
        turn = names.groupby(["speaker", "code"]).cumcount()
        table = table.loc[turn.sort_values(kind="stable").index[:clips]].sort_index()
        names = names.loc[table.index]
    known = table.dropna()
    for column in ("sample_rate", "duration"):
        gaps = table[column].isna()
        table.loc[gaps, column] = rng.choice(known[column], gaps.sum())
    voices = corpora.load("demo")
    code_of = {"anger": "A", "fear": "F", "happiness": "H", "neutral": "N", "sadness": "S", "surprise": "W"}
    by_code = dict(list(voices.groupby([voices["gender"].str[0].str.upper(), voices["emotion"].map(code_of)])))
    for row, speaker, code in tqdm(
        zip(table.itertuples(), names["speaker"], names["code"], strict=True), total=len(table), disable=not progress
    ):
        said = by_code[speaker[0], code]
        # A voice of its own for each speaker: always the same demo voice where it knows the emotion, at a speed of its own.
        own = np.random.default_rng(int(speaker[1:]) + 100 * (speaker[0] == "F"))
        mine = said[said["speaker"] == own.choice(sorted(set(voices["speaker"])))]
        sound, rate = soundfile.read(
            (mine if len(mine) else said).sample(1, random_state=rng.integers(2**31)).path.iloc[0]
        )
        target, samples = int(row.sample_rate), round(row.duration * row.sample_rate)
        pace = own.uniform(0.9, 1.1)  # pitch and resonances move with it
        wave = audio.load_librosa().resample(sound, orig_sr=rate * pace, target_sr=target, res_type="soxr_mq")
        wave = np.resize(wave, samples) + NOISE * own.uniform(0.5, 2) * rng.normal(size=samples)
        file = out / row.file
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, wave.clip(-1, 1), target)
    for name in ("shemo.json", "modified_shemo.json"):
        shutil.copy(metadata / name, out / name)
    return table.reset_index(drop=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metadata", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int)
    options = parser.parse_args()
    written = make(options.metadata, options.out, clips=options.clips, progress=True)
    print(f"{len(written)} recordings, {written['duration'].sum() / 3600:.2f} hours in {options.out}")
