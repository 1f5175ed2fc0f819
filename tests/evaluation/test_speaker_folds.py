"""Published splits that share speakers, rebuilt as small tables, are counted as they were by hand."""

import json

import pandas as pd
import pytest

from ser_utils import SerError, evaluation


def split(train, test, fold=1, takes=2):
    """Files of the speakers of both parts; no file is in both."""
    rows = [(f"{speaker}_{part}{take}.wav", speaker, part, fold)
            for part, speakers in (("train", train), ("test", test)) for speaker in speakers for take in range(takes)]  # fmt: skip
    return pd.DataFrame(rows, columns=["file", "speaker", "split", "fold"])


def people(first, last):
    return [f"s{number:02d}" for number in range(first, last + 1)]


#: Training speakers, test speakers, and how many of these are in training: EmoBox's splits of these corpora.
COUNTED = {
    "ShEMO": (people(1, 87), people(1, 83), 83),
    "CREMA-D": (people(1, 91), people(1, 91), 91),
    "URDU": (people(1, 18), people(1, 19), 18),
    "RAVDESS": (people(1, 20), people(21, 24), 0),
}


@pytest.mark.parametrize("corpus", COUNTED)
def test_the_test_speakers_in_training_are_counted(corpus):
    train, test, shared = COUNTED[corpus]
    (row,) = evaluation.split_leaks(split(train, test)).itertuples()
    assert (row.test_speakers, row.shared_speakers) == (len(test), shared)
    assert row.test_files == 2 * len(test) and row.shared_files == 0
    assert ("s01" in row.who) == (shared > 0)


def test_each_fold_is_counted_by_itself():
    emodb = pd.concat([split(people(1, 10), people(1, 10), fold) for fold in range(1, 6)])
    found = evaluation.split_leaks(emodb)
    assert list(found["fold"]) == [1, 2, 3, 4, 5] and (found["shared_speakers"] == 10).all()
    disjoint = pd.concat([split(people(3, 9), people(1, 2), 1), split(people(1, 2), people(3, 9), 2)])
    assert (evaluation.split_leaks(disjoint)["shared_speakers"] == 0).all()


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_test_file_that_is_in_training_or_validation_is_counted(part):
    table = split(["a"], ["b"])
    again = pd.concat([table, table.tail(1).assign(split=part)])
    (row,) = evaluation.split_leaks(again).itertuples()
    assert (row.shared_files, row.shared_speakers, row.who) == (1, 1, "b")


def test_a_folder_as_emobox_publishes_it_and_a_csv_are_read(tmp_path):
    for fold, (train, test) in {1: (("03", "08"), ("03",)), 2: (("08",), ("03",))}.items():
        for part, speakers in (("train", train), ("test", test)):
            folder = tmp_path / f"fold_{fold}"
            folder.mkdir(exist_ok=True)
            lines = [json.dumps({"key": f"emodb-{s}a01{part[1]}", "wav": f"downloads/emodb/wav/{s}a01{part[1]}.wav"}) for s in speakers]
            (folder / f"emodb_{part}_fold_{fold}.jsonl").write_text("\n".join(lines))
    (tmp_path / "emodb.jsonl").write_text("{}")  # the list of all files is no part of the split
    found = evaluation.split_leaks(tmp_path, speaker=r"^(\d\d)")
    assert found[["fold", "test_speakers", "shared_speakers"]].to_numpy().tolist() == [[1, 1, 1], [2, 1, 0]]
    split(["a", "b"], ["b"]).to_csv(tmp_path / "own.csv", index=False)
    assert evaluation.split_leaks(tmp_path / "own.csv")["who"].tolist() == ["b"]


@pytest.mark.parametrize(
    "table, speaker, words",
    [
        (split(["a"], ["b"]).drop(columns="speaker"), None, "give a pattern"),
        (split(["a"], ["b"]), r"(\d{9})", r"finds no speaker in a_train0.wav"),
        (split(["a"], ["b"]).drop(columns="split"), None, "no column split: it has file, speaker, fold"),
        (split(["a"], []), None, "no file is in a part called test: the parts are train"),
        ("nowhere.csv", None, "not readable as a split"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_line(table, speaker, words):
    with pytest.raises(SerError, match=words) as caught:
        evaluation.split_leaks(table, speaker=speaker)
    assert "\n" not in str(caught.value)
