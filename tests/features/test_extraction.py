"""Features: right numbers in the right rows, and a cache that is never stale, torn or in the way."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from small_encoders import SIZES, make_model, save_encoder

from ser_utils import SerError, audio, encoders, features
from ser_utils.features import pooling, store


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = save_encoder(tmp_path_factory.mktemp("encoder"), make_model("wav2vec2"))
    return encoders.load(folder, device="cpu", precision="fp32")


@pytest.fixture
def make_clips(write_tone):
    """Clips table of tones; a tone a duration."""

    def make(*durations, folder="a", sample_rate=16_000):
        rows = []
        for i, seconds in enumerate(durations):
            path = write_tone(f"{folder}/{i}.wav", seconds=seconds, pitch=110 + 25 * i, seed=i, sample_rate=sample_rate)
            rows.append({"clip": f"{folder}{i}", "path": str(path), "duration": seconds})
        return pd.DataFrame(rows)

    return make


def alone(clips, segments, encoder, layer):
    """Encode segments one by one."""
    return [encoder.encode(wave[None], (layer,))[0, 0] for wave in audio.read_segments(clips, segments)]


# --- numbers -----------------------------------------------------------------------------------------------------


def test_each_segment_is_encoded_by_itself_and_lies_in_its_row(make_clips, encoder, tmp_path):
    clips = make_clips(1.3, 0.3, 0.9, 2.0)
    segments = audio.cut_segments(clips, seconds=0.5)
    frames = features.extract(clips, segments, encoder, layers=(2,), cache=tmp_path, progress=False)
    assert frames.shape == (len(segments), encoder.frames(8000), 32) and frames.dtype == np.float16
    np.testing.assert_allclose(frames, alone(clips, segments, encoder, 2), atol=4e-3)


def test_several_layers_come_in_the_order_asked_for(make_clips, encoder, tmp_path):
    clips = make_clips(1.0, 0.7)
    segments = audio.cut_segments(clips, seconds=0.5)
    both = features.extract(clips, segments, encoder, layers=(3, 1), cache=tmp_path, progress=False)
    for i, layer in enumerate((3, 1)):
        one = features.extract(clips, segments, encoder, layers=layer, cache=tmp_path, progress=False)
        np.testing.assert_array_equal(both[:, i], one)


def test_whole_clips_are_encoded_whole_and_averaged_into_equal_bins(make_clips, encoder, tmp_path):
    clips = make_clips(2.5, 0.4, 4.1, 2.5)
    segments = audio.cut_segments(clips, seconds=None)
    frames = features.extract(clips, segments, encoder, layers=(1,), cache=tmp_path, progress=False)
    assert frames.shape == (4, features.WHOLE_CLIP_BINS, 32)
    for row, own in zip(frames, alone(clips, segments, encoder, 1), strict=True):
        n, bins = len(own), features.WHOLE_CLIP_BINS
        expected = [own[i * n // bins : -(-(i + 1) * n // bins)].mean(0) for i in range(bins)]
        np.testing.assert_allclose(row, expected, atol=4e-3)


def test_a_number_of_bins_holds_for_equal_segments_too(make_clips, encoder, tmp_path):
    clips = make_clips(1.0)
    segments = audio.cut_segments(clips, seconds=None)
    frames = features.extract(clips, segments, encoder, bins=7, cache=tmp_path, progress=False)
    assert frames.shape == (1, 7, 32)


def test_segments_cut_from_whole_clips_hold_the_whole_clips_frames(make_clips, encoder, tmp_path):
    clips = make_clips(2.0, 0.3, 1.4)
    segments = audio.cut_segments(clips, seconds=0.5)
    cut = features.crop_from_whole(clips, segments, encoder, layers=(2,), cache=tmp_path, progress=False)
    own = features.extract(clips, segments, encoder, layers=(2,), cache=tmp_path, progress=False)
    assert cut.shape == own.shape
    whole = encoder.encode(audio.read(clips["path"][0])[None], (2,))[0, 0]
    np.testing.assert_allclose(cut[1], whole[25 : 25 + cut.shape[1]], atol=4e-3)
    last = segments.index[segments["clip"] == "a0"][-1]
    np.testing.assert_allclose(cut[last], whole[-cut.shape[1] :], atol=4e-3)
    # A clip with a single segment has nothing outside to leak; one with several does.
    single = segments.index[segments["clip"] == "a1"][0]
    np.testing.assert_allclose(cut[single], own[single], atol=4e-3)
    assert np.abs(cut[1].astype(float) - own[1]).mean() > 0.01


def test_segments_of_different_lengths_cannot_be_cut_from_whole_clips(make_clips, encoder, tmp_path):
    clips = make_clips(1.0, 0.6)
    with pytest.raises(SerError, match="different lengths"):
        features.crop_from_whole(clips, audio.cut_segments(clips, seconds=None), encoder, cache=tmp_path)


def test_too_short_segments_say_so(make_clips, encoder, tmp_path):
    clips = make_clips(1.0)
    with pytest.raises(SerError, match="too short"):
        features.extract(clips, audio.cut_segments(clips, seconds=0.02), encoder, cache=tmp_path, progress=False)


def test_huge_values_saturate_in_half_precision():
    assert np.isfinite(features.half(np.array([1e6, -1e6, 1.0], np.float32))).all()


def test_log_mel_shows_a_tone_in_its_band(make_clips, tmp_path):
    time_axis = np.arange(16_000) / 16_000
    path = tmp_path / "tone.wav"
    soundfile.write(path, (0.3 * np.sin(2 * np.pi * 1000 * time_axis)).astype("float32"), 16_000)
    clips = pd.DataFrame({"clip": ["tone"], "path": [str(path)], "duration": [1.0]})
    mels = features.log_mel(clips, audio.cut_segments(clips, seconds=0.5), cache=tmp_path, progress=False)
    assert mels.shape == (2, 64, 51) and mels.dtype == np.float16
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66) / 2595) - 1)
    band = int(mels[0].astype(float).mean(axis=1).argmax())
    assert edges[band] < 1000 < edges[band + 2]


def test_log_mel_of_whole_clips_is_averaged_into_bins(make_clips, tmp_path):
    clips = make_clips(2.0, 0.5)
    mels = features.log_mel(clips, audio.cut_segments(clips, seconds=None), cache=tmp_path, progress=False)
    assert mels.shape == (2, 64, features.WHOLE_CLIP_BINS)
    own = features.mel_spectrogram(audio.read(clips["path"][0]))
    np.testing.assert_allclose(mels[0].astype(float).mean(1), own.mean(1), atol=0.05)


def test_functionals_lie_in_the_row_of_their_segment(make_clips, tmp_path):
    clips = make_clips(0.8, 0.1, 0.6)
    segments = audio.cut_segments(clips, seconds=None).iloc[[2, 0, 1]].reset_index(drop=True)
    table = pd.DataFrame(
        features.functionals(clips, segments, n_jobs=1, cache=tmp_path, progress=False),
        columns=features.functional_names(),
    )
    assert table.shape == (3, 88) and np.isfinite(table.to_numpy()).all()
    # Semitones above 27.5 Hz of the pitches 160, 110 and 135 Hz.
    pitch = table["F0semitoneFrom27.5Hz_sma3nz_amean"]
    np.testing.assert_allclose(pitch, 12 * np.log2(np.array([160, 110, 135]) / 27.5), atol=0.5)


def test_functionals_of_silence_are_finite(tmp_path):
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(8000, "float32"), 16_000)
    clips = pd.DataFrame({"clip": ["s"], "path": [str(path)], "duration": [0.5]})
    result = features.functionals(clips, audio.cut_segments(clips, seconds=None), cache=tmp_path, progress=False)
    assert np.isfinite(result).all()


def test_pooling_is_mean_and_deviation_over_frames():
    frames = np.random.default_rng(0).normal(3, 2, (5, 40, 6)).astype(np.float16)
    result = features.pooled(frames)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, :6], frames.astype(float).mean(1), atol=1e-3)
    np.testing.assert_allclose(result[:, 6:], frames.astype(float).std(1), atol=1e-3)
    assert features.pooled(frames.reshape(5, 2, 20, 6)).shape == (5, 2, 12)


@pytest.mark.parametrize("shape", [(60, 4), (60, 9, 4)])
def test_normalising_gives_every_speaker_mean_0_and_deviation_1_in_each_dimension(shape, monkeypatch):
    random = np.random.default_rng(1)
    X = (random.normal(0, 3, shape) + random.normal(0, 20, (60,) + (1,) * (len(shape) - 1))).astype(np.float16)
    X[..., 2] = 7  # a dimension that never varies
    speakers = np.array(["a", "b", "c"])[np.arange(60) % 3]
    whole = features.normalise_by_speaker(X, speakers)
    assert whole.shape == shape and whole.dtype == np.float16
    for speaker in "abc":
        own = whole[speakers == speaker].astype(float).reshape(-1, 4)
        np.testing.assert_allclose(own.mean(0), 0, atol=2e-3)
        np.testing.assert_allclose(own.std(0), [1, 1, 0, 1], atol=2e-3)
    # The same in pieces of a few rows, as arrays larger than memory are read.
    pieces = pooling._pieces
    monkeypatch.setattr("ser_utils.features.pooling._pieces", lambda array, rows: pieces(array, rows, most=500))
    np.testing.assert_allclose(features.normalise_by_speaker(X, speakers), whole, atol=2e-3)


def test_normalising_uses_no_other_speakers_rows():
    X = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    speakers = ["a"] * 10 + ["b"] * 10
    before = features.normalise_by_speaker(X, speakers)[:10]
    X[10:] *= 100
    np.testing.assert_array_equal(features.normalise_by_speaker(X, speakers)[:10], before)


def test_a_speaker_with_one_vector_gets_the_statistics_of_all_and_is_counted():
    X = np.random.default_rng(2).normal(5, 3, (20, 4)).astype(np.float32)
    speakers = ["a"] * 18 + ["b", "c"]
    with pytest.warns(UserWarning, match="2 of 3 speakers have one recording and get the statistics of all speakers"):
        result = features.normalise_by_speaker(X, speakers)
    np.testing.assert_allclose(result[18:], ((X - X.mean(0)) / X.std(0))[18:], atol=1e-5)
    np.testing.assert_allclose(result[:18].mean(0), 0, atol=1e-5)


def test_normalising_wants_a_speaker_for_each_row():
    with pytest.raises(SerError, match="2 speakers for 3 rows"):
        features.normalise_by_speaker(np.zeros((3, 2)), ["a", "b"])


def test_statistics_may_be_taken_from_reference_recordings_only():
    rng = np.random.default_rng(0)
    X, speakers = rng.normal(3, 2, (40, 5, 4)), np.repeat(["a", "b"], 20)
    reference = np.arange(40) % 4 == 0
    whole = features.normalise_by_speaker(X, speakers, reference=reference)
    for name in "ab":
        own = speakers == name
        told = X[own & reference].reshape(-1, 4)
        np.testing.assert_allclose(whole[own], (X[own] - told.mean(0)) / told.std(0), atol=1e-4)
    with pytest.raises(SerError, match="speaker 'b' has no reference"):
        features.normalise_by_speaker(X, speakers, reference=reference & (speakers == "a"))


# --- cache -------------------------------------------------------------------------------------------------------


def arrays(cache):
    return sorted(path.parent.name for path in cache.glob("*/array.npy"))


def test_a_second_call_reads_what_the_first_one_wrote(make_clips, encoder, tmp_path, monkeypatch):
    clips = make_clips(1.0, 0.8)
    segments = audio.cut_segments(clips, seconds=0.5)
    first = features.extract(clips, segments, encoder, cache=tmp_path, progress=False)
    monkeypatch.setattr(encoder, "encode", lambda *_: pytest.fail("encoded again"))
    second = features.extract(clips, segments, encoder, cache=tmp_path, progress=False)
    np.testing.assert_array_equal(first, second)
    assert isinstance(second, np.memmap) and not second.flags.writeable


def test_content_counts_and_names_do_not(make_clips, encoder, tmp_path):
    clips = make_clips(0.6)
    segments = audio.cut_segments(clips, seconds=0.5)
    features.extract(clips, segments, encoder, cache=tmp_path / "cache", progress=False)
    moved = tmp_path / "elsewhere.wav"
    os.rename(clips["path"][0], moved)
    renamed = clips.assign(clip="other", path=str(moved))
    features.extract(renamed, segments.assign(clip="other"), encoder, cache=tmp_path / "cache", progress=False)
    assert len(arrays(tmp_path / "cache")) == 1


@pytest.mark.parametrize("what", ["audio", "segments", "layer", "bins", "weights", "precision", "code", "opensmile", "order"])
def test_changing_anything_that_matters_leads_to_another_array(make_clips, encoder, tmp_path, monkeypatch, what):
    clips = make_clips(1.0, 1.0)
    segments = audio.cut_segments(clips, seconds=0.5)
    cache, options = tmp_path / "cache", {"layers": (2,)}
    before = np.array(features.extract(clips, segments, encoder, cache=cache, progress=False, **options))
    if what == "audio":
        # Another sound of the same size, with the old modification time put back.
        stat = os.stat(clips["path"][0])
        time.sleep(0.02)
        wave = audio.read(clips["path"][0])[::-1]
        soundfile.write(clips["path"][0], wave, 16_000)
        os.utime(clips["path"][0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif what == "segments":
        segments = segments.assign(start=segments["start"] * 0.98, end=segments["end"] - segments["start"] * 0.02)
    elif what == "layer":
        options = {"layers": (1,)}
    elif what == "bins":
        options["bins"] = 5
    elif what == "weights":
        monkeypatch.setattr(encoder, "fingerprint", "another")
    elif what == "precision":
        monkeypatch.setattr(encoder, "precision", "bf16")
    elif what == "code":
        monkeypatch.setattr("ser_utils.features.store.CODE_VERSION", features.CODE_VERSION + 1)
    elif what == "opensmile":
        version = metadata.version
        monkeypatch.setattr(metadata, "version", lambda name: "99.0" if name == what else version(name))
    elif what == "order":
        segments = segments.iloc[::-1]
    after = features.extract(clips, segments, encoder, cache=cache, progress=False, **options)
    assert len(arrays(cache)) == 2
    if what == "audio":
        assert not np.array_equal(before[:2], after[:2]) and np.array_equal(before[2:], after[2:])
    if what == "order":
        np.testing.assert_allclose(before[::-1], after, atol=4e-3)


def test_old_files_are_hashed_once_and_again_when_they_change(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    first = store.content_hashes([str(path)], tmp_path)
    assert not (tmp_path / "audio-hashes.json").exists(), "a file of this moment may still change unseen"
    time.sleep(2.1)
    assert store.content_hashes([str(path)], tmp_path) == first
    remembered = json.loads((tmp_path / "audio-hashes.json").read_text())
    assert remembered[str(path)][3] == first[0]
    stat = os.stat(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy that keeps times does
    assert store.content_hashes([str(path)], tmp_path) != first
    (tmp_path / "audio-hashes.json").write_text("{ torn")
    assert len(store.content_hashes([str(path)], tmp_path)) == 1


def test_a_missing_file_an_unknown_clip_and_an_empty_table_are_named(make_clips, encoder, tmp_path):
    clips = make_clips(1.0)
    segments = audio.cut_segments(clips, seconds=0.5)
    with pytest.raises(SerError, match="name the clip zzz"):
        features.extract(clips, segments.assign(clip="zzz"), encoder, cache=tmp_path)
    with pytest.raises(SerError, match="no segments"):
        features.extract(clips, segments.iloc[:0], encoder, cache=tmp_path)
    os.unlink(clips["path"][0])
    with pytest.raises(SerError, match="does not exist"):
        features.extract(clips, segments, encoder, cache=tmp_path)


# --- the store under kills, crowds and full disks: numpy arrays in forked processes ------------------------------


@pytest.fixture
def make_array(make_clips, tmp_path):
    """Compute an array of 12 rows in 6 parts; returns it and the parts that this call computed."""
    clips = make_clips(*[0.1] * 12)
    segments = audio.cut_segments(clips, seconds=None)
    values = np.random.default_rng(0).normal(size=(12, 1000)).astype(np.float32)

    def make(cache, *, pause=0.0, parts_seen=None):
        computed = []

        def compute(_, own):
            time.sleep(pause)
            computed.append(own.index.tolist())
            if parts_seen is not None:
                with open(parts_seen, "a") as file:
                    file.write(f"{own.index.tolist()}\n")
            return values[own.index]

        array = store.stored(
            "test",
            {},
            clips,
            segments,
            row_shape=(1000,),
            dtype="float32",
            samples=np.full(12, 16_000 * 4),  # two rows are a part
            compute=compute,
            cache=cache,
            progress=None,
        )
        return array, computed

    make.values = values
    return make


def in_fork(work):
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def file_bytes(cache):
    (path,) = cache.glob("*/array.npy")
    return path.read_bytes()


def test_a_run_killed_at_any_moment_resumes_and_ends_with_the_same_bytes(make_array, tmp_path):
    make_array(tmp_path / "unbroken")
    expected = file_bytes(tmp_path / "unbroken")
    resumed = []
    for moment in range(1, 30):
        cache = tmp_path / f"killed-{moment}"

        def killed(cache=cache, moment=moment):
            count = 0

            def counted(call):
                def after(*args):
                    nonlocal count
                    count += 1
                    if count == moment:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return call(*args)

                return after

            os.fsync, os.replace = counted(os.fsync), counted(os.replace)
            make_array(cache)

        if in_fork(killed) == 0:
            break
        assert not list(cache.glob("*/array.npy")) or file_bytes(cache) == expected
        array, computed = make_array(cache)
        np.testing.assert_array_equal(array, make_array.values)
        assert file_bytes(cache) == expected
        resumed.append(len(computed))
    # The later the kill, the fewer parts are left; kills fell before the first, between all, and after the last.
    assert set(resumed) == {6, 5, 4, 3, 2, 1, 0}


def test_two_runs_at_once_compute_each_part_once(make_array, tmp_path):
    seen = tmp_path / "seen"
    context = multiprocessing.get_context("fork")
    runs = [
        context.Process(target=make_array, args=(tmp_path / "c",), kwargs=dict(pause=0.05, parts_seen=seen))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert sorted(map(json.loads, seen.read_text().splitlines())) == [[i, i + 1] for i in range(0, 12, 2)]
    array, computed = make_array(tmp_path / "c")
    np.testing.assert_array_equal(array, make_array.values)
    assert computed == []


def test_a_full_disk_is_one_line_and_nothing_half_written_is_taken_for_whole(make_array, tmp_path):
    message = tmp_path / "message"

    def on_a_small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # the array takes 48 kB
        try:
            make_array(tmp_path / "c")
        except SerError as error:
            message.write_text(str(error))

    assert in_fork(on_a_small_disk) == 0
    assert "no room for features" in message.read_text() and "\n" not in message.read_text()
    assert not list((tmp_path / "c").glob("*/array.npy"))
    array, computed = make_array(tmp_path / "c")
    assert len(computed) == 6
    np.testing.assert_array_equal(array, make_array.values)


def test_a_disk_that_is_full_at_any_point_is_one_line_until_there_is_room(make_array, tmp_path):
    make_array(tmp_path / "roomy")
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a small disk")
    try:
        refused, size = 0, 4
        while size < 200:
            try:
                make_array(disk)
                break
            except SerError as error:
                assert "no room for features" in str(error) and "\n" not in str(error)
                assert not list(disk.glob("*/array.npy"))
            refused, size = refused + 1, size + 4
            subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
        assert refused >= 12, "the array takes 48 kB"
        assert file_bytes(disk) == file_bytes(tmp_path / "roomy")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_run_that_waits_for_another_goes_on_where_that_one_is_killed(make_array, tmp_path):
    make_array(tmp_path / "unbroken")
    context = multiprocessing.get_context("fork")
    seen = [tmp_path / "seen-first", tmp_path / "seen-second"]
    first, second = (
        context.Process(target=make_array, args=(tmp_path / "c",), kwargs=dict(pause=0.1, parts_seen=file))
        for file in seen
    )
    first.start()
    wait_for(seen[0].exists)
    second.start()
    done = wait_for(lambda: len(found := list((tmp_path / "c").glob("*/parts/*.npy"))) >= 2 and found)
    first.kill()
    second.join(60)
    assert second.exitcode == 0 and file_bytes(tmp_path / "c") == file_bytes(tmp_path / "unbroken")
    by_second = [json.loads(line)[0] // 2 for line in seen[1].read_text().splitlines()]
    # The first may have finished another one just before it was killed.
    assert by_second == list(range(6))[-len(by_second) :] and 1 <= len(by_second) <= 6 - len(done)


def wait_for(find, seconds=30):
    until = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def test_an_error_in_a_part_keeps_what_is_done(make_clips, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_utils.features.store._PART_SECONDS", (0.5, 0.5))
    clips = make_clips(2.0)
    segments = audio.cut_segments(clips, seconds=0.5)
    encode, calls = encoder.encode, []

    def fails_late(*args):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return encode(*args)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(encoder, "encode", fails_late)
    with pytest.raises(RuntimeError, match="power cut"):
        features.extract(clips, segments, encoder, cache=tmp_path, progress=False)
    calls.clear()
    monkeypatch.setattr(encoder, "encode", lambda *args: calls.append(1) or encode(*args))
    frames = features.extract(clips, segments, encoder, cache=tmp_path, progress=False)
    assert len(calls) == 2
    np.testing.assert_allclose(frames, alone(clips, segments, encoder, 2), atol=4e-3)


def test_rows_of_different_lengths_are_sorted_so_that_equal_ones_meet():
    samples = np.array([16_000, 48_000, 16_000, 32_000])
    (part,) = store.split(samples, 1)
    assert part.rows.tolist() == [0, 2, 3, 1] and part.seconds == 7.0
    (part,) = store.split(np.full(4, 16_000), 1)
    assert part.rows.tolist() == [0, 1, 2, 3]
    assert [len(part.rows) for part in store.split(np.full(3000, 16_000), 1)] == [64] * 46 + [56]
    assert len(store.split(np.full(300, 16_000), 40_000_000)) == 300, "large rows make small parts"


def test_few_recordings_make_small_parts_so_that_every_core_has_work_until_the_end():
    assert [len(part.rows) for part in store.split(np.full(20, 16_000), 1)] == [8, 8, 4]
    assert [len(part.rows) for part in store.split(np.full(320, 16_000), 1)] == [20] * 16


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(make_clips, encoder, tmp_path):
    clips = make_clips(20.0)
    one = audio.cut_segments(clips, seconds=1.0)
    report = tmp_path / "report"

    def measure():
        torch.set_num_threads(1)
        peak = []
        for times in (10, 60):  # 200 s, then 1200 s of audio: 77 MB as samples
            segments = pd.concat([one] * times, ignore_index=True)
            features.extract(clips, segments, encoder, layers=(1,), cache=tmp_path / "c", progress=False)
            peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        report.write_text(json.dumps(peak))

    assert in_fork(measure) == 0
    small, large = json.loads(report.read_text())
    assert large - small < 25, f"peak grew from {small:.0f} to {large:.0f} MB"


FORTY_HOURS = """import resource, sys
import pandas as pd
from ser_utils import audio, encoders, features
folder, cache, paths = sys.argv[1], sys.argv[2], sys.argv[3:]
encoder = encoders.load(folder, device="cpu", precision="fp32")
few = pd.DataFrame({"clip": ["a"], "path": paths[:1], "duration": 40.0})
many = pd.DataFrame({"clip": [str(i) for i in range(len(paths) * 400)], "path": paths * 400, "duration": 40.0})
for clips in (few, many):
    segments = audio.cut_segments(clips, seconds=1.0)
    X = features.extract(clips, segments, encoder, layers=(1,), cache=cache, progress=False)
    print(len(X), X.nbytes / 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_forty_hours_of_audio_need_no_more_memory_than_a_minute(make_clips, tmp_path):
    # Nine recordings of 40 s under 400 names each: features are addressed by the table, not shared between its rows.
    sizes = dict(SIZES, num_hidden_layers=1, conv_dim=(8,) * 6 + (16,))
    folder = save_encoder(tmp_path / "encoder", make_model("wav2vec2", sizes=sizes))
    paths = make_clips(*[40.0] * 9)["path"]
    run = subprocess.run(
        [sys.executable, "-c", FORTY_HOURS, folder, tmp_path / "cache", *paths], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (_, _, little), (rows, megabytes, much) = (map(float, line.split()) for line in run.stdout.splitlines())
    assert rows == 40 * 3600 and megabytes > 400
    # 1.5 GB is the promise; holding the features (460 MB), the audio (9.2 GB) or the results of parts would show.
    assert much - little < 150, f"peak rose from {little:.0f} to {much:.0f} MB"


@pytest.mark.real
def test_real_recordings_of_another_rate_are_encoded_at_16_khz(shared_data, encoder, tmp_path):
    paths = sorted((shared_data / "nemo" / "samples").glob("*.ogg"))[:3]
    clips = pd.DataFrame(
        {
            "clip": [path.stem for path in paths],
            "path": [str(path) for path in paths],
            "duration": [soundfile.info(path).duration for path in paths],
        }
    )
    segments = audio.cut_segments(clips, seconds=1.0)
    frames = features.extract(clips, segments, encoder, cache=tmp_path, progress=False)
    assert soundfile.info(paths[0]).samplerate == 24_000
    np.testing.assert_allclose(frames, alone(clips, segments, encoder, 2), atol=4e-3)
