"""Do predictions stay the same with another microphone, line or room, and do they suit all groups of speakers?

Tests and thresholds are those of audEERING's public list for categories of emotion (Derington et al. 2023, arXiv
2312.06270; audeering/ser-tests, `test/emotion/*.yaml`), but most of our small changes are larger than theirs: gain of 2
dB, up to 1000 samples cut off, noise at 35 to 45 dB.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
from scipy import signal

from ser_utils import SerError, audio
from ser_utils.evaluation.intervals import Estimate, confusions_by_unit, difference, interval, uar, weighted

#: Largest loss of UAR under a perturbation, and largest distance of a group's UAR from that of all speakers.
LOSS, GAP = 0.05, 0.075


class Perturbation(NamedTuple):
    """A change of a waveform, and which share of predictions must not change.

    `change` takes a waveform of shape (samples,), its rate in Hz and a `numpy.random.Generator`, and returns another
    waveform.
    """

    change: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
    unchanged: float


def _noise(wave, rate, rng, *, snr):
    noise = rng.standard_normal(wave.size)
    return wave + noise * np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-snr / 20)


def _telephone(wave, rate, rng):
    return signal.sosfilt(signal.butter(4, (300, 3400), "bandpass", fs=rate, output="sos"), wave)


def _coded(wave, rate, rng, **settings):
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), rate, **settings)
    file.seek(0)
    return soundfile.read(file)[0]


def _room(wave, rate, rng):
    """Direct sound, and as much energy in noise that decays by 60 dB in half a second (Polack 1988)."""
    tail = rng.standard_normal(rate // 2) * np.logspace(0, -3, rate // 2)
    response = np.append(1, tail / np.linalg.norm(tail)) / np.sqrt(2)
    return signal.fftconvolve(wave, response)[: wave.size]


def _without(wave, rate, rng, *, first):
    """Half a second less, or half of what is there, at the beginning or at the end."""
    cut = min(rate // 2, wave.size // 2)
    return wave[cut:] if first else wave[: wave.size - cut]


def _resampled(wave, rate, rng):
    """To 44.1 kHz and back with SciPy's filters, which attenuate the highest band more than those of soxr do."""
    return signal.resample_poly(signal.resample_poly(wave, 44_100, rate), rate, 44_100)


#: The perturbations by name, in the order of tables.
PERTURBATIONS: dict[str, Perturbation] = {
    "white noise, 20 dB": Perturbation(partial(_noise, snr=20), 0.9),
    "white noise, 10 dB": Perturbation(partial(_noise, snr=10), 0.9),
    "white noise, 0 dB": Perturbation(partial(_noise, snr=0), 0.9),
    "telephone band": Perturbation(_telephone, 0.5),
    "8-bit mu-law": Perturbation(partial(_coded, format="WAV", subtype="ULAW"), 0.95),
    "MP3, lowest rate": Perturbation(partial(_coded, format="MP3", compression_level=0.99), 0.95),
    "Opus, lowest rate": Perturbation(partial(_coded, format="OGG", subtype="OPUS", compression_level=1.0), 0.95),
    "reverberation, 0.5 s": Perturbation(_room, 0.8),
    "12 dB louder": Perturbation(lambda wave, rate, rng: wave * 10 ** (12 / 20), 0.95),
    "12 dB softer": Perturbation(lambda wave, rate, rng: wave * 10 ** (-12 / 20), 0.95),
    "first half second cut off": Perturbation(partial(_without, first=True), 0.95),
    "last half second cut off": Perturbation(partial(_without, first=False), 0.95),
    "another resampler": Perturbation(_resampled, 0.95),
    "5 % faster": Perturbation(lambda wave, rate, rng: signal.resample_poly(wave, 20, 21), 0.95),
    "5 % slower": Perturbation(lambda wave, rate, rng: signal.resample_poly(wave, 20, 19), 0.95),
}


