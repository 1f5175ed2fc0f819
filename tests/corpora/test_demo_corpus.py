"""The demo corpus that is committed: what its card promises, and that nothing but speech gives emotions away."""

import json
import shutil

import corpus_acoustics
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


def effects_in_the_card() -> dict[str, list[float]]:
    """Eta squared of emotion in the demo, nEMO and RAVDESS, per measure: the first column of the card's table."""
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| measure | emotion: demo / nEMO / RAVDESS |"))
    rows = [line.split(" | ") for line in lines[first + 2 : first + 2 + len(corpus_acoustics.MEASURES)]]
    return {row[0].strip("| "): [float(value) for value in row[1].split(" / ")] for row in rows}


@pytest.mark.long
def test_emotion_and_speakers_move_its_acoustics_as_much_as_in_corpora_of_people(clips):
    pytest.importorskip("opensmile")
    table = corpus_acoustics.measured(corpus_acoustics.sample(clips, 240))  # all clips take a minute
    card, own = effects_in_the_card(), []
    for measure in ("loudness", "F0", "spectral tilt", "rate", "HNR"):
        demo, *people = card[measure]
        assert min(people) <= demo <= max(people), measure
        found = corpus_acoustics.shares(table, measure)
        assert min(people) - 0.1 <= found["emotion"] <= max(people) + 0.1, measure
        assert abs(found["emotion"] - demo) < 0.12, measure
        own.append(found["own way"])
    # Without it, all voices would express an emotion in the same way, as no two people do.
    assert np.mean(own) > 0.08


def test_the_shares_of_emotion_and_of_own_ways_are_those_that_a_table_was_made_with():
    rng, rows = np.random.default_rng(0), []
    for speaker in range(200):
        voice = 3 * rng.normal()
        for emotion, effect in zip(corpus_acoustics.EMOTIONS, (-1.5, -1, 0, 0, 1, 1.5), strict=True):
            own = 0.8 * rng.normal()
            for _ in range(2 + 6 * (emotion == "anger")):
                rows.append((f"S{speaker}", emotion, voice + effect + own + rng.normal()))
    table = pd.DataFrame(rows, columns=["speaker", "emotion", "F0"])
    found = corpus_acoustics.shares(table, "F0")
    # Speakers' means take a sixth of their own ways with them, and a twelfth to an eighteenth of what is left.
    emotion, own, rest, voice = 6.5 / 6, 0.64 * 5 / 6, 1.0, 9.0
    within = emotion + own + 0.93 * rest
    assert found["emotion"] == pytest.approx(emotion / within, abs=0.04)
    assert found["own way"] == pytest.approx(own / within, abs=0.04)
    assert found["speaker"] == pytest.approx(voice / (voice + within), abs=0.1)
    assert found["spread"] == pytest.approx(rest, abs=0.05)


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
