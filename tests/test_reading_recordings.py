"""Recordings as devices make them: one row per case, with the value that is right."""

import io
import os
import re
import shutil
import struct
import sys
import warnings
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from safetensors.torch import load_file, save_file
from small import one_line, refused

from ser_utils import SerError, analysis, audio, cli, corpora, encoders, pretraining, recognizer
from ser_utils.corpora import decoding, table

RATE, SECONDS = 16_000, 1.5
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def voice(seed=0, seconds=SECONDS, rate=RATE, pitch=130.0):
    """A buzz whose pitch and loudness go up and down, with some noise."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(pitch + seed + 20 * np.sin(4 * time + seed)) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(20 * time)) * 0.15
    return (wave + np.random.default_rng(seed).normal(0, 0.002, time.size)).astype("float32")


def sound(wave=None, rate=RATE, form="WAV", subtype=None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, voice() if wave is None else wave, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def encoded(codec, container, rate, seed=0) -> bytes:
    """The voice as a phone or a browser stores it, by FFmpeg's encoders."""
    buffer, wave = io.BytesIO(), voice(seed, rate=rate)
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, fifo = rate, av.AudioFifo()
        for piece in av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate).resample(frame):
            fifo.write(piece)
        size = stream.codec_context.frame_size or 1024
        while piece := fifo.read(size) or fifo.read():
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def stated(content: bytes, length: float) -> bytes:
    """A WAV whose header gives another length: a number of bytes, or a fraction of the right one."""
    at = content.find(b"data") + 4
    right = struct.unpack_from("<I", content, at)[0]
    return content[:at] + struct.pack("<I", round(length * right) if isinstance(length, float) else length) + content[at + 4 :]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def unsaid(flac: bytes) -> bytes:
    """A FLAC stream whose header gives no number of samples (RFC 9639, section 8.2)."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def wideband() -> bytes:
    """One second of AMR-WB, which FFmpeg decodes and does not encode: frames of 23.85 kbit/s with bits at random."""
    return b"#!AMR-WB\n" + b"".join(b"\x44" + np.random.default_rng(i).bytes(60) for i in range(50))


M4A, WEBM, AMR = encoded("aac", "ipod", 44_100), encoded("libopus", "webm", 48_000), encoded("amr_nb", "amr", 8_000)
PHONE = voice(rate=8_000)
WHOLE = round(SECONDS * RATE)

#: Name, bytes, samples at 16 kHz and how many may be more or fewer, what the warning says ("" if there is none).
READ = [
    ("phone.m4a", M4A, WHOLE, 1600, ""),
    ("browser.webm", WEBM, WHOLE, 1600, ""),
    ("old phone.amr", AMR, WHOLE, 1600, ""),
    ("phone.3gp", encoded("amr_nb", "3gp", 8_000), WHOLE, 1600, ""),
    ("wideband.awb", wideband(), RATE, 0, ""),
    ("radio.aac", encoded("aac", "adts", 44_100), WHOLE, 1600, ""),
    ("lossless.m4a", encoded("alac", "ipod", 44_100), WHOLE, 1, ""),
    ("video.mkv", encoded("libopus", "matroska", 48_000), WHOLE, 1600, ""),
    ("m4a named.wav", M4A, WHOLE, 1600, ""),
    ("m4a named.mp3", M4A, WHOLE, 1600, ""),
    ("webm named.wav", WEBM, WHOLE, 1600, ""),
    ("amr named.mp3", AMR, WHOLE, 1600, ""),
    ("wav named.m4a", sound(), WHOLE, 0, ""),
    ("telephone.wav", sound(PHONE, 8_000, subtype="GSM610"), WHOLE, 800, ""),
    ("g721.wav", sound(PHONE, 8_000, subtype="G721_32"), WHOLE, 800, ""),
    ("g721.au", sound(PHONE, 8_000, "AU", "G721_32"), WHOLE, 800, ""),
    ("nms.wav", sound(PHONE, 8_000, subtype="NMS_ADPCM_24"), WHOLE, 800, ""),
    ("no length.wav", stated(sound(), 0), WHOLE, 0, "has no length in its header"),
    ("pipe.wav", stated(sound(), 0xFFFFFFFF), WHOLE, 0, "has no length in its header"),
    ("no length gsm.wav", stated(sound(PHONE, 8_000, subtype="GSM610"), 0), WHOLE, 800, "has no length in its header"),
    ("no length.rf64", sound(form="RF64").replace(struct.pack("<Q", 2 * WHOLE), bytes(8)), WHOLE, 0, "has no length in its header"),
    ("no length.au", sound(form="AU").replace(struct.pack(">I", 2 * WHOLE), bytes(4)), WHOLE, 0, "has no length in its header"),
    ("no length.flac", unsaid(sound(form="FLAC")), WHOLE, 0, ""),
    ("double.wav", stated(sound(), 2.0), WHOLE, 0, f"is damaged: {WHOLE} of {2 * WHOLE} samples"),
    ("half said.wav", stated(sound(), 0.5), WHOLE, 0, f"a wrong length in its header, {WHOLE // 2} samples; all {WHOLE}"),
    ("half.wav", half(sound()), WHOLE // 2 - 11, 0, f"is damaged: {WHOLE // 2 - 11} of {WHOLE} samples"),
    ("half gsm.wav", half(sound(PHONE, 8_000, subtype="GSM610")), WHOLE // 2, 640, "is damaged: [0-9]+ of 12160 samples"),
    ("half.aiff", half(sound(form="AIFF")), WHOLE // 2, 40, f"is damaged: [0-9]+ of {WHOLE} samples"),
    ("half.caf", half(sound(form="CAF")), WHOLE // 2, 1100, f"is damaged: [0-9]+ of {WHOLE} samples"),
    ("half.w64", half(sound(form="W64")), WHOLE // 2, 40, f"is damaged: [0-9]+ of {WHOLE} samples"),
    ("half.flac", half(sound(form="FLAC")), 3 * 4096 - 4096, 4096, f"is damaged: [0-9]+ of {WHOLE} samples"),
    ("half.mp3", half(sound(form="MP3")), WHOLE // 2, 3000, f"is damaged: [0-9]+ of {WHOLE} samples"),
    ("half.ogg", half(sound(voice(seconds=4), form="OGG")), 2 * RATE, 20_000, "is damaged: its end is missing, [0-9]+ samples"),
    ("half.opus", half(sound(voice(seconds=4), form="OGG", subtype="OPUS")), 2 * RATE, 20_000, "is damaged: its end is missing"),
    ("half.webm", half(WEBM), WHOLE // 2, 2400, "is damaged: [0-9]+ of [0-9]+ samples"),
    ("last tag.wav", sound() + b"TAG" + bytes(125), WHOLE, 0, ""),
    ("list behind.wav", sound() + b"LIST" + struct.pack("<I", 8192) + b"INFO" * 2048, WHOLE, 0, ""),
    ("opposite.wav", sound(np.c_[voice(), -voice()]), WHOLE, 0, "channels that cancel each other"),
    ("nearly.wav", sound(np.c_[-0.95 * voice(), voice()]), WHOLE, 0, "cancel each other; the loudest one, channel 2,"),
    ("one of twelve.wav", sound(np.c_[np.zeros((WHOLE, 11)), voice()]), WHOLE, 0, "channel 12, is read"),
    ("dead channel.wav", sound(np.c_[voice(), 0 * voice()]), WHOLE, 0, ""),
    ("as integers.wav", sound(np.round(voice() * 32768), subtype="FLOAT"), WHOLE, 0, "divided by 32768"),
    ("as 24 bit.wav", sound(np.round(voice() * 2.0**23), subtype="DOUBLE"), WHOLE, 0, "divided by 8388608"),
    ("overdriven.wav", sound(3 * voice(), subtype="FLOAT"), WHOLE, 0, ""),
]  # fmt: skip

#: Name, bytes, and what the one line must say.
REFUSED = [
    ("pointer.wav", POINTER, "is a Git LFS pointer.*`git lfs pull`"),
    ("pointer.m4a", POINTER, "is a Git LFS pointer.*`git lfs pull`"),
    ("half.m4a", half(M4A), "is MPEG-4 .*damaged or cut short"),
    ("text.mp3", b"hello", "is text"),
    ("page.mp3", b"<html><body>404</body></html>", "is a web page.*download it again"),
    ("noise.mp3", np.random.default_rng(0).bytes(9000), "of no kind that is known here.*ffmpeg -i noise.mp3 noise.wav"),
    ("noise.m4a", np.random.default_rng(0).bytes(9000), "of no kind that is known here.*ffmpeg -i noise.m4a noise.wav"),
    ("zeros.mp3", bytes(5000), "of no kind that is known here"),
    ("archive.wav", b"PK\x03\x04" + bytes(50), "is a zip file or a workbook: unpack it"),
    ("empty.webm", b"", "is empty"),
]
#: Words of libraries that tell a person nothing.
JARGON = re.compile(r"libsndfile|mpg123|Error opening|avcodec|Errno|Invalid data|malformed|regular file", re.I)


def level(wave):
    return 10 * np.log10(np.mean(np.square(wave, dtype=float)))


def table_with(folder: Path, name: str) -> Path:
    """A list of three sound recordings and the one of that name."""
    rows = ["path,emotion,speaker", f'"{name}",anger,x']
    for speaker, emotion in (("x", "sadness"), ("y", "anger"), ("y", "sadness")):
        soundfile.write(folder / f"{speaker}_{emotion}.wav", voice(len(rows)), RATE)
        rows.append(f"{speaker}_{emotion}.wav,{emotion},{speaker}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "list.csv"


def caught(function, *arguments, **options):
    """What a function returns, and the warnings that it gives, in one text."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = function(*arguments, **options)
    return result, " ".join(str(warning.message) for warning in found)


