"""What is right in the exercises of 11_other_corpora.ipynb; see `ser_utils.checks`."""

import numpy as np

from ser_utils import features
from ser_utils.checks import difference


def exercise_1(answer, toy):
    """Only two scores on the same test clips say what a change of corpus costs."""
    hints = {
        "A and B are two tests: compare two systems on the clips of B": toy["A", "A"] - toy["A", "B"],
        "that compares two directions: what does a system of B reach on B?": toy["B", "A"] - toy["A", "B"],
        "the sign is the wrong way round: lost points are positive": toy["A", "B"] - toy["B", "B"],
    }
    return difference(answer, toy["B", "B"] - toy["A", "B"], hints)


def exercise_2(answer, X, homes, speakers):
    """Statistics of a room need recordings of that room, but not of the test speaker in all moods."""
    right, voices = (features.normalise_by_speaker(X, names) for names in (homes, speakers))
    hints = {"these are statistics per speaker": voices, "nothing is standardised yet": np.asarray(X)}
    return difference(answer, right, hints, tolerance=1e-3)


def exercise_3(answer, wave, rate):
    """A test that changes one thing has a cause to name when it fails."""
    if not callable(answer):
        return f"a function of waveform, rate and random generator is needed, not {type(answer).__name__}"
    changed = np.asarray(answer(wave.copy(), rate, np.random.default_rng(0)))
    if changed.shape != wave.shape:
        return f"it returns the shape {changed.shape} for a waveform of shape {wave.shape}"
    share = 1 - np.isclose(changed, wave, atol=1e-6).mean()
    if not 0 < share < 0.2:
        return f"{share:.0%} of the samples are changed: only the loudest should be"
    return None if np.abs(changed).max() < np.abs(wave).max() else "the highest peak is as high as before"
