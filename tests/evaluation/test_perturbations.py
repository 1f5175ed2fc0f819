"""What perturbations do to a tone, and what the table says of systems whose behaviour is known."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_utils import SerError, evaluation

RATE = 16_000
TIME = np.arange(2 * RATE) / RATE
TONE = (0.1 * np.sin(2 * np.pi * 1000 * TIME)).astype("float32")


def changed(name, wave=TONE):
    result = np.asarray(evaluation.PERTURBATIONS[name].change(wave, RATE, np.random.default_rng(0)))
    assert result.ndim == 1 and np.isfinite(result).all()
    return result


def decibels(wave, reference):
    return 10 * np.log10(np.mean(np.square(wave)) / np.mean(np.square(reference)))


@pytest.mark.parametrize("snr", [20, 10, 0])
def test_noise_has_the_level_that_its_name_says(snr):
    noise = changed(f"white noise, {snr} dB") - TONE
    assert decibels(TONE, noise) == pytest.approx(snr, abs=0.01)
    assert abs(np.corrcoef(noise, TONE)[0, 1]) < 0.03


@pytest.mark.parametrize("hertz, loss", [(100, -30), (1000, 0), (6000, -20)])
def test_a_telephone_passes_its_band_only(hertz, loss):
    tone = np.sin(2 * np.pi * hertz * TIME)
    heard = decibels(changed("telephone band", tone), tone)
    assert heard == pytest.approx(0, abs=0.2) if loss == 0 else heard < loss


@pytest.mark.parametrize("name", ["8-bit mu-law", "MP3, lowest rate", "Opus, lowest rate", "another resampler", "telephone band"])
def test_a_line_keeps_level_and_timing(name):
    wave = np.convolve(np.random.default_rng(0).normal(size=RATE), np.ones(12) / 60, "same")  # within the telephone's band
    wave[: RATE // 2] *= 0.1
    heard = changed(name, wave)
    assert heard.size == wave.size
    delay = np.correlate(heard, wave, "full").argmax() - (wave.size - 1)
    assert abs(delay) <= 0.002 * RATE
    assert decibels(heard, wave) == pytest.approx(0, abs=3)
    assert not np.array_equal(heard, wave)


def test_another_resampler_differs_at_the_edge_of_the_band_only():
    low, high = (np.sin(2 * np.pi * hertz * TIME) for hertz in (1000, 7950))
    assert decibels(changed("another resampler", low), low) == pytest.approx(0, abs=0.05)
    assert decibels(changed("another resampler", high), high) < -3


def test_a_room_rings_after_the_sound_ended_and_keeps_the_level():
    noise = np.where(TIME < 1, np.random.default_rng(1).normal(size=TIME.size), 0)
    heard = changed("reverberation, 0.5 s", noise)
    assert heard.size == noise.size and decibels(heard, noise) == pytest.approx(0, abs=0.5)
    tail = [decibels(heard[RATE + a : RATE + b], noise[:RATE]) for a, b in ((0, 800), (4000, 4800), (8800, 9600))]
    assert tail[0] > -6 and tail[0] - 35 < tail[1] < tail[0] - 22 and tail[2] < -80  # 60 dB in half a second


@pytest.mark.parametrize("name, level", [("12 dB louder", 12), ("12 dB softer", -12)])
def test_gain_changes_the_level_only(name, level):
    assert decibels(changed(name), TONE) == pytest.approx(level, abs=0.01)
    assert np.corrcoef(changed(name), TONE)[0, 1] == pytest.approx(1)


def test_half_a_second_is_cut_off_and_a_short_clip_keeps_its_half():
    ramp = np.arange(2.0 * RATE)
    assert np.array_equal(changed("first half second cut off", ramp), ramp[RATE // 2 :])
    assert np.array_equal(changed("last half second cut off", ramp), ramp[: -RATE // 2])
    assert changed("last half second cut off", ramp[:1000]).size == changed("first half second cut off", ramp[:1000]).size == 500


@pytest.mark.parametrize("name, speed", [("5 % faster", 1.05), ("5 % slower", 0.95)])
def test_speed_changes_length_and_pitch_together(name, speed):
    heard = changed(name)
    assert TONE.size / heard.size == pytest.approx(speed, abs=0.001)
    peak = np.abs(np.fft.rfft(heard * np.hanning(heard.size))).argmax() * RATE / heard.size
    assert peak == pytest.approx(1000 * speed, abs=1)


def test_no_perturbation_changes_its_input_or_draws_twice_alike():
    kept = TONE.copy()
    for name, test in evaluation.PERTURBATIONS.items():
        changed(name)
        assert np.array_equal(TONE, kept), name
        assert 0 < test.unchanged < 1
    rng, noise = np.random.default_rng(0), evaluation.PERTURBATIONS["white noise, 0 dB"].change
    assert not np.array_equal(noise(TONE, RATE, rng), noise(TONE, RATE, rng))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Eight speakers with four tones each; anger is loud and sadness soft, men's sadness louder than women's anger."""
    folder, rows = tmp_path_factory.mktemp("tones"), []
    for speaker in range(8):
        for emotion, level in (("anger", 0.2), ("sadness", 0.02)):
            for take in range(2):
                name, gender = f"s{speaker}_{emotion}{take}", ("female", "male")[speaker % 2]
                wave = level * (10 if gender == "male" and take else 1) * TONE / TONE.max() / 4
                soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="FLOAT")
                rows.append((name, str(folder / f"{name}.wav"), f"s{speaker}", emotion, gender, 2.0, 20 + speaker))
    return pd.DataFrame(rows, columns=["clip", "path", "speaker", "emotion", "gender", "duration", "age"])


