"""Tables of one's own through the notebooks, quick profile: tied speakers, stretches of one file, every format."""

import io
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from test_reading_recordings import POINTER, RATE, encoded, half, stated, voice

from ser_utils import pipeline

pytestmark = pytest.mark.slow
PITCH = {"anger": 100.0, "neutral": 140.0, "sadness": 180.0}


def spoken(i, emotion, seconds=1.2):
    return voice(i, seconds + 0.05 * (i % 6), pitch=PITCH[emotion])


def listed(folder, rows, header="path,emotion,speaker"):
    (folder / "mine.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder / "mine.csv"


def run(table, *numbers):
    """Run notebooks; return the folder of their tables, and what each of them printed."""
    pipeline.run(table, profile="quick", only=numbers, out=table.parent / "out")
    said = {}
    for page in (table.parent / "out/reports").rglob("[01]*.ipynb"):
        outputs = [output for cell in nbformat.read(page, 4).cells for output in cell.get("outputs", [])]
        said[page.name[:2]] = "".join(output.get("text", "") for output in outputs)
    return next((table.parent / "out").rglob("clips.parquet")).parent, said


def test_where_speakers_are_tied_to_emotions_no_row_is_per_speaker_and_every_notebook_says_so(tmp_path):
    rows, names = [], list(PITCH)
    for i in range(54):
        speaker = i // 6
        emotion = names[(speaker + (i % 6 == 0)) % 3]  # one clip of each speaker has another emotion
        soundfile.write(tmp_path / f"{i}.wav", spoken(i, emotion), RATE)
        rows.append(f"{i}.wav,{emotion},s{speaker}")
    tables, said = run(listed(tmp_path, rows), "01", "02", "03", "04", "05", "07", "08", "09", "11")
    scores = pd.read_csv(next((tmp_path / "out/reports").rglob("scores.csv")))
    assert {"egemaps-lda", "encoder-cnn", "encoder-start-lda"} <= set(scores.system)
    assert not scores.system.str.contains("/speaker").any()
    made = [pd.read_parquet(tables / f"predictions_{number}.parquet").system for number in ("03", "04", "07")]
    assert not pd.concat(made).str.contains("/speaker").any()
    assert not pd.read_parquet(tables / "transfer.parquet").system.str.contains("/speaker").any()
    assert not pd.read_parquet(tables / "mistakes.parquet").mistake.str.contains("per-speaker").any()
    for number in ("03", "04", "07", "08", "11"):
        assert "left out: 9 of 9 speakers with several clips have one emotion or almost one" in said[number], number


def test_stretches_of_one_file_give_the_scores_of_the_same_stretches_cut_into_files(tmp_path):
    tables, scores = {}, {}
    for kind in ("stretches", "files"):
        (tmp_path / kind).mkdir()
        rows, waves, start = [], [], 0
        for i in range(24):
            emotion, speaker = list(PITCH)[i % 3], i // 6
            wave = np.round(32767 * spoken(i, emotion)).astype("int16")
            rest = np.zeros(800 + i, "int16")
            if kind == "files":
                name = f"long_{round(1000 * start / RATE)}"
                soundfile.write(tmp_path / kind / f"{name}.wav", wave, RATE)
                rows.append(f"{name}.wav,{emotion},s{speaker}")
            else:
                rows.append(f"long.wav,{start / RATE:.7f},{(start + wave.size) / RATE:.7f},{emotion},s{speaker}")
            start += wave.size + rest.size
            waves += [wave, rest]
        header = "path,emotion,speaker"
        if kind == "stretches":
            soundfile.write(tmp_path / kind / "long.wav", np.concatenate(waves), RATE)
            header = "path,start,end,emotion,speaker"
        tables[kind], _ = run(listed(tmp_path / kind, rows, header), "01", "02", "03", "04", "05", "08")
        scores[kind] = pd.read_csv(next((tmp_path / kind / "out/reports").rglob("scores.csv")))
    pd.testing.assert_frame_equal(scores["stretches"], scores["files"])
    for path in sorted(tables["files"].glob("*.parquet")):
        one, two = (pd.read_parquet(folder / path.name) for folder in tables.values())
        shared = [name for name in two if name in one and name != "path"]
        assert path.stem in ("clips", "left_out") or list(one) == list(two)
        pd.testing.assert_frame_equal(one[shared], two[shared], obj=path.stem)


def stored(wave, rate=RATE, form="WAV", subtype=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def phone(codec, container, rate):
    return lambda wave, i: encoded(codec, container, rate, seed=i)


def as_wav(subtype, form="WAV", rate=RATE):
    return lambda wave, i: stored(wave if rate == RATE else voice(i, rate=rate), rate, form, subtype)


#: Name, and the bytes of a wave and its number.
USED = [
    ("8bit.wav", as_wav("PCM_U8")), ("24bit.wav", as_wav("PCM_24")), ("float.wav", as_wav("FLOAT")),
    ("double.wav", as_wav("DOUBLE")), ("mulaw.wav", as_wav("ULAW", rate=8000)), ("gsm.wav", as_wav("GSM610", rate=8000)),
    ("adpcm.wav", as_wav("IMA_ADPCM")), ("g721.au", as_wav("G721_32", "AU", 8000)), ("large.rf64", as_wav(None, "RF64")),
    ("mac.aiff", as_wav(None, "AIFF")), ("core.caf", as_wav(None, "CAF")), ("sony.w64", as_wav(None, "W64")),
    ("free.flac", as_wav(None, "FLAC")), ("vorbis.ogg", as_wav("VORBIS", "OGG")), ("opus.opus", as_wav("OPUS", "OGG")),
    ("music.mp3", as_wav(None, "MP3")), ("studio.wav", as_wav(None, rate=44_100)), ("صدا.wav", as_wav(None)),
    ("phone.m4a", phone("aac", "ipod", 44_100)), ("browser.webm", phone("libopus", "webm", 48_000)),
    ("old.amr", phone("amr_nb", "amr", 8000)), ("m4a named.wav", phone("aac", "ipod", 44_100)),
]  # fmt: skip
#: Name, bytes, and what notebook 01 says of a recording that is used all the same.
DOUBTED = [
    ("no length.wav", lambda wave, i: stated(stored(wave), 0), "no length.wav has no length in its header"),
    ("half.wav", lambda wave, i: half(stored(wave)), "half.wav is damaged: [0-9]+ of [0-9]+ samples"),
    ("opposite.wav", lambda wave, i: stored(np.c_[wave, -wave]), "opposite.wav has channels that cancel each other"),
    ("integers.wav", lambda wave, i: stored(np.round(wave * 32768), subtype="FLOAT"), "integers.wav .*divided by 32768"),
    ("pauses.wav", lambda wave, i: stored(np.r_[np.zeros(8 * RATE), wave, np.zeros(8 * RATE)]), "mostly silence"),
    ("silent.wav", lambda wave, i: stored(0 * wave), "silent"),
    ("short.wav", lambda wave, i: stored(wave[:800]), "too short"),
]  # fmt: skip
#: Name, bytes, and why it is left out.
REFUSED = [
    ("pointer.wav", POINTER, "Git LFS pointer"), ("text.mp3", b"hello", "is text"), ("page.wav", b"<html></html>", "a web page"),
    ("empty.webm", b"", "it is empty"), ("zeros.wav", bytes(5000), "of no kind that is known here"),
    ("header.wav", stored(np.zeros(0)), "holds no samples"), ("zip.wav", b"PK\x03\x04" + bytes(50), "is a zip file"),
    ("cut.m4a", half(encoded("aac", "ipod", 44_100)), "MPEG-4.*cut short"),
]  # fmt: skip


def test_of_a_table_in_every_format_each_recording_is_used_doubted_or_left_out_for_the_right_reason(tmp_path):
    rows, names = [], list(PITCH)
    for i, (name, content, *_) in enumerate([*USED, *DOUBTED, *REFUSED]):
        emotion = names[i % 3]
        (tmp_path / name).write_bytes(content(spoken(i, emotion), i) if callable(content) else content)
        rows.append(f"{name},{emotion},s{i // 3 % 6}")
    tables, said = run(listed(tmp_path, rows), "01", "02", "03")
    clips = pd.read_parquet(tables / "clips.parquet")
    assert sorted(clips.path.str.rsplit("/", n=1).str[1]) == sorted(name for name, *_ in [*USED, *DOUBTED])
    assert clips.duration[~clips["clip"].isin(["half", "pauses", "short"])].between(1.1, 1.6).all()
    assert f"could not be read: {len(REFUSED)} files" in said["01"]
    for name, _, reason in REFUSED:
        assert re.search(rf"^  {name}: .*{reason}", said["01"], re.M), name
    found = pd.read_parquet(tables / "audit.parquet").set_index("clip").problem
    for name, _, doubt in DOUBTED:
        problems = set(found.get([name.split(".")[0]], []))
        assert doubt in problems if doubt in set(found) else re.search(f"^{doubt}", said["01"], re.M), (name, problems)
    whole = [name for name, *_ in USED]
    assert not any(f"{name} is " in said["01"] or f"{name} has " in said["01"] for name in whole)
    assert not set(found.index[found != "other sample rate"]) & {name.rsplit(".", 1)[0] for name in whole}
    judged = pd.read_parquet(tables / "predictions_03.parquet").groupby("system")["clip"].nunique()
    assert (judged == len(clips)).all()
    record = next((tmp_path / "out").rglob("run.json")).read_text(encoding="utf-8")
    assert "text.mp3 (" in record and "is text" in record
