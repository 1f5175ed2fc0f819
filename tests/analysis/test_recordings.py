"""Exploring a corpus: measures of files, an audit that finds what is planted and nothing else, and shortcuts."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_utils import analysis, corpora, features

RATE = 16_000


def tone(pitch, seconds=1.0, rate=RATE, amplitude=0.3):
    time = np.arange(int(seconds * rate)) / rate
    return (amplitude * sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6)) / 2).astype("float32")


def table(speakers=8, each=12, effect=None, seed=0):
    """Clips with a measure `x` that depends on the speaker strongly, and on the emotion by `effect`."""
    rng, rows = np.random.default_rng(seed), []
    for s in range(speakers):
        for emotion, shift in (effect or {"anger": 0.0, "neutral": 0.0, "sadness": 0.0}).items():
            rows += [(f"S{s}", emotion, 10.0 * s + shift + rng.normal()) for _ in range(each)]
    clips = pd.DataFrame(rows, columns=["speaker", "emotion", "x"])
    return clips.assign(clip=[f"c{i:04}" for i in range(len(clips))], gender=None, duration=1.0)


# --- thinning and examples -----------------------------------------------------


def test_thinning_keeps_every_speaker_and_deals_their_emotions_evenly():
    clips = table(speakers=3, each=10)
    kept = corpora.thin(clips, 6)
    assert kept.groupby("speaker").size().tolist() == [6, 6, 6]
    assert kept.groupby(["speaker", "emotion"]).size().eq(2).all()
    assert kept["clip"].is_monotonic_increasing
    assert corpora.thin(clips, None) is clips
    pd.testing.assert_frame_equal(kept, corpora.thin(clips, 6))


def test_a_rare_emotion_is_not_thinned_away():
    clips = pd.concat([table(1, 30), table(1, 2, {"fear": 0.0}).assign(clip=["r1", "r2"])])
    assert (corpora.thin(clips, 8)["emotion"] == "fear").sum() == 2


@pytest.mark.parametrize("total", [1, 30, 100, 10_000])
def test_an_even_share_keeps_as_many_clips_as_asked_for_and_not_more(total):
    clips = pd.DataFrame({"speaker": ["a"] * 5 + ["b"] * 40 + ["c"] * 90, "emotion": "anger"})
    clips["clip"] = clips.index.astype(str)
    share = corpora.even_share(clips, total)
    kept = corpora.thin(clips, share)
    assert len(kept) <= max(total, 3)
    assert len(kept) == len(clips) or len(corpora.thin(clips, share + 1)) > total


def test_examples_are_one_clip_an_emotion_of_one_speaker_near_the_wished_length():
    clips = table(speakers=2, each=3)
    clips.loc[clips["speaker"] == "S1", "duration"] = [0.3, 2.4, 9.0] * 3
    clips = pd.concat([clips[clips["speaker"] == "S1"], clips[clips["clip"] == "c0000"]])
    chosen = corpora.examples(clips, seconds=2.5)
    assert chosen["emotion"].tolist() == ["anger", "neutral", "sadness"]
    assert set(chosen["speaker"]) == {"S1"} and set(chosen["duration"]) == {2.4}


# --- recordings ----------------------------------------------------------------


@pytest.mark.parametrize("pitch", [110.0, 330.0])
def test_f0_of_a_tone_is_found_and_silence_has_none(pitch):
    contour = features.f0_contour(np.r_[tone(pitch, 0.8), np.zeros(RATE // 2, "float32")], RATE)
    heard = contour[(contour["time"] > 0.1) & (contour["time"] < 0.7)]["f0"]
    assert heard.median() == pytest.approx(pitch, rel=0.02)
    assert contour[contour["time"] > 0.95]["f0"].isna().all()


def test_level_peak_and_bandwidth_of_known_signals():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype("float32")
    seen = analysis.waveform_properties(noise, RATE)
    assert seen["level"] == pytest.approx(-20, abs=0.2) and seen["bandwidth"] == pytest.approx(8000, abs=20)
    # the same noise as if it had been recorded at 8 kHz: nothing above 4 kHz
    spectrum = np.fft.rfft(noise)
    spectrum[len(spectrum) // 2 :] = 0
    assert analysis.waveform_properties(np.fft.irfft(spectrum), RATE)["bandwidth"] == pytest.approx(4000, abs=150)
    assert analysis.waveform_properties(np.zeros(RATE, "float32"), RATE)["level"] == -120
    assert analysis.waveform_properties(np.zeros(3, "float32"), RATE)["bandwidth"] == 0


def test_files_are_measured_as_stored_and_equal_recordings_have_equal_content(tmp_path):
    signal = (32_767 * tone(200, 1.5, 22_050)).astype("int16")
    soundfile.write(tmp_path / "a.wav", signal, 22_050)
    soundfile.write(tmp_path / "b.flac", signal, 22_050)
    soundfile.write(tmp_path / "c.wav", tone(210, 1.5, 22_050), 22_050)
    clips = pd.DataFrame({"clip": list("abc"), "path": [str(tmp_path / f) for f in ("a.wav", "b.flac", "c.wav")]})
    seen = analysis.file_properties(clips)
    assert seen["sample_rate"].eq(22_050).all() and seen["duration"].tolist() == pytest.approx([1.5] * 3)
    assert seen["content"][0] == seen["content"][1] != seen["content"][2]


def test_flat_tops_are_found_and_a_loud_sine_is_not_one():
    sine = tone(200, 1, amplitude=0.8)
    assert analysis.waveform_properties(sine, RATE)["clipped"] == 0
    assert analysis.waveform_properties(np.clip(2.5 * sine, -0.9, 0.9), RATE)["clipped"] > 0.05


def test_the_audit_lists_each_problem_once_a_clip_and_nothing_else():
    good = {"duration": 2.0, "sample_rate": RATE, "level": -20.0, "peak": -3.0, "bandwidth": 8000.0, "clipped": 0.0, "active": 0.9}
    rows = [good | {"clip": f"good{i}", "content": f"g{i}"} for i in range(4)]
    rows += [good | {"clip": "twin1", "content": "t"}, good | {"clip": "twin2", "content": "t"},
             good | {"clip": "quiet", "content": "q", "level": -80.0, "active": 0.0},
             good | {"clip": "pause", "content": "p", "active": 0.1},
             good | {"clip": "cut", "content": "c", "clipped": 0.01},
             good | {"clip": "brief", "content": "b", "duration": 0.2},
             good | {"clip": "other", "content": "o", "sample_rate": 8000}]
    found = analysis.audit_files(pd.DataFrame(rows))
    assert found.groupby("problem")["clip"].agg(list).to_dict() == {
        "duplicate": ["twin1", "twin2"], "silent": ["quiet"], "mostly silence": ["pause"], "clipped": ["cut"], "too short": ["brief"],
        "other sample rate": ["other"]}
    assert found.set_index("clip")["detail"]["twin1"] == "equal samples: twin1, twin2"
    assert analysis.audit_files(pd.DataFrame(rows[:4])).empty


# --- shortcuts -----------------------------------------------------------------


def properties(clips, leak):
    rng = np.random.default_rng(0)
    neutral = (clips["emotion"] == "neutral").to_numpy()
    rate = np.where(neutral & leak, 22_050, 44_100)
    return pd.DataFrame({"clip": clips["clip"], "sample_rate": rate, "bandwidth": rate / 2.0, "peak": -3.0,
                         "duration": rng.uniform(1, 3, len(clips)), "level": rng.normal(-20, 2, len(clips))})


def test_resampling_closes_the_door_that_a_low_sample_rate_opens(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for speaker in "abcd":
        for number in range(24):
            emotion, rate = ("neutral", 22_050) if number % 2 else ("anger", 44_100)
            path = tmp_path / f"{speaker}{number}.wav"
            soundfile.write(path, 0.1 * rng.normal(size=rate // 2), rate)
            rows.append({"clip": path.stem, "path": str(path), "speaker": speaker, "emotion": emotion, "gender": None,
                         "text": None, "duration": 0.5, "sample_rate": rate})
    clips = pd.DataFrame(rows)
    doors = {"before": ("bandwidth",), "after": ("heard_bandwidth",)}
    score = analysis.shortcut_test(clips, analysis.file_properties(clips), shortcuts=doors, resamples=200)
    uar = score[score["metric"] == "uar"].set_index("system")
    assert uar.value["before"] == 1.0
    assert "after" not in uar.index or uar.low["after"] < 0.6


def test_a_planted_sample_rate_leak_is_found_and_its_absence_too():
    clips = table(speakers=6, each=15)
    leaky = analysis.shortcut_test(clips, properties(clips, True), resamples=200)
    clean = analysis.shortcut_test(clips, properties(clips, False), resamples=200)
    uar = leaky[leaky["metric"] == "uar"].set_index("system")
    assert uar.loc["sample rate", "value"] > 0.5 and uar.loc["sample rate", "low"] > 1 / 3
    assert uar.loc["duration", "value"] < 0.45
    assert "sample rate" not in set(clean["system"])  # it never varies
    recall = leaky[(leaky["system"] == "sample rate") & (leaky["metric"] == "recall_neutral")]["value"].item()
    assert recall == 1


@pytest.mark.real
def test_real_files_are_measured_as_their_headers_say(shared_data):
    clips = corpora.load("ravdess", shared_data / "ravdess").iloc[::200].reset_index(drop=True)
    seen = analysis.file_properties(clips)
    assert seen["sample_rate"].tolist() == clips["sample_rate"].tolist()
    np.testing.assert_allclose(seen["duration"], clips["duration"], atol=0.01)
    assert seen["level"].between(-90, -5).all() and seen["content"].is_unique
