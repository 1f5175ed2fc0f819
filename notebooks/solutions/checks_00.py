"""What is right in the exercises of 00_listen.ipynb; see `ser_utils.checks`."""

import pandas as pd

from ser_utils import corpora, evaluation
from ser_utils.checks import difference


def exercise_1(answer, heard):
    """UAR weighs every emotion the same, however many clips it has."""
    recalls = [hits / clips for hits, clips in heard.values()]
    hits, clips = map(sum, zip(*heard.values(), strict=True))
    hints = {"that is the share of all clips (WA), in which anger counts twice": hits / clips}
    return difference(answer, sum(recalls) / len(recalls), hints)


def exercise_2(answer, guesses, emotions):
    """Errors that listeners do not share cancel out in a vote; errors that all share remain."""
    right = pd.crosstab(guesses["clip"], guesses["guess"]).reindex(columns=emotions, fill_value=0).idxmax(axis=1)
    if not isinstance(answer, pd.Series) or set(answer.index) != set(right.index):
        return "a Series with one emotion for each clip that was answered is needed"
    wrong = (answer.reindex(right.index) != right).sum()
    return f"{wrong} of {len(right)} clips have another emotion than the vote" if wrong else None


def exercise_3(answer, clips, emotions):
    """Four times as many clips make an interval about half as wide, while there are clips of other speakers to add."""
    right = {}
    for size in (20, 80, 320):
        quiz = corpora.draw_quiz(clips, size, seed=1)
        simulated = evaluation.simulate_listeners(quiz, emotions, right=[0.6], seed=1)
        table = evaluation.answers_as_predictions(simulated, quiz, emotions)
        row = evaluation.scores(table, resamples=1000).set_index("metric").loc["uar"]
        right[size] = float(row.high - row.low)
    hints = {"that is half of the width": {size: width / 2 for size, width in right.items()}}
    return difference(answer, right, hints, tolerance=0.12)  # other seeds give other listeners
