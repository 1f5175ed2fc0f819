"""The demo corpus that is committed: what its card promises, and that nothing but speech gives emotions away."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_utils import audio, corpora

FOLDER = corpora.default_folder("demo")


@pytest.fixture(scope="module")
def clips():
    return corpora.load("demo", strict=True)


def test_it_is_large_enough_and_small_enough(clips):
    assert len(clips) >= 600 and clips["speaker"].nunique() >= 12
    assert clips.groupby("gender")["speaker"].nunique().min() >= 6
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 8e6


def test_its_emotions_are_shemos_six_with_anger_and_neutral_most_and_fear_least_frequent(clips):
    counts = clips["emotion"].value_counts()
    assert set(counts.index) == {"anger", "fear", "happiness", "neutral", "sadness", "surprise"}
    assert set(counts.index[:2]) == {"anger", "neutral"}
    assert counts.index[-1] == "fear" and counts["fear"] >= 35


def test_its_lengths_are_spread_like_shemos(clips):
    assert (clips["sample_rate"] == 16_000).all()
    assert clips["duration"].min() > 0.5 and clips["duration"].max() < 9
    assert 2 <= clips["duration"].median() <= 3


def test_every_speaker_disjoint_fold_trains_and_tests_on_every_emotion(clips):
    from sklearn.model_selection import StratifiedGroupKFold

    for seed in range(3):
        splits = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for train, test in splits.split(clips, clips["emotion"], clips["speaker"]):
            assert clips["emotion"].iloc[train].nunique() == 6
            assert clips["emotion"].iloc[test].nunique() == 6


def test_its_transcripts_are_in_shemos_format_and_agree_with_the_file_names(clips):
    entries = json.loads((FOLDER / "transcripts.json").read_text(encoding="utf-8"))
    table = pd.DataFrame.from_dict(entries, orient="index").loc[clips["clip"]]
    assert len(entries) == len(clips)
    for column, ours in (("speaker_id", "speaker"), ("gender", "gender"), ("emotion", "emotion"), ("transcript", "text")):
        assert list(table[column]) == list(clips[ours])
    assert clips["text"].nunique() >= 40
    assert table.loc[table["emotion"] == "neutral", "strength"].eq(0).all()
    assert table.loc[table["emotion"] != "neutral", "strength"].between(0.4, 1.2).all()


def test_no_recording_is_silent_clipped_or_a_copy_of_another(clips):
    seen = set()
    for path in clips["path"]:
        wave = audio.read(path)
        assert 0.02 < np.abs(wave).max() < 0.999, path
        assert np.isfinite(wave).all() and np.mean(np.abs(wave) > 0.95) < 1e-3, path
        seen.add(wave.tobytes())
    assert len(seen) == len(clips)


def test_sentences_and_lengths_do_not_depend_on_the_emotion(clips):
    # Rates differ, as they do in speech; a sentence heard in one emotion only would be a shortcut.
    from scipy.stats import chi2_contingency

    common = clips[clips.groupby("text")["text"].transform("size") >= 10]
    assert chi2_contingency(pd.crosstab(common["text"], common["emotion"])).pvalue > 0.01
    medians = clips.groupby("emotion")["duration"].median()
    assert medians.max() / medians.min() < 1.6


def test_room_noise_does_not_depend_on_the_emotion(clips):
    from scipy.stats import kruskal

    floor = []
    for path in clips["path"]:
        wave = audio.read(path)[:480]  # 30 ms before the voice starts
        floor.append(20 * np.log10(np.sqrt(np.mean(wave**2)) + 1e-7))
    groups = [np.asarray(floor)[clips["emotion"] == emotion] for emotion in sorted(set(clips["emotion"]))]
    assert np.std(floor) > 3
    assert kruskal(*groups).pvalue > 0.01


def test_the_card_says_first_that_it_is_synthetic_and_gives_the_true_counts(clips):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    first = card.split("\n\n")[1]
    assert "synthetic" in first and "nothing about human emotion" in first
    assert f"{len(clips)} clips" in card and f"{clips['speaker'].nunique()} voices" in card
    for emotion, count in clips["emotion"].value_counts().items():
        assert f"| {emotion} | {count} |" in card
    assert corpora.label("demo") == "demo (synthetic)"


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is needed to make clips anew")
def test_the_script_makes_the_committed_clips_again(clips, tmp_path, monkeypatch):
    pytest.importorskip("parselmouth")
    import make_demo

    names = list(clips["clip"].iloc[[3, 500]])
    make_demo.make(tmp_path, only=names)
    for name in names:
        path = next(tmp_path.rglob(f"{name}.ogg"))
        old = audio.read(clips.set_index("clip").loc[name, "path"])
        new, rate = soundfile.read(path, dtype="float32")
        assert rate == 16_000 and new.shape == old.shape
        # Other versions of espeak-ng and Praat speak a little differently.
        assert np.corrcoef(new, old)[0, 1] > 0.5
