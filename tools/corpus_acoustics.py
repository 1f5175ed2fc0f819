"""Measure how much emotion and speaker move the acoustics of corpora: the table of the demo corpus's data card.

    .venv/bin/python tools/corpus_acoustics.py demo nemo=DIR ravdess=DIR

No classifier is trained or scored here. Clips are cut to the speech between their first and last active frame; most
measures are eGeMAPS functionals (Eyben et al. 2016) of that stretch. Needs about a tenth of a second per clip.
"""

from __future__ import annotations

import argparse
from functools import cache

import numpy as np
import pandas as pd

from ser_utils import audio, corpora

#: The emotions that ShEMO, nEMO and RAVDESS share: others would make effects look larger.
EMOTIONS = ("anger", "fear", "happiness", "neutral", "sadness", "surprise")
HOP = 160  # 10 ms at 16 kHz

#: Measures of `measure`, and the functional of eGeMAPSv02 that each one is; None where it is computed here.
MEASURES = {
    "loudness": None,  # mean level of active frames [dB]
    "loudness variation": "loudness_sma3_stddevNorm",
    "F0": "F0semitoneFrom27.5Hz_sma3nz_percentile50.0",
    "F0 range": "F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2",
    "F0 slope": None,  # of a line through the clip [semitones from start to end]
    "final rise": None,  # median F0 of the last fifth minus that of the rest [semitones]
    "spectral tilt": "alphaRatioV_sma3nz_amean",
    "HNR": "HNRdBACF_sma3nz_amean",
    "jitter": "jitterLocal_sma3nz_amean",
    "shimmer": "shimmerLocaldB_sma3nz_amean",
    "H1-H2": "logRelF0-H1-H2_sma3nz_amean",
    "F1": "F1frequency_sma3nz_amean",
    "F2": "F2frequency_sma3nz_amean",
    "F3": "F3frequency_sma3nz_amean",
    "rate": "VoicedSegmentsPerSec",
    "loudness peaks": "loudnessPeaksPerSec",
    "tempo": None,  # letters per second of active speech [octaves]
    "pauses": None,  # share of frames without sound, inside the speech
}
#: The columns of `card_table`: keys of `shares`.
COLUMNS = ("emotion", "own way", "speaker", "spread")


@cache
def extractor(level: str):
    """Give openSMILE for eGeMAPSv02 at a level, "Functionals" or "LowLevelDescriptors"."""
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel[level])


def measure(path: str, text: str) -> dict[str, float]:
    """Measure one recording of a spoken text: every entry of `MEASURES`, NaN where F0 is missing for it."""
    wave = audio.read(path)
    frames = wave[: wave.size // HOP * HOP].reshape(-1, HOP)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    active = level > max(np.percentile(level, 95) - 30, -65)
    first, last = np.flatnonzero(active)[[0, -1]]
    speech = wave[first * HOP : (last + 1) * HOP]
    speech = np.tile(speech, int(np.ceil(8000 / speech.size)))  # openSMILE needs some frames
    row = extractor("Functionals").process_signal(speech, audio.SAMPLE_RATE).iloc[0]
    pitch = extractor("LowLevelDescriptors").process_signal(speech, audio.SAMPLE_RATE)["F0semitoneFrom27.5Hz_sma3nz"]
    pitch = pitch.to_numpy()
    voiced = np.flatnonzero(pitch > 0)
    line = {name: row[functional] if functional else np.nan for name, functional in MEASURES.items()}
    line["loudness"] = np.mean(level[active])
    line["pauses"] = 1 - np.mean(active[first : last + 1])
    line["tempo"] = np.log2(len(text.replace(" ", "")) / (active.sum() * HOP / audio.SAMPLE_RATE))
    if voiced.size <= 20:
        return line | dict.fromkeys(("F0", "F0 range", "spectral tilt", "HNR", "jitter", "shimmer", "H1-H2"), np.nan)
    progress = (voiced - voiced[0]) / (voiced[-1] - voiced[0])
    end = progress > 0.8
    line["F0 slope"] = np.polyfit(progress, pitch[voiced], 1)[0]
    line["final rise"] = np.median(pitch[voiced][end]) - np.median(pitch[voiced][~end])
    return line


def measured(clips: pd.DataFrame) -> pd.DataFrame:
    """Measure clips: one row per clip, `clip`, `speaker`, `emotion` and the measures."""
    rows = pd.DataFrame([measure(clip.path, clip.text) for clip in clips.itertuples()])
    return pd.concat([clips[["clip", "speaker", "emotion"]].reset_index(drop=True), rows], axis=1)


def sample(clips: pd.DataFrame, count: int = 600) -> pd.DataFrame:
    """Take so many clips in the shared emotions, as even over speakers and emotions as can be, by a fixed seed."""
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
        `emotion`: eta squared, the share of the variance around the speakers' means that emotion explains (speaker
        and emotion fitted together); `own way`: what emotion by speaker explains beyond that, corrected for chance;
        `speaker`: share of speakers in the whole variance; `spread`: standard deviation of clips of one speaker and
        one emotion.
    """
    table = table[["speaker", "emotion", name]].dropna()
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
    return {
        "emotion": 1 - rest / within,
        "own way": own / within,
        "speaker": 1 - within / whole,
        "spread": noise**0.5,
    }


def card_table(tables: dict[str, pd.DataFrame]) -> str:
    """Give the Markdown table of the data card: one row per measure, in every cell one value per measured corpus."""
    head = [f"{column}: {' / '.join(tables)}" for column in COLUMNS]
    rows = [["measure", *head], ["---"] * (len(head) + 1)]
    for measure in MEASURES:
        found = [shares(table, measure) for table in tables.values()]
        cells = [[f"{share[column]:{'.3g' if column == 'spread' else '.2f'}}" for share in found] for column in COLUMNS]
        rows.append([measure, *map(" / ".join, cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", nargs="+", metavar="NAME[=DIR]")
    tables = {}
    for entry in parser.parse_args().corpora:
        name, _, folder = entry.partition("=")
        clips = corpora.load(name, folder or None)
        tables[name] = measured(clips if name == "demo" else sample(clips))
    print(card_table(tables))


if __name__ == "__main__":
    main()
