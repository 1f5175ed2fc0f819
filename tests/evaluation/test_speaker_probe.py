"""The probe for voices: it recognises speakers where features hold a voice, and is at chance where they do not."""

import numpy as np
import pandas as pd
import pytest

from ser_utils import SerError
from ser_utils.evaluation import tell_speakers


def table(n=240, dims=8, speakers=8, voice=0.0):
    """Clips and their vectors, which hold the speaker more strongly the greater `voice` is."""
    random = np.random.default_rng(0)
    X = random.normal(size=(n, dims)) + voice * random.normal(size=(speakers, dims))[np.arange(n) % speakers]
    speaker = np.resize([f"s{i}" for i in range(speakers)], n)
    return X, pd.DataFrame({"clip": [f"c{i}" for i in range(n)], "speaker": speaker, "text": None})


def test_speakers_are_recognised_where_there_is_a_voice_and_not_where_there_is_none():
    with_voice, without = (tell_speakers(*table(voice=voice), resamples=200) for voice in (3.0, 0.0))
    assert with_voice["value"] > 0.9
    assert without["value"] < 0.3 and without["low"] < without["chance"] + 0.1
    assert with_voice["chance"] == 1 / 8 and with_voice["speakers"] == 8
    assert without["low"] <= without["value"] <= without["high"]


def test_a_sentence_that_only_one_speaker_says_does_not_help_to_name_the_speaker():
    # Features are the sentence alone, and each speaker says sentences of their own: with other clips of the same
    # sentence in training the speaker would be known.
    random = np.random.default_rng(0)
    n = 240
    speaker, sentence = np.arange(n) % 6, np.arange(n) % 6 + 6 * (np.arange(n) // 6 % 4)
    X = 5 * random.normal(size=(24, 30))[sentence] + random.normal(size=(n, 30))
    clips = pd.DataFrame({"clip": range(n), "speaker": speaker.astype(str), "text": sentence.astype(str)})
    assert tell_speakers(X, clips, resamples=100)["value"] < 0.5
    assert tell_speakers(X, clips.assign(text=None), resamples=100)["value"] > 0.9


def test_speakers_with_too_few_clips_are_left_out_and_one_speaker_is_refused():
    X, clips = table()
    few = clips.assign(speaker=["lonely", *clips.speaker[1:]])
    assert tell_speakers(X, few, resamples=50)["speakers"] == 8
    with pytest.raises(SerError, match="1 speakers have 4 clips or more"):
        tell_speakers(X, clips.assign(speaker="one"))