def robustness(
    predict: Callable[[list[np.ndarray]], pd.DataFrame | list], clips: pd.DataFrame, *,
    tests: Mapping[str, Perturbation] = PERTURBATIONS, resamples: int = 10_000,
) -> pd.DataFrame:  # fmt: skip
    """Test a system on perturbed recordings, and on groups of speakers.

    Parameters
    ----------
    predict : callable
        Takes a list of waveforms at 16 kHz and returns a DataFrame with one row per waveform and one probability column
        per emotion, or what an audio-classification pipeline of transformers or an `EmotionRecognizer` returns.
    clips : DataFrame
        A clips table of speakers whom the system was not trained on: a few hundred clips, as all waveforms are in
        memory at once. UAR is also compared within groups of `gender` and `age` (divided at its median), where they are
        known.
    tests : mapping of str to Perturbation
        What is tried.

    Returns
    -------
    DataFrame
        One row for the recordings as they are (`clean`), per perturbation and per group: `test`; `unchanged`, the
        fraction of clips whose prediction stays, and `least`, its threshold; `change` in UAR (of `clean` UAR itself, of
        a group the distance from all speakers) with its 95 % interval over speakers (`low`, `high`) and `limit`, its
        threshold; `passed`; `speakers`; `clips`. What does not apply is NaN.

    Raises
    ------
    SerError
        If the system does not return one row per waveform.
    """
    whole = audio.cut_segments(clips, seconds=None)
    waves = list(audio.read_segments(clips, whole))
    facts = clips.set_index("clip").loc[whole["clip"]]
    units, speakers = pd.factorize(facts["speaker"])
    true, emotions = pd.factorize(facts["emotion"])
    everyone = np.ones(len(facts), bool)

    def decided(changed: list[np.ndarray]) -> np.ndarray:
        answer = predict(changed)
        if isinstance(answer, list):
            answer = pd.DataFrame([{one["label"]: one["score"] for one in scores} for scores in answer])
        if len(answer) != len(waves):
            given = f"the system returned {len(answer)} rows for {len(waves)} waveforms"
            raise SerError(f"{given}: one per waveform is needed")
        return answer.columns.to_numpy()[answer.to_numpy().argmax(1)]

    def score(predicted: np.ndarray, rows: np.ndarray = everyone) -> Estimate:
        said = np.where(predicted == facts["emotion"], true, len(emotions))  # all that is wrong as one class
        counts = confusions_by_unit(units[rows], true[rows], said[rows], len(speakers), len(emotions) + 1)
        return weighted(counts[None], uar)

    def row(test: str, estimate: Estimate, rows: np.ndarray = everyone, **more: object) -> dict:
        (change,), (low,), (high,) = interval(estimate, len(speakers), resamples=resamples)
        size = {"speakers": facts["speaker"][rows].nunique(), "clips": int(rows.sum())}
        return {"test": test, "unchanged": np.nan, "least": np.nan, "change": change, "low": low, "high": high,
                "limit": np.nan, "passed": None, **more, **size}  # fmt: skip

    clean = decided(waves)
    before = score(clean)
    found = [row("clean", before)]
    for name, test in tests.items():
        rng = np.random.default_rng(0)
        now = decided([np.asarray(test.change(wave, audio.SAMPLE_RATE, rng), np.float32) for wave in waves])
        change, same = difference(score(now), before), float((now == clean).mean())
        found.append(row(name, change, unchanged=same, least=test.unchanged, limit=-LOSS))
        found[-1]["passed"] = same >= test.unchanged and found[-1]["change"] >= -LOSS
    for name, rows in _groups(facts):
        found.append(row(name, difference(score(clean, rows), before), rows, limit=-GAP))
        found[-1]["passed"] = abs(found[-1]["change"]) <= GAP
    return pd.DataFrame(found)


def _groups(facts: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Name and rows of each group of speakers, where there are at least two."""
    for column in ("gender", "age"):
        values = facts.get(column, pd.Series(index=facts.index, dtype=object))
        if pd.api.types.is_numeric_dtype(values):
            middle = values.median()
            values = (values > middle).map({True: f"above {middle:g}", False: f"up to {middle:g}"}).where(values.notna())
        for value in sorted(values.dropna().unique()) if values.nunique() > 1 else ():
            yield f"{column}: {value}", (values == value).to_numpy()
