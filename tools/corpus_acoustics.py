"""Measure how much emotion and speaker move the acoustics of corpora: the table that the demo corpus was fitted to.

    .venv/bin/python tools/corpus_acoustics.py demo nemo=DIR ravdess=DIR

prints it for the demo card. Nothing here trains or scores a classifier. Clips are cut to the speech between their first
and last active frame; most measures are eGeMAPS functionals (Eyben et al. 2016) of that stretch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ser_utils import audio, corpora

#: The emotions that ShEMO, nEMO and RAVDESS share: others would make effects look larger.
EMOTIONS = ("anger", "fear", "happiness", "neutral", "sadness", "surprise")
HOP = 160  # 10 ms at 16 kHz

#: Measure: (functional of eGeMAPSv02, or None where `measure` computes it; unit).
MEASURES = {
    "loudness": (None, "dB"),
    "loudness variation": ("loudness_sma3_stddevNorm", ""),
    "F0": ("F0semitoneFrom27.5Hz_sma3nz_percentile50.0", "semitones"),
    "F0 range": ("F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2", "semitones"),
    "F0 slope": (None, "semitones"),
    "final rise": (None, "semitones"),
    "spectral tilt": ("alphaRatioV_sma3nz_amean", "dB"),
    "slope to 500 Hz": ("slopeV0-500_sma3nz_amean", "dB/Hz"),
    "H1-H2": ("logRelF0-H1-H2_sma3nz_amean", "dB"),
    "HNR": ("HNRdBACF_sma3nz_amean", "dB"),
    "jitter": ("jitterLocal_sma3nz_amean", ""),
    "shimmer": ("shimmerLocaldB_sma3nz_amean", "dB"),
    "F1": ("F1frequency_sma3nz_amean", "Hz"),
    "F2": ("F2frequency_sma3nz_amean", "Hz"),
    "F3": ("F3frequency_sma3nz_amean", "Hz"),
    "rate": ("VoicedSegmentsPerSec", "1/s"),
    "peaks": ("loudnessPeaksPerSec", "1/s"),
    "tempo": (None, "log2 letters/s"),
    "pauses": (None, "share"),
    "noise floor": (None, "dB"),
}


def measure(path: str, text: str | None, smiles: tuple) -> dict[str, float]:
    """Measure one recording: every entry of `MEASURES`, and the functionals by their own names."""
    functionals, descriptors = smiles
    wave = audio.read(path)
    frames = wave[: wave.size // HOP * HOP].reshape(-1, HOP)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    active = level > max(np.percentile(level, 95) - 30, -65)
    first, last = np.flatnonzero(active)[[0, -1]]
    speech = wave[first * HOP : (last + 1) * HOP]
    speech = np.tile(speech, int(np.ceil(8000 / speech.size)))  # openSMILE needs some frames
    row = functionals.process_signal(speech, audio.SAMPLE_RATE).iloc[0].to_dict()
    pitch = descriptors.process_signal(speech, audio.SAMPLE_RATE)["F0semitoneFrom27.5Hz_sma3nz"].to_numpy()
    voiced = np.flatnonzero(pitch > 0)
    line = {name: row[functional] for name, (functional, _) in MEASURES.items() if functional}
    line["loudness"] = float(np.mean(level[active]))
    line["pauses"] = 1 - float(np.mean(active[first : last + 1]))
    line["noise floor"] = float(np.percentile(level, 3))
    line["tempo"] = float(np.log2(len((text or "x" * 24).replace(" ", "")) / (active.sum() / 100)))
    line["F0 slope"] = line["final rise"] = np.nan
    if voiced.size > 20:
        progress = (voiced - voiced[0]) / (voiced[-1] - voiced[0])
        line["F0 slope"] = float(np.polyfit(progress, pitch[voiced], 1)[0])
        end = progress > 0.8
        line["final rise"] = float(np.median(pitch[voiced][end]) - np.median(pitch[voiced][~end]))
    else:
        line |= {name: np.nan for name in ("F0", "F0 range", "spectral tilt", "HNR", "jitter", "shimmer", "H1-H2")}
    return line | row


def measured(clips: pd.DataFrame) -> pd.DataFrame:
    """Measure clips: one row per clip, `clip`, `speaker`, `emotion`, `gender` and the columns of `measure`."""
    import opensmile

    levels = opensmile.FeatureLevel.Functionals, opensmile.FeatureLevel.LowLevelDescriptors
    smiles = tuple(opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, level) for level in levels)
    rows = [measure(clip.path, clip.text, smiles) for clip in clips.itertuples()]
    keys = clips[["clip", "speaker", "emotion", "gender"]].reset_index(drop=True)
    return pd.concat([keys, pd.DataFrame(rows)], axis=1)


def sample(clips: pd.DataFrame, count: int = 600) -> pd.DataFrame:
    """Take about so many clips in the shared emotions, as even over speakers and emotions as can be, by a fixed seed."""
    clips = clips[clips["emotion"].isin(EMOTIONS)].sample(frac=1, random_state=0)
    rank = clips.groupby(["speaker", "emotion"]).cumcount()
    return clips.assign(rank=rank).sort_values(["rank", "clip"]).head(count).drop(columns="rank").sort_values("clip")


def shares(table: pd.DataFrame, name: str) -> dict[str, float]:
    """Split the variance of one measure among emotion, speaker and the rest, every emotion weighing the same.

    Parameters
    ----------
    table : DataFrame
        From `measured`; missing values are left out.
    name : str
        Column.

    Returns
    -------
    dict
        `emotion`: eta squared within speakers, the share of the variance around the speakers' means that the emotion
        explains (speaker and emotion fitted together); `own way`: what emotion by speaker explains beyond, corrected
        for chance; `speaker`: share of speakers in the whole variance; `deviation`: standard deviation of clips of one
        speaker and one emotion; `between`: standard deviation of the speakers' means within a gender.
    """
    table = table[["speaker", "emotion", "gender", name]].dropna()
    weight = 1 / table.groupby("emotion")[name].transform("size").to_numpy(float)
    weight = weight / weight.sum()
    y = table[name].to_numpy(float)
    by_speaker = pd.get_dummies(table["speaker"], dtype=float).to_numpy()
    by_emotion = pd.get_dummies(table["emotion"], dtype=float).to_numpy()

    def explained(*terms: np.ndarray) -> tuple[float, np.ndarray]:
        root = np.sqrt(weight)[:, None]
        design = np.hstack(terms)
        fit = design @ np.linalg.lstsq(design * root, y * root[:, 0], rcond=None)[0]
        return float(weight @ (y - fit) ** 2), fit

    whole = float(weight @ (y - weight @ y) ** 2)
    within, _ = explained(by_speaker)
    rest, additive = explained(by_speaker, by_emotion)
    cell = table.groupby(["speaker", "emotion"])[name]
    size, clip_mean = cell.transform("size").to_numpy(), cell.transform("mean").to_numpy()
    noise = float(np.sum((y - clip_mean) ** 2) / max(len(y) - cell.ngroups, 1))
    chance = noise * float(weight @ (1 / size)) * (1 - (by_speaker.shape[1] + 5) / cell.ngroups)
    own = max(float(weight @ (clip_mean - additive) ** 2) - chance, 0)
    means = cell.mean().groupby("speaker").mean()
    gender = table.groupby("speaker")["gender"].first()
    return {
        "emotion": 1 - rest / within,
        "own way": own / within,
        "speaker": 1 - within / whole,
        "deviation": noise**0.5,
        "between": float((means - means.groupby(gender).transform("mean")).std()),
    }


def profile(table: pd.DataFrame, name: str) -> pd.Series:
    """Give the mean of every emotion minus the mean of all emotions, within speakers, in the measure's unit."""
    cells = table.groupby(["speaker", "emotion"])[name].mean().unstack()
    return (cells.sub(cells.mean(axis=1), axis=0)).mean()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", nargs="+", metavar="NAME[=DIR]")
    parser.add_argument("--clips", type=int, default=600, help="clips to measure of a corpus that is not the demo")
    parser.add_argument("--keep", type=Path, help="folder for the measures, one CSV per corpus")
    options = parser.parse_args()
    for entry in options.corpora:
        name, _, folder = entry.partition("=")
        clips = corpora.load(name, folder or None)
        table = measured(clips if name == "demo" else sample(clips, options.clips))
        if options.keep:
            table.to_csv(options.keep / f"{name}.csv", index=False)
        print(name, len(table), "clips", table["speaker"].nunique(), "speakers")
        print(pd.DataFrame({m: shares(table, m) for m in MEASURES}).T.round(3).to_string())


if __name__ == "__main__":
    main()