def loud_is_anger(waves):
    loud = np.array([np.square(wave).mean() > 0.0003 for wave in waves], dtype=float)
    return pd.DataFrame({"anger": loud, "sadness": 1 - loud})


def test_a_system_that_hears_only_the_level_fails_at_gain_and_passes_elsewhere(clips):
    unheard = ["white noise, 20 dB", "8-bit mu-law", "first half second cut off", "5 % slower"]
    tests = {name: evaluation.PERTURBATIONS[name] for name in [*unheard, "12 dB softer"]}
    table = evaluation.robustness(loud_is_anger, clips, tests=tests, resamples=200).set_index("test")
    assert list(table.index[1:6]) == list(tests)
    assert table.loc["clean", "change"] == pytest.approx(0.875)  # a quarter of the men's sadness is loud
    # Only the men's loudest anger stays above the threshold, and all sadness falls below it.
    assert table.loc["12 dB softer", ["unchanged", "change"]].tolist() == pytest.approx([0.5, -0.25])
    assert not table.loc["12 dB softer", "passed"] and table.loc["12 dB softer", "high"] < 0
    for same in unheard:
        assert table.loc[same, "unchanged"] == 1 and table.loc[same, "change"] == 0 and table.loc[same, "passed"]
        assert table.loc[same, "low"] == table.loc[same, "high"] == 0


def test_predictions_that_all_change_fail_although_uar_stays(clips):
    def sign(waves):
        up = np.array([wave[1] > 0 for wave in waves], dtype=float)
        return pd.DataFrame({"anger": up, "sadness": 1 - up})

    turned = evaluation.Perturbation(lambda wave, rate, rng: -wave, unchanged=0.5)
    row = evaluation.robustness(sign, clips, tests={"turned": turned}, resamples=50).loc[1]
    assert row["unchanged"] == row["change"] == 0 and not row["passed"]


def test_groups_are_compared_with_all_speakers(clips):
    table = evaluation.robustness(loud_is_anger, clips, tests={}, resamples=200).set_index("test")
    assert list(table.index) == ["clean", "gender: female", "gender: male", "age: above 23.5", "age: up to 23.5"]
    assert table.loc["gender: female", "change"] == pytest.approx(0.125) and table.loc["gender: male", "change"] == pytest.approx(-0.125)
    assert not table.loc["gender: female", "passed"] and table.loc["age: above 23.5", "passed"]
    assert table.loc["gender: male", ["speakers", "clips"]].tolist() == [4, 16]
    unknown = evaluation.robustness(loud_is_anger, clips.assign(gender=None, age=None), tests={}, resamples=200)
    assert list(unknown["test"]) == ["clean"]


def test_the_answers_of_a_transformers_pipeline_are_understood(clips):
    def pipeline(waves):
        probabilities = loud_is_anger(waves).to_dict("records")
        return [[{"label": label, "score": score} for label, score in sorted(row.items(), key=lambda i: -i[1])] for row in probabilities]

    pair = [evaluation.robustness(system, clips, tests={}, resamples=200) for system in (pipeline, loud_is_anger)]
    pd.testing.assert_frame_equal(*pair)


def test_a_label_that_the_corpus_lacks_is_a_mistake_and_no_error(clips):
    table = evaluation.robustness(lambda waves: pd.DataFrame({"joy": np.ones(len(waves))}), clips, tests={}, resamples=50)
    assert table.loc[0, "change"] == 0


def test_a_system_that_loses_recordings_is_refused(clips):
    with pytest.raises(SerError, match="31 rows for 32 waveforms"):
        evaluation.robustness(lambda waves: loud_is_anger(waves[1:]), clips)
