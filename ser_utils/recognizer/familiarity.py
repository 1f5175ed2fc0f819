"""Is a recording like the training recordings? Level, treble and voicing, compared with their ranges.

A softmax adds up to one for any input. These properties reveal silence, noise, a telephone or music, but neither a
foreign language nor a child's voice.
"""

import numpy as np
import pandas as pd

from ser_utils import audio, features

#: What recordings are compared by: name of the property, words, unit.
PROPERTIES = {
    "level": ("its loud parts are at", "dB full scale"),
    "treble": ("the bands above 4 kHz lie at", "dB against those below 1.5 kHz"),
    "voiced": ("voiced frames among the loud ones:", "%"),
}
_MARGIN = {"level": 6.0, "treble": 6.0, "voiced": 10.0}  # beyond the training corpus's 1st and 99th percentile
_SILENCE = -70.0  # dB full scale: below what a 16-bit recording of a room holds
_MEASURED = 150  # clips of the training corpus that the ranges come from


def frame_properties(wave: np.ndarray) -> pd.DataFrame:
    """Level, treble and voicing of every frame of 20 ms of a waveform at 16 kHz, within -1 and 1.

    Returns
    -------
    DataFrame
        One row per frame: `energy` [dB full scale], `treble` [dB: mel bands above 4 kHz against those below 1.5 kHz]
        and `voiced` (bool: the normalised autocorrelation peaks above 0.5).
    """
    wave = np.asarray(wave, np.float32)
    measured = features.measure_frames(np.pad(wave, (0, max(0, features.STRIDE - wave.size))) * 32768)
    bands = measured["bands"]  # 20 mel bands; 10 log10 of power is 4.34 times its natural logarithm
    treble = 4.34 * (bands[:, 16:].mean(axis=1) - bands[:, 1:9].mean(axis=1))
    return pd.DataFrame({"energy": measured["energy"], "treble": treble, "voiced": measured["height"] > 0.5})


def recording_properties(frames: pd.DataFrame) -> dict[str, float]:
    """Level, treble and voicing of the sound in a recording, from its `frame_properties`.

    `level` [dB full scale] is the 90th percentile of the energy of frames above `audio.QUIET`, or of all where there
    are none; `treble` [dB] and `voiced` [%] are of the frames within 25 dB of that level.
    """
    sound = frames.loc[frames["energy"] > audio.QUIET, "energy"]
    level = float((sound if len(sound) else frames["energy"]).quantile(0.9))
    loud = frames[frames["energy"] > level - 25]
    return {"level": level, "treble": float(loud["treble"].mean()), "voiced": float(100 * loud["voiced"].mean())}


def usual_ranges(clips: pd.DataFrame) -> dict[str, list[float]]:
    """Ranges of the properties in a corpus, `{property: [low, high]}`, measured on up to 150 clips of a clips table.

    The 1st and the 99th percentile of clips that are not silent, with a margin; and `seconds`, the shortest and longest
    clip.
    """
    chosen = clips.sample(min(len(clips), _MEASURED), random_state=0)
    table = pd.DataFrame([recording_properties(frame_properties(audio.read(clip))) for clip in chosen.itertuples()])
    table = table[table["level"] > _SILENCE]
    low, high = table.quantile(0.01), table.quantile(0.99)
    ranges = {name: [round(float(low[name] - m), 1), round(float(high[name] + m), 1)] for name, m in _MARGIN.items()}
    return ranges | {"seconds": [round(float(end(clips["duration"])), 2) for end in (min, max)]}


def unusual_properties(measured: dict[str, float], usual: dict[str, list[float]]) -> list[str]:
    """In which properties a recording lies outside the `usual_ranges` of the training corpus, one reason each.

    `measured` are the `recording_properties` and, if it is known, the length as `seconds`.

    >>> usual = {"level": [-30, -10], "treble": [-40, -10], "voiced": [30, 90]}
    >>> unusual_properties({"level": -20.0, "treble": -55.0, "voiced": 60.0}, usual)
    ['the bands above 4 kHz lie at -55 dB against those below 1.5 kHz (trained on -40 to -10)']
    >>> unusual_properties({"level": -90.0, "treble": 0.0, "voiced": 0.0}, usual)
    ['silence (-90 dB full scale)']
    """
    if not measured["level"] > _SILENCE:
        return [f"silence ({measured['level']:.0f} dB full scale)"]
    found = []
    shortest = usual.get("seconds", [0.0])[0]
    if measured.get("seconds", np.inf) < shortest:
        found.append(f"it lasts {measured['seconds']:.2f} s (trained on {shortest:.2f} s and more)")
    for name, (words, unit) in PROPERTIES.items():
        low, high = usual[name]
        if not low <= measured[name] <= high:
            found.append(f"{words} {measured[name]:.0f} {unit} (trained on {low:.0f} to {high:.0f})")
    return found
