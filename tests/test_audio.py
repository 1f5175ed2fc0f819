"""Reading sound files, and cutting clips into segments."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from filelock import FileLock

from ser_utils import SerError, audio


def clips_of(**durations):
    return pd.DataFrame({"clip": list(durations), "duration": list(durations.values())})


def spans(segments):
    return [(row.start, row.end) for row in segments.itertuples()]


# ------------------------------------------------------------------------------------------------------ reading


def test_a_file_at_16_khz_is_read_as_it_is(write_tone):
    path = write_tone("a.wav")
    wave = audio.read(path)
    assert wave.dtype == np.float32 and wave.shape == (16_000,)
    np.testing.assert_allclose(wave, soundfile.read(path, dtype="float32")[0], atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 44_100, 48_000])
def test_a_tone_keeps_pitch_level_and_length_at_any_rate(tmp_path, rate):
    path = tmp_path / "tone.flac"
    time = np.arange(2 * rate) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 1000 * time), rate)
    wave = audio.read(path)
    assert wave.size == 32_000
    middle = wave[8_000:24_000]
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(8_000, 24_000) / 16_000)
    assert np.abs(middle - expected).max() < 2e-3


@pytest.mark.parametrize("rate", [7_919, 44_101, 47_999])
def test_an_odd_rate_takes_no_gigabytes_and_keeps_pitch_and_length(rate):
    time = np.arange(rate) / rate
    wave = audio.resample(np.sin(2 * np.pi * 440 * time).astype("f"), rate, 16_000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert wave.shape == (16_000,) and np.abs(wave - expected)[500:-500].max() < 1e-4


def test_what_16_khz_cannot_hold_does_not_fold_back(tmp_path):
    path = tmp_path / "whistle.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 9_000 * np.arange(48_000) / 48_000), 48_000)
    assert np.sqrt(np.mean(audio.read(path)[1_000:-1_000] ** 2)) < 0.5e-3  # 57 dB down


def test_another_rate_can_be_asked_for(write_tone):
    assert audio.read(write_tone("a.wav"), sample_rate=24_000).size == 24_000


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.tile([[0.5, -0.1]], (1000, 1)), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(path), 0.2, atol=1e-6)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_the_three_common_formats_give_the_same_length(write_tone, ending):
    assert audio.read(write_tone(f"a.{ending}", seconds=0.7)).size == 11_200


def test_silence_is_read_as_silence(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(500), 16_000)
    wave = audio.read(tmp_path / "silent.wav")
    assert wave.size == 500 and not wave.any()


def test_samples_that_are_not_numbers_become_silence_with_a_warning(tmp_path):
    broken = np.array([0.1, np.nan, np.inf, -np.inf, 0.2], dtype="float32")
    soundfile.write(tmp_path / "broken.wav", broken, 16_000, subtype="FLOAT")
    with pytest.warns(UserWarning, match=r"broken\.wav .* not numbers"):
        wave = audio.read(tmp_path / "broken.wav")
    np.testing.assert_allclose(wave, [0.1, 0, 0, 0, 0.2], atol=1e-7)


def test_a_file_of_one_sample_can_be_read_at_any_rate(tmp_path):
    soundfile.write(tmp_path / "click.wav", np.array([0.5]), 44_100)
    assert audio.read(tmp_path / "click.wav").size == 1


def test_unusable_files_are_named_in_one_line(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam")
    for name, reason in (
        ("empty.wav", "no samples"),
        ("letter.wav", "not readable"),
        ("gone.wav", "does not exist"),
    ):
        with pytest.raises(SerError, match=reason) as caught:
            audio.read(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------- activity


def spoken(*parts: tuple[float, float], noise: float = 0.0) -> np.ndarray:
    """Tones of (seconds, amplitude) one after the other."""
    random = np.random.default_rng(0)
    pieces = [a * np.sin(0.1 * np.pi * np.arange(round(s * 16_000))) for s, a in parts]
    wave = np.concatenate(pieces)
    return (wave + noise * random.normal(size=len(wave))).astype(np.float32)


def active(wave: np.ndarray) -> list[list[float]]:
    return audio.active_stretches(audio.frame_levels(wave)).round(2).tolist()


def test_the_level_of_a_frame_is_its_root_mean_square():
    levels = audio.frame_levels(np.r_[np.full(320, 0.1), np.zeros(320), np.full(80, 1.0)].astype(np.float32))
    np.testing.assert_allclose(levels, [-20, -200, 0], atol=1e-4)


def test_frames_are_active_within_30_db_of_the_loud_ones():
    wave = spoken((1.0, 0.5), (1.0, 0.5 * 10 ** (-28 / 20)), (1.0, 0.5 * 10 ** (-32 / 20)), (0.5, 0.5))
    assert active(wave) == [[0, 2], [3, 3.5]]


def test_how_loud_a_recording_is_does_not_matter_until_it_is_silence():
    wave = spoken((0.5, 1e-9), (0.5, 0.5), noise=1e-5)
    assert active(wave) == active(0.01 * wave) == [[0.5, 1.0]]
    assert active(1e-4 * wave) == [] == active(np.zeros(16_000, np.float32))  # -77 dB


def test_active_stretches_are_found_in_each_clip(tmp_path):
    for name, wave in {"a": spoken((0.5, 0), (0.5, 0.3), (0.4, 0), (0.6, 0.3)), "b": np.zeros(8000)}.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, 16_000)
    clips = clips_of(a=2.0, b=0.5).assign(path=lambda t: [str(tmp_path / f"{name}.wav") for name in t["clip"]])
    found = audio.activity(clips)
    assert found["clip"].tolist() == ["a", "a"]
    np.testing.assert_allclose(found[["start", "end"]], [[0.5, 1.0], [1.4, 2.0]], atol=0.021)


def test_silent_segments_are_left_out_and_a_clip_keeps_its_most_active_one():
    clips = clips_of(a=4.0, b=3.0)
    active = pd.DataFrame({"clip": ["a", "a", "b"], "start": [1.5, 3.0, 1.9], "end": [2.5, 3.2, 2.1]})
    segments = audio.cut_segments(clips, seconds=1.0, active=active)
    assert segments[["clip", "start", "active"]].values.tolist() == [["a", 1, 0.5], ["a", 2, 0.5], ["b", 1, 0.1]]
    assert segments.index.tolist() == [0, 1, 2]
    every = audio.cut_segments(clips, seconds=1.0, active=active, min_active=0)
    assert every["active"].tolist() == [0, 0.5, 0.5, 0.2, 0, 0.1, 0.1]
    assert (audio.cut_segments(clips, seconds=1.0)["active"] == 1).all()


def test_a_clip_without_any_sound_keeps_its_first_segment():
    none = pd.DataFrame({"clip": [], "start": [], "end": []})
    assert spans(audio.cut_segments(clips_of(a=3.0), seconds=1.0, active=none)) == [(0, 1)]


# ------------------------------------------------------------------------------------------------------ cutting


def test_a_clip_is_cut_end_to_end_and_its_last_piece_ends_with_it():
    segments = audio.cut_segments(clips_of(a=2.75), seconds=1.0)
    assert spans(segments) == [(0, 1), (1, 2), (1.75, 2.75)]
    assert (segments["padding"] == 0).all()


def test_a_short_rest_is_dropped_and_half_a_segment_is_kept():
    assert len(audio.cut_segments(clips_of(a=2.49), seconds=1.0)) == 2
    assert len(audio.cut_segments(clips_of(a=2.50), seconds=1.0)) == 3
    assert len(audio.cut_segments(clips_of(a=2.10), seconds=1.0, min_coverage=0.1)) == 3


def test_a_clip_of_whole_segments_has_no_piece_twice():
    for seconds, duration in ((1.0, 3.0), (0.1, 0.3), (0.25, 1.75), (0.7, 2.1)):
        segments = audio.cut_segments(clips_of(a=duration), seconds=seconds, min_coverage=0.0)
        assert len(segments) == round(duration / seconds)


def test_a_hop_makes_pieces_overlap_without_doubling_the_last():
    segments = audio.cut_segments(clips_of(a=2.0), seconds=1.0, hop=0.5)
    assert spans(segments) == [(0, 1), (0.5, 1.5), (1, 2)]
    segments = audio.cut_segments(clips_of(a=2.3), seconds=1.0, hop=0.5)
    np.testing.assert_allclose(spans(segments), [(0, 1), (0.5, 1.5), (1, 2), (1.3, 2.3)])


def test_a_clip_shorter_than_a_segment_is_kept_and_its_padding_recorded():
    segments = audio.cut_segments(clips_of(a=0.25, b=0.001), seconds=1.0)
    assert spans(segments) == [(0, 0.25), (0, 0.001)]
    np.testing.assert_allclose(segments["padding"], [0.75, 0.999])


def test_whole_clips_are_one_segment_each():
    segments = audio.cut_segments(clips_of(b=0.3, a=7.25), seconds=None)
    assert list(segments["clip"]) == ["a", "b"]
    assert spans(segments) == [(0, 7.25), (0, 0.3)]
    assert (segments["padding"] == 0).all()


def test_segments_are_ordered_by_clip_then_start_whatever_the_order_of_clips():
    segments = audio.cut_segments(clips_of(c=2.0, a=1.5, b=0.2), seconds=0.5)
    assert list(segments.columns) == ["clip", "start", "end", "padding", "active"]
    assert segments.index.equals(pd.RangeIndex(len(segments)))
    assert segments.sort_values(["clip", "start"]).index.equals(segments.index)


def test_every_segment_lies_in_its_clip_and_has_its_length():
    rng = np.random.default_rng(0)
    clips = pd.DataFrame({"clip": [f"{i:04d}" for i in range(2000)], "duration": rng.uniform(0.05, 9, 2000)})
    for seconds, hop in ((0.25, None), (1.0, 0.3), (3.0, 0.75), (0.5, 0.8)):
        segments = audio.cut_segments(clips, seconds=seconds, hop=hop)
        duration = segments["clip"].map(clips.set_index("clip")["duration"])
        assert set(segments["clip"]) == set(clips["clip"])
        assert (segments["start"] >= 0).all() and (segments["end"] <= duration).all()
        length = (segments["end"] - segments["start"]) / (1 - segments["padding"])
        np.testing.assert_allclose(length, seconds)
        assert not segments.duplicated(["clip", "start"]).any()
        assert ((segments["padding"] > 0) == (duration < seconds)).all()


@pytest.mark.parametrize(
    "options",
    [{"seconds": 0}, {"seconds": -1.0}, {"seconds": 1, "hop": 0}, {"seconds": float("nan")},
     {"seconds": 1, "min_coverage": 2}],
)  # fmt: skip
def test_impossible_lengths_are_refused(options):
    with pytest.raises(ValueError):
        audio.cut_segments(clips_of(a=1.0), **options)


# ------------------------------------------------------------------------------------------- reading the pieces


@pytest.fixture
def two_clips(write_tone):
    paths = [write_tone("long.wav", seconds=1.3), write_tone("short.wav", seconds=0.3, pitch=220)]
    return pd.DataFrame({"clip": ["long", "short"], "path": map(str, paths), "duration": [1.3, 0.3]})


def test_pieces_are_the_samples_of_their_place_in_the_file(two_clips):
    segments = audio.cut_segments(two_clips, seconds=0.5)
    pieces = list(audio.read_segments(two_clips, segments))
    wave = audio.read(two_clips["path"][0])
    assert [piece.shape for piece in pieces] == [(8_000,)] * len(segments)
    for piece, start in zip(pieces[:3], (0, 8_000, 12_800), strict=True):
        np.testing.assert_array_equal(piece, wave[start : start + 8_000])


def test_a_short_clip_is_repeated_until_it_fills_the_segment(two_clips):
    segments = audio.cut_segments(two_clips, seconds=1.0)
    piece = list(audio.read_segments(two_clips, segments))[-1]
    wave = audio.read(two_clips["path"][1])
    np.testing.assert_array_equal(piece, np.concatenate([wave, wave, wave, wave])[:16_000])


def test_pieces_follow_the_rows_of_the_table_in_any_order(two_clips):
    segments = audio.cut_segments(two_clips, seconds=0.5)
    shuffled = segments.sample(frac=1, random_state=3)
    pieces = list(audio.read_segments(two_clips, segments))
    for position, piece in zip(shuffled.index, audio.read_segments(two_clips, shuffled), strict=True):
        np.testing.assert_array_equal(piece, pieces[position])


def test_whole_clips_are_read_whole(two_clips):
    segments = audio.cut_segments(two_clips, seconds=None)
    assert [piece.size for piece in audio.read_segments(two_clips, segments)] == [20_800, 4_800]


@pytest.mark.parametrize("rate", [22_050, 24_000, 44_100])
@pytest.mark.parametrize("seconds", [0.25, 1 / 3, 1.0])
def test_pieces_have_one_length_after_resampling_too(write_tone, rate, seconds):
    rng = np.random.default_rng(1)
    rows = []
    for number in range(6):
        samples = int(rng.integers(2_000, 60_000))
        path = write_tone(f"{number}.wav", seconds=samples / rate, sample_rate=rate)
        rows.append({"clip": str(number), "path": str(path), "duration": samples / rate})
    clips = pd.DataFrame(rows)
    pieces = audio.read_segments(clips, audio.cut_segments(clips, seconds=seconds, hop=0.1))
    assert {piece.size for piece in pieces} == {round(seconds * 16_000)}


@pytest.mark.real
def test_real_recordings_are_read_at_the_length_their_table_says(shared_data):
    from ser_utils import corpora

    clips = corpora.load("nemo", shared_data / "nemo").iloc[::400]
    for row in clips.itertuples():
        wave = audio.read(row.path)
        assert abs(wave.size / 16_000 - row.duration) < 1e-3
        assert 0.01 < np.abs(wave).max() <= 1.2


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 11_025])
def test_pieces_of_a_recording_joined_are_the_recording(tmp_path, rate):
    wave = np.random.default_rng(0).normal(0, 0.1, (round(5.3 * rate) + 7, 2)).astype("float32")
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    pieces = list(audio.stream(tmp_path / "a.wav", seconds=0.7))
    assert len(pieces) >= 7 and max(map(len, pieces)) < 0.8 * 16_000 + 16_000 * 0.2
    np.testing.assert_allclose(np.concatenate(pieces), audio.read(tmp_path / "a.wav"), atol=2e-6)


def test_a_stream_of_nothing_or_of_text_is_refused_as_when_read(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, "float32"), 16_000)
    (tmp_path / "text.wav").write_text("hello")
    for name, said in {"empty.wav": "no samples", "text.wav": "not readable", "none.wav": "does not exist"}.items():
        with pytest.raises(SerError, match=said):
            list(audio.stream(tmp_path / name))


# --- librosa, whose functions are compiled on first use ------------------------------------------------------------

USES = """
import sys
import numpy as np
from ser_utils import analysis, audio, features

print("waits", flush=True)
audio.load_librosa()
print("loaded", flush=True)

from numba.np.ufunc.gufunc import GUFunc
def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("librosa")]
    return {id(value) for module in modules for value in vars(module).values() if isinstance(value, GUFunc)}

before = compiled()
wave = np.random.default_rng(0).normal(0, 0.1, 8000).astype("float32")
features.f0_contour(wave, 16000)
analysis.perturbed(wave, semitones=(2,), tempo=(1.5,))
assert before and compiled() == before, "something was compiled after the lock was given back"
"""


def test_librosa_is_compiled_by_one_process_at_a_time(tmp_path):
    """Two at once can leave a cache that crashes every later process, as it did once in continuous integration."""
    lock = FileLock(tmp_path / f"ser-utils-librosa-{getattr(os, 'getuid', lambda: '')()}.lock")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with lock:
        child = subprocess.Popen([sys.executable, "-c", USES], env=environment, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(4)
    assert child.communicate(timeout=120)[0] == "loaded\n" and child.returncode == 0