@pytest.mark.parametrize(("name", "content", "samples", "leeway", "said"), READ, ids=[row[0] for row in READ])
def test_what_is_there_is_read_and_what_is_wrong_is_said(tmp_path, capfd, name, content, samples, leeway, said):
    path = tmp_path / name
    path.write_bytes(content)
    wave, warned = caught(audio.read, path)
    assert wave.size == pytest.approx(samples, abs=leeway) and np.isfinite(wave).all()
    assert -30 < level(wave) < -8 or name == "wideband.awb", "the voice is heard at its level"
    assert re.search(said, warned) if said else not warned
    np.testing.assert_allclose(np.concatenate(caught(lambda: list(audio.stream(path, seconds=0.4)))[0]), wave, atol=2e-4)

    clips, warned = caught(corpora.load, table_with(tmp_path, name), decode=True)
    row = clips.set_index("path").loc[str(path)]
    assert row["duration"] * RATE == pytest.approx(wave.size, abs=1)
    assert re.search(said, warned) if said else not warned
    if "damaged" in said:
        with pytest.raises(SerError, match=said) as error:
            corpora.load(tmp_path / "list.csv", decode=True, strict=True)
        assert name in one_line(error)
    segments = audio.cut_segments(clips[clips["path"] == str(path)], seconds=0.25)
    pieces = [piece.tobytes() for piece in caught(lambda: list(audio.read_segments(clips, segments)))[0]]
    assert len(set(pieces)) == len(pieces) == round(wave.size / RATE / 0.25 + 0.01), "no segment is there twice"
    assert capfd.readouterr().err == "", "no library prints"


