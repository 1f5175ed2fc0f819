"""What the exercises of the notebooks say of an answer: right, and why it matters; or what is wrong, in one sentence.

What is right stands beside the solutions, in `notebooks/solutions/checks_NN.py`: one function `exercise_N` per
exercise. It gets the answer and objects of the notebook, computes what is right from them (so exercises work on every
corpus), and returns what is wrong, or None. Its docstring is the sentence that a right answer is given.
"""

import runpy
from collections.abc import Callable, Mapping
from numbers import Real

import numpy as np
import pandas as pd

from ser_utils import ROOT, SerError, evaluation, models


def check(name: str, answer: object, *given: object) -> None:
    """Print whether the answer to an exercise is right.

    Parameters
    ----------
    name : str
        Number of notebook and exercise, such as "04-2".
    answer : object
        The answer, or `...` for an exercise that is not done yet.
    *given : object
        What the exercise's cell passes on: the objects from which the right answer is computed.

    Raises
    ------
    SerError
        If no exercise has this name.
    """
    notebook, _, number = name.partition("-")
    path = ROOT / "notebooks" / "solutions" / f"checks_{notebook}.py"
    problem_of = runpy.run_path(str(path)).get(f"exercise_{number}") if path.exists() else None
    if problem_of is None:
        raise SerError(f"no exercise is called {name!r}: an exercise of notebook 04 is called 04-1")
    if any(one is ... for one in (answer, *given)):
        print(f"{name}: not done yet. Write your code where `...` stands and run the cell again.")
    elif problem := problem_of(answer, *given):
        print(f"{name}: not yet. {problem[0].upper()}{problem[1:]}.")
    else:
        print(f"{name}: right. {problem_of.__doc__}")


def difference(answer, right, hints: Mapping[str, object] | None = None, *, tolerance: float = 1e-6) -> str | None:
    """What is wrong with an answer, in words.

    Parameters
    ----------
    answer, right : number, array, or dict or Series of numbers
    hints : mapping, optional
        What to say of a usual wrong answer → that answer.
    tolerance : float
        Largest difference that counts as equal.

    Returns
    -------
    str or None
        Without a full stop; None if the answer is right.
    """
    kinds = {dict: "a dict or a Series", np.ndarray: "an array", Real: "a number"}
    answer = answer.to_dict() if isinstance(answer, pd.Series) else answer
    kind = next(kind for kind in kinds if isinstance(right, kind))
    if not isinstance(answer, kind) or isinstance(answer, bool):
        return f"{kinds[kind]} is needed, not {type(answer).__name__}"
    if kind is dict and set(answer) != set(right):
        return f"the keys {', '.join(map(str, right))} are needed; yours are {', '.join(map(str, answer))}"
    if np.shape(answer) != np.shape(right):
        return f"its shape is {np.shape(answer)}, and {np.shape(right)} is needed"

    def equal(other) -> bool:
        if kind is dict:
            return bool(np.allclose([answer[key] for key in other], [*other.values()], rtol=0, atol=tolerance))
        if np.shape(other) != np.shape(right):
            return False
        # A dimension that hardly varies is divided by almost nothing: single values of an array may differ.
        return bool(np.isclose(answer, other, rtol=1e-4 if kind is np.ndarray else 0, atol=tolerance).mean() > 0.99)

    if equal(right):
        return None
    hints, otherwise = dict(hints or {}), "the form is right, the values are not"
    if kind is dict and len(right) == 2:
        hints["the two numbers are the wrong way round"] = dict(zip(right, [*right.values()][::-1], strict=True))
    if kind is Real:
        hints["that is in per cent: give a fraction of 1"] = 100 * right
        otherwise = f"{answer:.4g} is too {'high' if answer > right else 'low'}"
    return next((hint for hint, wrong in hints.items() if equal(wrong)), otherwise)


def uar(predictions: pd.DataFrame) -> float:
    """UAR of one system at clip level, mean over seeds."""
    return float(evaluation.recalls(predictions).iloc[0].mean())


def probe(X: np.ndarray, whole: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Predictions of LDA for whole clips, `X` of shape (clips, dims), each by a model of other speakers."""
    folds = evaluation.folds(clips)
    return evaluation.cross_validate(models.LinearProbe(), X, whole, clips, folds=folds, system="probe", progress=False)


def halves(X: np.ndarray, names: tuple[str, str], function: Callable[[np.ndarray], float]) -> dict[str, float]:
    """A number for each half of the dimensions: means over time come first, standard deviations second."""
    return {name: float(function(half)) for name, half in zip(names, np.array_split(X, 2, axis=1), strict=True)}


def found(predictions: pd.DataFrame, clips: pd.DataFrame) -> dict[str, str]:
    """What `evaluation.audit` finds: check → detail. Sounds are not compared, which would take long."""
    report = evaluation.audit(predictions, clips.drop(columns="path", errors="ignore")).set_index("check")
    return report.detail[report.verdict == "found"].to_dict()


def own_system(answer, clips: pd.DataFrame, earlier: pd.DataFrame) -> str | None:
    """What is wrong with a reader's predictions table: it must be valid, of all clips, of unseen speakers, and new.

    `earlier` is the table of the system that the reader's is compared with. Returns None if nothing is wrong.
    """
    if not isinstance(answer, pd.DataFrame) or "system" not in answer or answer.system.nunique() != 1:
        return "a predictions table of one system is needed, as `evaluation.cross_validate` returns it"
    needed = ("invalid", "clips left", "labels differ", "speakers differ", "segments of one", "speakers on")
    for name, detail in found(answer, clips).items():
        if name.startswith(needed):
            return f"{name}: {detail}"
    emotions = evaluation.emotions_of(earlier)
    mine, other = (evaluation.to_clips(table).groupby("clip")[emotions].mean() for table in (answer, earlier))
    same = mine.index.isin(other.index).all() and np.allclose(mine, other.loc[mine.index])
    return f"these are the predictions of '{earlier.system.iloc[0]}': nothing was changed" if same else None
