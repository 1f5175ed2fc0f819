"""Annotation files of ELAN and Praat beside recordings become clips tables."""

import numpy as np
import pytest
import soundfile
from pympi import Eaf, TextGrid
from small import one_line

from ser_utils import SerError, corpora

TALK = [(0.0, 0.5, "Wut"), (0.5, 0.75, ""), (0.75, 1.25, "fear"), (1.25, 2.0, "خوشي")]


def record(path, seed=0, seconds=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)), 16_000)


def elan(path, *tiers):
    document = Eaf()
    document.remove_tier("default")
    for name, intervals, participant in tiers:
        document.add_tier(name, part=participant)
        for start, end, text in intervals:
            document.add_annotation(name, round(1000 * start), round(1000 * end), text)
    document.to_file(str(path))


def praat(path, *tiers, codec="utf-8", mode="normal"):
    grid = TextGrid(xmax=2.0)
    for name, intervals, _ in tiers:
        tier = grid.add_tier(name)
        for row in intervals:
            tier.add_interval(*row)
    grid.add_tier("clicks", "TextTier").add_point(0.3, "click")
    grid.to_file(str(path), codec=codec, mode=mode)


FORMS = {
    "ELAN": ("eaf", elan, {}),
    "Praat": ("TextGrid", praat, {}),
    "Praat, short": ("TextGrid", praat, {"mode": "short"}),
    "Praat, binary": ("textgrid", praat, {"mode": "binary"}),
    "Praat, UTF-16": ("TextGrid", praat, {"codec": "utf-16"}),
    "Praat, UTF-8 with its mark": ("TextGrid", praat, {"codec": "utf-8-sig"}),
}


@pytest.mark.parametrize(("ending", "write", "how"), FORMS.values(), ids=FORMS)
def test_labelled_intervals_become_clips_and_empty_ones_are_counted(tmp_path, capsys, ending, write, how):
    for seed, name in enumerate(("anna", "ben")):
        record(tmp_path / f"{name}.wav", seed)
        write(tmp_path / f"{name}.{ending}", ("emotion", TALK, None), **how)
    clips = corpora.from_annotations(tmp_path)
    assert list(clips["clip"]) == ["anna_0", "anna_1250", "anna_750", "ben_0", "ben_1250", "ben_750"]
    assert list(clips["emotion"]) == ["anger", "happiness", "fear"] * 2 and set(clips["speaker"]) == {"anna", "ben"}
    assert list(clips["start"][:3]) == [0.0, 1.25, 0.75] and list(clips["duration"][:3]) == [0.5, 0.75, 0.5]
    assert "intervals left out: 2 without a label" in clips.attrs["notes"]
    assert "Wut → anger" in capsys.readouterr().err


def test_the_result_is_a_table_that_loads_as_it_is(tmp_path):
    for seed, name in enumerate(("anna", "ben")):
        record(tmp_path / f"{name}.wav", seed)
        elan(tmp_path / f"{name}.eaf", ("emotion", TALK, None))
    clips = corpora.from_annotations(tmp_path)
    clips.to_csv(tmp_path / "talks.csv", index=False)
    again = corpora.load(tmp_path / "talks.csv")
    assert list(again.columns) == list(clips.columns) and again[["clip", "start", "end"]].equals(clips[["clip", "start", "end"]])


def two_people(tmp_path, **options):
    record(tmp_path / "day1" / "talk.wav")
    anna = [(0.0, 0.5, "anger"), (1.0, 1.5, "fear")]
    ben = [(0.5, 0.75, "fear"), (1.25, 1.75, "anger"), (1.75, 2.0, "fear")]
    words = [(0.0, 2.0, "hello")]
    elan(tmp_path / "day1" / "talk.eaf", ("E1", anna, "Anna"), ("E2", ben, None), ("words", words, None))
    return corpora.from_annotations(tmp_path, ["E1", "E2"], **options)


def test_a_tier_may_be_a_person_and_speech_of_two_at_once_is_left_out(tmp_path):
    clips = two_people(tmp_path, speaker="tier").sort_values("start")
    assert list(clips["speaker"]) == ["Anna", "E2", "E2"] and list(clips["start"]) == [0.0, 0.5, 1.75]
    assert "intervals left out: 2 that overlap with others" in clips.attrs["notes"]


def test_the_speaker_may_stand_in_the_path_and_labels_be_mapped(tmp_path):
    record(tmp_path / "day2" / "talk.wav", 1)
    praat(tmp_path / "day2" / "talk.TextGrid", ("E1", TALK, None), ("E2", [], None))
    clips = two_people(tmp_path, speaker=r"day(\d)", labels={"Wut": "boredom"})
    assert set(clips["speaker"]) == {"1", "2"} and set(clips["emotion"]) == {"anger", "boredom", "fear", "happiness"}


def test_what_cannot_be_used_is_refused_in_one_line_or_named(tmp_path):
    def refused(message, *arguments, **options):
        with pytest.raises(SerError, match=message) as caught:
            corpora.from_annotations(tmp_path, *arguments, **options)
        one_line(caught)

    refused("No annotation files in")
    record(tmp_path / "a.wav")
    elan(tmp_path / "a.eaf", ("E1", [(0, 1, "anger"), (1, 2, "fear")], None))
    refused("a.eaf has no tier emotion; it has E1", "emotion")
    refused("speaker='day' is neither file nor tier", speaker="day")
    refused("have one speaker .'a'")
    elan(tmp_path / "a.eaf", ("E1", [(0, 1, "anger"), (1, 3, "fear")], None))
    refused("a.eaf at 1 s: start 1 s, end 3 s, but a.wav lasts 2 s")
    (tmp_path / "a.eaf").write_text("<no")
    refused("a.eaf cannot be read as an annotation file")
    record(tmp_path / "b.wav", 1)
    elan(tmp_path / "a.eaf", ("E1", [(0, 1, "anger")], None))
    elan(tmp_path / "b.eaf", ("E1", [(0, 1, "fear")], None))
    elan(tmp_path / "gone.eaf", ("E1", [(0, 1, "fear")], None))
    with pytest.warns(UserWarning, match=r"gone.eaf \(no recording of its name\)"):
        assert len(corpora.from_annotations(tmp_path)) == 2
