"""Answers of listeners: what files may hold, what is refused, how simulated ones guess, and how far raters agree."""

import numpy as np
import pandas as pd
import pytest
from small import one_line
from tables import SIX, make_clips

from ser_utils import SerError, corpora, evaluation

QUIZ = corpora.draw_quiz(make_clips(), 20)
FIRST, SECOND = QUIZ["clip"][:2]


@pytest.fixture
def read(tmp_path):
    """Write files of answers and read their folder."""

    def write_and_read(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        return evaluation.read_answers(tmp_path, QUIZ, SIX)

    return write_and_read


def test_a_folder_holds_the_answers_of_a_class_by_name_or_by_number(read):
    answers = read(anna=f"clip,listener,guess\n{FIRST},Anna,anger\n{SECOND},Anna,\n", ben="clip;listener;guess\n2; Ben ;fear\n")
    assert answers.to_numpy().tolist() == [[FIRST, "Anna", "anger"], [SECOND, "Ben", "fear"]]


def test_an_empty_folder_has_no_answers(read):
    answers = read()
    assert answers.empty and list(answers) == ["clip", "listener", "guess"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip,listener,guess\n1,Anna,anger\nF99,Anna,anger\n", "anna.csv, line 3: clip 'F99': .*from 1 to 20"),
        ("clip,listener,guess\n21,Anna,anger\n", "anna.csv, line 2: clip '21'"),
        ("clip,listener,guess\n1,Anna,angry\n", "line 2: guess 'angry': give one of anger, fear"),
        ("clip,listener,guess\n1,,anger\n", "line 2: listener '': write who"),
        ("clip,listener,guess\n1,Anna,anger\n1,Anna,fear\n", "line 3: clip '1': .* keep one row"),
        ("clip,guess\n1,anger\n", "anna.csv lacks the column listener: it has clip, guess"),
        ("", "anna.csv is not a readable CSV file"),
    ],
)
def test_what_cannot_be_an_answer_is_refused_with_file_and_line(text, said, read):
    with pytest.raises(SerError, match=said) as caught:
        read(anna=text)
    one_line(caught)


def test_the_same_clip_twice_by_one_listener_in_two_files_is_refused(read):
    with pytest.raises(SerError, match="b.csv, line 2"):
        read(a="clip,listener,guess\n1,Anna,anger\n", b=f"clip,listener,guess\n{FIRST},Anna,anger\n")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SerError, match="is not a folder: name the one with the answers"):
        evaluation.read_answers(tmp_path / "elsewhere", QUIZ, SIX)


def test_simulated_listeners_are_named_so_and_right_as_often_as_asked():
    many = make_clips(speakers=20, each=10)
    answers = evaluation.simulate_listeners(many, SIX, right=[0.2, 0.7])
    right = answers["guess"].to_numpy() == np.tile(many["emotion"].to_numpy(), 2)
    shares = right.reshape(2, -1).mean(axis=1)
    assert shares == pytest.approx([0.2, 0.7], abs=0.04)
    assert answers["listener"].str.startswith("simulated").all() and answers["listener"].nunique() == 2
    assert set(answers["guess"]) == set(SIX)
    assert answers.equals(evaluation.simulate_listeners(many, SIX, right=[0.2, 0.7]))


def test_answers_are_scored_like_any_system():
    answers = evaluation.simulate_listeners(QUIZ, SIX, right=[1, 0])
    table = evaluation.answers_as_predictions(answers, QUIZ, SIX)
    uar = evaluation.scores(table, resamples=50).query("metric == 'uar'").set_index("system")["value"]
    assert uar.to_dict() == {"simulated listener 1": 1.0, "simulated listener 2": 0.0}
    speaker = QUIZ.set_index("clip")["speaker"]
    assert (table["speaker"] == table["clip"].map(speaker)).all()


@pytest.mark.parametrize("seed", range(3))
def test_kappa_is_that_of_statsmodels(seed):
    rater = pytest.importorskip("statsmodels.stats.inter_rater")
    votes = np.random.default_rng(seed).multinomial(5, [0.5, 0.3, 0.15, 0.05], size=20)
    assert evaluation.fleiss_kappa(votes) == pytest.approx(rater.fleiss_kappa(votes))


def test_kappa_is_one_for_full_agreement_about_zero_for_chance_and_needs_two_raters():
    rng = np.random.default_rng(0)
    assert evaluation.fleiss_kappa([[3, 0], [0, 3]]) == 1
    assert abs(evaluation.fleiss_kappa(rng.multinomial(4, [0.6, 0.4], size=3000))) < 0.03
    assert evaluation.fleiss_kappa([[3, 0], [0, 3], [1, 0]]) == 1, "a clip with one rater does not count"
    assert np.isnan(evaluation.fleiss_kappa([[3, 0], [3, 0]]))
    with pytest.raises(SerError, match="no clip has two raters"):
        evaluation.fleiss_kappa(pd.DataFrame({"anger": [1, 0], "fear": [0, 1]}))
