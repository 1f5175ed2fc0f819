"""What is right in the exercises of 05_segment_length.ipynb; see `ser_utils.checks`."""

from ser_utils import audio, evaluation
from ser_utils.checks import difference, own_system, uar


def exercise_1(answer, toy):
    """A rule for the rest of a clip decides how many segments there are, so a paper should state it."""
    kept, none, every = (len(audio.cut_segments(toy, seconds=1.0, min_coverage=least)) for least in (0.5, 1.0, 0.0))
    hints = {
        "a rest of half a segment or more is kept": none,
        "a rest of less than half a segment is dropped": every,
    }
    return difference(answer, kept, hints)


def exercise_2(answer, long, short):
    """A mean over speakers can hide that a change helps some people and harms others."""

    def by_speaker(table):
        table = evaluation.to_clips(table)
        right = evaluation.decided(table) == table.emotion
        return right.groupby([table.speaker, table.emotion]).mean().groupby("speaker").mean()

    gains = by_speaker(long) - by_speaker(short)
    hints = {"the sign is the wrong way round: long minus short": (-gains).to_dict()}
    return difference(answer, gains.to_dict(), hints, tolerance=1e-3)


def exercise_3(answer, predictions):
    """The length of each fold was chosen without the speakers that are tested in it."""
    folds = sorted(next(iter(predictions.values())).fold.unique())
    if not isinstance(answer, dict) or set(answer) != set(folds) or not set(answer.values()) <= set(predictions):
        return "a dict from each fold to a length (a key of `predictions`) is needed"
    for fold in folds:
        away = {name: uar(table[table.fold != fold]) for name, table in predictions.items()}
        if away[answer[fold]] < max(away.values()) - 1e-9:
            here = {name: uar(table[table.fold == fold]) for name, table in predictions.items()}
            peeked = here[answer[fold]] == max(here.values())
            return f"fold {fold}: " + ("that is the best on the tested fold" if peeked else "another length is better elsewhere")
    return None


def exercise_4(answer, clips, earlier):
    """A length that is chosen in training is tested with the rest of the system."""
    return own_system(answer, clips, earlier)