@pytest.mark.parametrize(("name", "content", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_read_is_named_with_cause_and_remedy_in_one_line(tmp_path, capfd, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SerError, match=said) as error:
        audio.read(tmp_path / name)
    assert name in one_line(error) and not JARGON.search(str(error.value))
    clips, warned = caught(corpora.load, table_with(tmp_path, name), decode=True)
    assert len(clips) == 3 and name in warned and not JARGON.search(warned)
    assert capfd.readouterr().err == ""


def test_what_is_read_sounds_as_what_was_recorded(tmp_path):
    for name, content in (("a.m4a", M4A), ("a.webm", WEBM), ("m4a.wav", M4A)):
        (tmp_path / name).write_bytes(content)
        wave = audio.read(tmp_path / name)[:WHOLE]
        middle, best = voice()[6000:10_000], 0.0
        for shift in range(-400, 400):  # codecs move the sound by some samples
            best = max(best, np.corrcoef(middle, wave[6000 + shift : 10_000 + shift])[0, 1])
        assert best > 0.97
    for content in (sound(np.c_[voice(), -voice()]), sound(np.round(voice() * 32768), subtype="FLOAT")):
        (tmp_path / "a.wav").write_bytes(content)
        wave, _ = caught(audio.read, tmp_path / "a.wav")
        np.testing.assert_allclose(np.abs(wave), np.abs(voice()), atol=1e-4)


def test_a_stretch_of_any_kind_is_what_lies_there(tmp_path):
    for name, content in (("a.webm", WEBM), ("a.mp3", sound(form="MP3")), ("gsm.wav", sound(PHONE, 8_000, subtype="GSM610")),
                          ("zero.wav", stated(sound(), 0)), ("half.flac", half(sound(form="FLAC")))):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(content)
        whole, _ = caught(audio.decode, path)
        clip = pd.Series({"path": str(path), "start": 0.1, "end": 0.3})
        (piece, rate), _ = caught(audio.decode, clip)
        np.testing.assert_allclose(piece, whole[0][round(0.1 * rate) : round(0.3 * rate)], atol=1e-3)


def test_a_clip_that_is_shorter_than_its_segments_is_named_and_not_repeated(tmp_path):
    (tmp_path / "half.mp3").write_bytes(half(sound(form="MP3")))
    clips = pd.DataFrame({"clip": ["a"], "path": [str(tmp_path / "half.mp3")], "duration": [SECONDS]})
    segments = audio.cut_segments(clips, seconds=0.5)
    with pytest.raises(SerError, match=r"half.mp3 holds 0\.\d+ s of sound, and a segment ends at 1\.\d+ s.*decode=True"):
        caught(lambda: list(audio.read_segments(clips, segments)))


def test_without_pyav_each_file_says_what_it_is_and_how_to_convert_it(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    for name, content, kind in (("talk 1.m4a", M4A, "MPEG-4"), ("b.webm", WEBM, "WebM"), ("c.amr", AMR, "AMR"), ("d.wav", M4A, "MPEG-4")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SerError, match=f"is {kind}") as error:
            audio.read(tmp_path / name)
        assert re.search(r"`pip install -e '\.\[formats\]'`.*`ffmpeg -i [^`]+\.wav'?`", one_line(error))
        assert "'talk 1.m4a' 'talk 1.wav'" in str(error.value) or name != "talk 1.m4a"


def test_kinds_that_cannot_be_read_are_counted_and_not_passed_over_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    for name in ("a.m4a", "b.M4A", "c/d.webm", "e.wav", "notes.txt", "._f.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(M4A)
    for find in (corpora.audio_files, corpora.sound_files):
        found, warned = caught(find, tmp_path)
        assert found == [tmp_path / "e.wav"]
        assert "3 files of kinds that cannot be read were passed over: .m4a, .webm" in warned and "ffmpeg" in warned
    monkeypatch.undo()
    found, warned = caught(corpora.audio_files, tmp_path)
    assert len(found) == 4 and not warned


def test_pretraining_says_which_recordings_it_left_out(tmp_path):
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", voice(i, 1.0), RATE)
    (tmp_path / "bad.wav").write_bytes(POINTER)
    speech, warned = caught(pretraining.prepare, tmp_path, tmp_path / "cache", progress=False)
    assert "1 of 4 sound files are left out" in warned and "bad.wav" in warned and "git lfs pull" in warned
    assert speech.frames


def test_a_clip_that_is_mostly_silence_is_among_the_problems(tmp_path):
    quiet = np.zeros(10 * RATE, "float32")
    for name, wave in {"talk": voice(), "pauses": np.r_[quiet, voice(), quiet], "nothing": quiet}.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE)
    clips = pd.DataFrame({"clip": ["talk", "pauses", "nothing"]})
    clips["path"] = [str(tmp_path / f"{name}.wav") for name in clips["clip"]]
    found = analysis.audit_files(analysis.file_properties(clips)).set_index("problem")
    assert found.loc["mostly silence", "clip"] == "pauses" and found.loc["silent", "clip"] == "nothing"
    assert "7%" in found.loc["mostly silence", "detail"]


def test_a_gender_that_changes_and_words_for_none_are_said(tmp_path):
    table = table_with(tmp_path, "x_fear.wav")
    soundfile.write(tmp_path / "x_fear.wav", voice(9), RATE)
    lines = table.read_text().splitlines()
    table.write_text("\n".join(f"{line},{word}" for line, word in zip(lines, ["gender", "f", "m", "divers", "f"], strict=True)))
    clips, warned = caught(corpora.load, table)
    assert "x has more than one gender" in warned
    assert any("'divers'" in note and "gender" in note for note in clips.attrs["notes"])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")
def test_as_many_files_as_a_corpus_has_are_looked_at_without_keeping_them_open(tmp_path):
    for name, content in (("a.wav", sound()), ("b.wav", stated(sound(), 0))):
        (tmp_path / name).write_bytes(content)
    kept = corpora.survey(corpora.examine(tmp_path / "a.wav")), table._looked_at(str(tmp_path / "b.wav"), True)
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert kept and not any(name.startswith(str(tmp_path)) for name in held)


def test_a_file_name_that_is_not_utf_8_does_not_stop_a_corpus(tmp_path):
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    for place in (os.fsencode(tmp_path) + b"/female", odd):
        os.mkdir(place)
        for name in (b"F01A01.wav", b"F02S01.wav") if place != odd else (b"F03A01.wav",):
            Path(os.fsdecode(place + b"/" + name)).write_bytes(sound())
    clips, warned = caught(corpora.load, "shemo", tmp_path)
    assert clips["clip"].tolist() == ["F01A01", "F02S01"] and "F03A01.wav (the name is not in UTF-8: rename it)" in warned
    wave = audio.read(os.fsdecode(odd + b"/F03A01.wav"))
    np.testing.assert_allclose(wave, voice(), atol=1e-4)


# ------------------------------------------------------------------------------------------------- the recognizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recognizer of high and low voices, trained for two passes."""
    place = tmp_path_factory.mktemp("recognizer")
    rows = []
    for i in range(12):
        emotion, speaker = ("anger", "sadness")[i % 2], "xyz"[i // 4]
        path = place / f"{i}.wav"
        soundfile.write(path, voice(i, 1.0 + 0.1 * i, pitch=200.0 if i % 2 else 110.0), RATE)
        rows.append({"clip": str(i), "path": str(path), "speaker": speaker, "emotion": emotion, "duration": 1.0 + 0.1 * i})
    trained = recognizer.train(
        pd.DataFrame(rows), encoders.load("wav2vec2-nano"), corpus="a test", epochs=2, cache=place / "cache"
    )
    return trained.save(place / "kept")


@pytest.fixture(scope="module")
def kept(folder):
    return recognizer.EmotionRecognizer.from_pretrained(folder)


@pytest.mark.parametrize("seconds", [10, 60])
@pytest.mark.parametrize("loudness", [0.0, 1e-4])
def test_silence_around_speech_changes_neither_scores_nor_doubts(kept, seconds, loudness):
    around = [loudness * np.random.default_rng(i).normal(size=seconds * RATE) for i in (0, 1)]
    speech = np.resize(voice(3), 2 * RATE)
    alone = kept.predict(speech)
    said = kept.predict(np.r_[around[0], speech, around[1]].astype("float32"))
    assert said.unusual == alone.unusual == [] and said.decision() == alone.decision()
    assert {s["label"]: round(s["score"], 2) for s in said.scores} == {s["label"]: round(s["score"], 2) for s in alone.scores}


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.01])
def test_what_is_shorter_than_the_training_clips_raises_a_doubt_with_both_lengths(kept, seconds):
    said = kept.predict(voice(3)[4000 : 4000 + round(seconds * RATE)])
    assert f"it lasts {seconds:.2f} s (trained on 1.00 s and more)" in said.unusual
    assert not any("lasts" in doubt for doubt in kept.predict(voice(3)).unusual)


def test_the_input_of_a_pipeline_is_taken(kept):
    expected = kept(voice(3), sampling_rate=RATE)
    for name in ("raw", "array"):
        assert kept({name: voice(3), "sampling_rate": RATE}) == expected


#: Name → bytes, and what is said of it: "" it is judged, a doubt, or the reason why it is refused.
FOLDER = {
    **{name: (content, said if "damaged" in said else "") for name, content, _, _, said in READ if content[:4] not in (b"#!AM",)},
    **{name: (content, said) for name, content, said in REFUSED},
    "short.wav": (sound(voice()[:800]), r"it lasts 0\.05 s"),
    "silent.wav": (sound(0 * voice()), "silence"),
    "noise.wav": (sound(0.1 * np.random.default_rng(0).normal(size=WHOLE)), "voiced frames"),
    "صدا.wav": (sound(), ""),
}


def test_a_folder_of_everything_is_judged_doubted_or_refused_for_the_right_reason(folder, tmp_path, capfd):
    for name, (content, _) in FOLDER.items():
        (tmp_path / name).write_bytes(content)
    odd = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(odd)).write_bytes(sound())
    (tmp_path / "._hidden.wav").write_bytes(b"nothing")
    with warnings.catch_warnings(record=True) as caught:  # pytest keeps them from standard error
        warnings.simplefilter("default")
        assert cli.main(["predict", str(tmp_path), "--model", str(folder)]) == 2  # some could not be read
    out, err = capfd.readouterr()
    err += "".join(warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in caught)
    judged = {line.split(".wav")[0] if ".wav" in line else line: line for line in out.splitlines()}
    assert len(out.splitlines()) == len(FOLDER) + 1 - len(REFUSED) and len(judged) > 20
    for name, (_, said) in FOLDER.items():
        lines = [line for line in (out + err).splitlines() if f"/{name}" in line]
        assert lines, name
        if said:
            assert any(re.search(said, line) for line in lines), (name, lines)
        if name in {row[0] for row in REFUSED}:
            assert not any(f"/{name}" in line for line in out.splitlines()), name
    assert r"caf\udce9.wav" in out and "hidden" not in out + err
    assert "undecided" in next(line for line in out.splitlines() if "silent.wav" in line)
    assert not JARGON.search(out + err) and all(line.startswith(("ser: warning: ", "trained on")) for line in err.splitlines())


def test_a_terminal_that_knows_ascii_only_shows_every_name(folder, tmp_path, monkeypatch):
    (tmp_path / "صدا.wav").write_bytes(sound())
    (tmp_path / "ü.wav").write_bytes(sound())
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert cli.main(["predict", str(tmp_path), "--model", str(folder)]) == 0
    sys.stdout.flush()
    shown = sys.stdout.buffer.getvalue().decode("ascii")
    assert r"\u0635\u062f\u0627.wav" in shown and r"\xfc.wav" in shown


@pytest.mark.parametrize("picture", ["p.xyz", "plotfile", "p.wav"])
def test_the_ending_of_a_picture_is_checked_before_anything_is_judged(folder, tmp_path, capsys, picture):
    (tmp_path / "a.wav").write_bytes(sound())
    line = refused(capsys, "predict", tmp_path / "a.wav", "--model", folder, "--plot", tmp_path / picture)
    assert picture in line and ".png, .pdf" in line and not (tmp_path / picture).exists()


def test_a_recording_whose_name_is_not_utf_8_is_drawn(folder, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    Path(path).write_bytes(sound())
    assert cli.main(["predict", path, "--model", str(folder), "--plot", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").stat().st_size > 5000


def changed(**entries):
    return lambda place: edit(place, lambda config: config.update(entries))


def without(entry):
    return lambda place: edit(place, lambda config: config.pop(entry))


def edit(place, change):
    import json

    config = json.loads((place / "config.json").read_text())
    change(config)
    (place / "config.json").write_text(json.dumps(config))


DAMAGE = {
    **{f"no {entry}": (without(entry), "config.json is damaged, incomplete")
       for entry in ("format", "labels", "encoder", "fingerprint", "layer", "width", "ranges", "training", "segment_seconds")},
    "another number of labels": (changed(labels=["anger", "fear", "sadness"]), "model.safetensors is damaged"),
    "labels twice": (changed(labels=["anger", "anger"]), "config.json is damaged"),
    "another width": (changed(width=8), "model.safetensors is damaged"),
    "a length of zero": (changed(segment_seconds=0), "config.json is damaged"),
    "a layer of text": (changed(layer="third"), "config.json is damaged"),
    "a layer that is not there": (changed(layer=99), "has layers 0 to"),
    "ranges of text": (changed(ranges={"level": "loud"}), "config.json is damaged"),
    "a list": (lambda place: (place / "config.json").write_text("[]"), "config.json is damaged"),
    "no weights": (lambda place: (place / "model.safetensors").unlink(), "model.safetensors is missing"),
    "weights of nothing": (lambda place: (place / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
    "weights cut short": (lambda place: cut(place / "model.safetensors"), "model.safetensors is damaged"),
    "a renamed array": (lambda place: rename(place / "model.safetensors"), "model.safetensors is damaged"),
    "weights of zeros": (lambda place: (place / "model.safetensors").write_bytes(bytes(2000)), "model.safetensors is damaged"),
    "a pointer": (lambda place: (place / "model.safetensors").write_bytes(POINTER), "`git lfs pull`"),
    "a pointer as config": (lambda place: (place / "config.json").write_bytes(POINTER), "`git lfs pull`"),
}  # fmt: skip


def rename(path: Path) -> None:
    arrays = load_file(path)
    arrays["classifier.weight"] = arrays.pop(next(name for name, array in arrays.items() if array.ndim == 2))
    save_file(arrays, path)


def cut(path: Path) -> None:
    path.write_bytes(half(path.read_bytes()))


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_recognizer_is_refused_in_one_line(folder, tmp_path, kind):
    damage, said = DAMAGE[kind]
    shutil.copytree(folder, tmp_path / "kept")
    damage(tmp_path / "kept")
    with pytest.raises(SerError, match=said) as error:
        recognizer.EmotionRecognizer.from_pretrained(tmp_path / "kept")
    assert not re.search("safetensor[^s]|header|size mismatch|Error", one_line(error).replace("model.safetensors", ""))


def test_weights_of_an_encoder_that_are_a_pointer_are_named_with_the_remedy(tmp_path):
    shutil.copytree(encoders.WEIGHTS / "wav2vec2-nano", tmp_path / "mine")
    (tmp_path / "mine" / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(SerError, match="mine/model.safetensors is a Git LFS pointer.*`git lfs pull`"):
        encoders.load(str(tmp_path / "mine"))
