"""A checklist for a predictions table: which known evaluation mistakes can be ruled out."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_utils import SerError, corpora
from ser_utils.evaluation.fingerprints import near_copies
from ser_utils.evaluation.intervals import confusions_by_unit, interval, uar, wa, weighted
from ser_utils.evaluation.predictions import COLUMNS, counts, emotions_of, to_clips, validate
from ser_utils.evaluation.speaker_folds import named

RULED_OUT, FOUND, NOT_FOUND, CANNOT_TELL = "ruled out", "found", "not found", "cannot tell"

#: Verdict and detail.
Finding = tuple[str, str]

#: Fewest speakers for which the simulation of tests/evaluation/test_intervals.py shows that intervals cover the truth.
FEW_SPEAKERS = 9

#: Accuracy above UAR by more than this is reported.
SKEW_GAP = 0.05

#: A speaker with this share of clips of one emotion is tied to it.
TIED = 0.8

# No predictions table shows these; they can only be found in the code that made it.
_UNSEEN = {
    "epoch chosen on the test fold": "look for early stopping on anything but training speakers",
    "layer or system chosen on the test fold": "report what was chosen before the test speakers were judged",
    "segments cut from a whole-clip feature map": "each segment must be encoded by itself",
    "interval over clips instead of speakers": "compute intervals with evaluation.scores",
}


def audit(
    predictions: pd.DataFrame, clips: pd.DataFrame, *, text_disjoint: bool = False, deterministic: Collection[str] = ()
) -> pd.DataFrame:
    """Check a predictions table for known evaluation mistakes.

    The checks assume that the model of each fold was trained on the clips of all other folds (with `text_disjoint`: on
    those that share neither speaker nor text with the fold).

    Parameters
    ----------
    predictions : DataFrame
        Of one or more systems, at clip or segment level, from here or from anywhere.
    clips : DataFrame
        Their clips table. Sound files are read from `path`, where they exist, to find recordings stored twice.
    text_disjoint : bool
        The folds are cells of `folds(..., text_disjoint=True)`.
    deterministic : collection of str
        Systems without randomness, which need only one seed.

    Returns
    -------
    DataFrame
        `check, verdict, detail`. Verdict is "ruled out", "found", "not found" (by a test that may miss it) or "cannot
        tell".
    """
    findings: list[tuple[str, str, str]] = []
    table = predictions.drop(columns=["start", "end"], errors="ignore")
    speakers = _from_clips(table, clips, "speaker") if "clip" in table else None

    def check(name: str, needs: set[str], function: Callable[..., Finding], *args: Any) -> None:
        if lacking := needs - set(predictions.columns):
            findings.append((name, CANNOT_TELL, f"the predictions have no column {', '.join(sorted(lacking))}"))
        else:
            findings.append((name, *function(*args)))

    fold, judged = {"clip", "fold"}, {"system", "seed", "clip"}
    check("invalid table", set(), _invalid, predictions)
    check("clips left out or judged by some systems only", judged, _left_out, table, clips)
    check("labels differ from the clips table", {"clip", "emotion"}, _differs, table, clips, "emotion")
    check("speakers differ from the clips table", {"clip", "speaker"}, _differs, table, clips, "speaker")
    check("segments of one clip on both sides", fold, _on_both_sides, table, table.get("clip"), "clip")
    check("speakers on both sides", fold, _shared_speakers, table, speakers, text_disjoint)
    check("the same sentence on both sides", fold, _shared_texts, table, clips, text_disjoint)
    check("one recording stored twice, on both sides", fold, _shared_recordings, table, clips)
    check("one speaker under several names", set(), _spellings, clips)
    check("speakers tied to emotions", set(), _tied, clips)
    check("an emotion missing from training", {"fold", "emotion"}, _missing_emotion, table)
    check("label leaks through the sample rate", set(), _sample_rate, clips)
    check("label leaks through the duration", set(), _duration, clips)
    check("test statistics used for normalisation", {"system"}, _normalisation, table)
    check("one seed", {"system", "seed"}, _one_seed, table, deterministic)
    check("few speakers", {"clip"}, _few_speakers, speakers)
    check("accuracy flattered by skewed classes", set(), _skew, predictions, findings[0][1] == FOUND)
    findings += [(name, CANNOT_TELL, f"not visible in predictions; {advice}") for name, advice in _UNSEEN.items()]
    return pd.DataFrame(findings, columns=["check", "verdict", "detail"])


def _from_clips(table: pd.DataFrame, clips: pd.DataFrame, column: str) -> pd.Series:
    """A column of the clips table for each row of predictions; NaN for unknown clips."""
    return table["clip"].map(clips.drop_duplicates("clip").set_index("clip")[column])


def _invalid(predictions: pd.DataFrame) -> Finding:
    try:
        validate(predictions)
    except SerError as error:
        return FOUND, str(error)
    emotions = len(emotions_of(predictions))
    return RULED_OUT, f"{len(predictions)} rows, columns {', '.join(COLUMNS)} and {emotions} emotions"


def _left_out(table: pd.DataFrame, clips: pd.DataFrame) -> Finding:
    judged = table.groupby(["system", "seed"])["clip"].agg(set)
    everyone = set(clips["clip"]) | set().union(*judged)
    for (system, seed), own in judged.items():
        if missing := everyone - own:
            detail = f"did not judge {len(missing)} of {len(everyone)} clips: {named(missing)}"
            return FOUND, f"'{system}' (seed {seed}) {detail}"
    if strangers := everyone - set(clips["clip"]):
        return FOUND, f"clips that the clips table does not know: {named(strangers)}"
    return RULED_OUT, f"every system and seed judged all {len(everyone)} clips"


def _differs(table: pd.DataFrame, clips: pd.DataFrame, column: str) -> Finding:
    known = _from_clips(table, clips, column)
    rows = table.index[known.notna() & (table[column] != known)]
    if len(rows):
        row, n = rows[0], table.loc[rows, "clip"].nunique()
        clash = f"{column} '{table.at[row, column]}' here and '{known[row]}' in the clips table ({n} such clips)"
        hint = "; was it cut from the wrong part of the file name?" if column == "speaker" else ""
        return FOUND, f"clip {table.at[row, 'clip']} has {clash}{hint}"
    return RULED_OUT, f"{column}s agree for all clips"


def _spread(table: pd.DataFrame, values: pd.Series) -> pd.Series:
    """True for rows whose value occurs in more than one fold of the same system and seed."""
    key = [table[name] if name in table else pd.Series(0, index=table.index) for name in ("system", "seed")]
    return table["fold"].groupby([*key, values]).transform("nunique").fillna(0) > 1


def _on_both_sides(table: pd.DataFrame, values: pd.Series, what: str) -> Finding:
    spread = values[_spread(table, values)].unique()
    if len(spread):
        return FOUND, f"{len(spread)} {what}s are in several folds: {named(spread)}"
    return RULED_OUT, f"every {what} is in one fold"


def _shared_speakers(table: pd.DataFrame, speakers: pd.Series, text_disjoint: bool) -> Finding:
    if speakers.isna().all():
        return CANNOT_TELL, "the clips table knows none of these clips"
    if text_disjoint:
        return RULED_OUT, "if training left out the fold's speakers, as text_disjoint says"
    return _on_both_sides(table, speakers, "speaker")


def _shared_texts(table: pd.DataFrame, clips: pd.DataFrame, text_disjoint: bool) -> Finding:
    if "text" not in clips or clips["text"].isna().any():
        return CANNOT_TELL, "the clips table has no text for some or all clips"
    if text_disjoint:
        return RULED_OUT, "if training left out the fold's texts, as text_disjoint says"
    return _on_both_sides(table, _from_clips(table, clips, "text"), "text")


def _shared_recordings(table: pd.DataFrame, clips: pd.DataFrame) -> Finding:
    clips = clips[clips["clip"].isin(table["clip"])]
    if "path" not in clips or not all(Path(path).is_file() for path in clips["path"]):
        return CANNOT_TELL, "sound files are not where the clips table says"
    recording = {clip: clip for clip in clips["clip"]}
    for pair in near_copies(clips).itertuples():
        recording[pair.other] = recording[pair.clip]
    heard = table["clip"].map(recording)
    # One clip in several folds is another check's business.
    renamed = table["clip"].groupby(heard).transform("nunique") > 1
    twins = table.loc[_spread(table, heard) & renamed, "clip"]
    if len(twins):
        return FOUND, f"the same sound under several names, in several folds: {named(twins)}"
    return NOT_FOUND, "no two clips in different folds sound like one recording; added noise or another speed would hide it"


def _spellings(clips: pd.DataFrame) -> Finding:
    alike = corpora.alike_speakers(clips["speaker"])
    return (FOUND, alike) if alike else (NOT_FOUND, "no two ids differ only in case, zeros, marks or look-alike letters")


def tied_speakers(clips: pd.DataFrame) -> str:
    """Say that most clips are of speakers with one emotion, or almost one; empty where they are not.

    Statistics of such a speaker are statistics of the emotion, so to normalise by speaker removes what is asked for.

    >>> tied_speakers(pd.DataFrame({"speaker": ["a", "a", "b", "b"], "emotion": ["fear", "fear", "anger", "anger"]}))
    '2 of 2 speakers with several clips have one emotion'
    """
    counts = pd.crosstab(clips["speaker"], clips["emotion"])
    counts = counts[counts.sum(axis=1) > 1]
    tied = counts[counts.max(axis=1) >= TIED * counts.sum(axis=1)]
    # Where nearly all clips are of one emotion, everybody has that one, and knowing the speaker tells nothing.
    if 2 * tied.sum(axis=None) <= counts.sum(axis=None) or tied.idxmax(axis=1).nunique() < 2:
        return ""
    almost = "" if (tied.astype(bool).sum(axis=1) == 1).all() else " or almost one"
    return f"{len(tied)} of {len(counts)} speakers with several clips have one emotion{almost}"


def _tied(clips: pd.DataFrame) -> Finding:
    if tied := tied_speakers(clips):
        return FOUND, f"{tied}: per-speaker statistics remove it, and a system may learn voices instead"
    return RULED_OUT, "most clips are of speakers with several emotions, or all speakers have the same one"


def _missing_emotion(table: pd.DataFrame) -> Finding:
    emotions = set(table["emotion"])
    key = [name for name in ("system", "seed") if name in table]
    for _, own in table.groupby(key) if key else [((), table)]:
        for fold in own["fold"].unique():
            lacking = emotions - set(own.loc[own["fold"] != fold, "emotion"])
            if lacking:
                return FOUND, f"no clip with {named(lacking)} outside fold {fold}"
    return RULED_OUT, "every emotion occurs outside of every fold"


def _sample_rate(clips: pd.DataFrame) -> Finding:
    """Association of emotion and stored sample rate, bias-corrected Cramér's V (Bergsma 2013)."""
    from scipy.stats import chi2_contingency

    table = pd.crosstab(clips["sample_rate"], clips["emotion"])
    if len(table) < 2:
        return RULED_OUT, f"all files have {table.index[0]} Hz"
    chi2, p, _, _ = chi2_contingency(table, correction=False)
    n, (r, k) = len(clips), table.shape
    corrected = max(0.0, chi2 / n - (k - 1) * (r - 1) / (n - 1))
    association = np.sqrt(corrected / (min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1))
    if p < 0.01 and association > 0.1:
        surprise = table / table.sum(axis=1).to_numpy()[:, None] - table.sum() / n
        rate, emotion = surprise.stack().idxmax()
        share, usual = table.loc[rate, emotion] / table.loc[rate].sum(), table[emotion].sum() / n
        detail = f"{share:.0%} of the {rate} Hz files are {emotion}, against {usual:.0%} of all"
        return FOUND, f"{detail} (Cramér's V {association:.2f})"
    return RULED_OUT, f"sample rates differ, but not with the emotion (Cramér's V {association:.2f})"


def _duration(clips: pd.DataFrame) -> Finding:
    """UAR of a small tree on the duration alone, for speakers that it was not fitted on."""
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    speakers, names = pd.factorize(clips["speaker"], sort=True)
    emotions, classes = pd.factorize(clips["emotion"], sort=True)
    if len(names) < 3 or len(classes) < 2:
        return CANNOT_TELL, "needs at least three speakers and two emotions"
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=5, class_weight="balanced", random_state=0)
    folds = GroupKFold(min(10, len(names)))
    guess = cross_val_predict(tree, clips[["duration"]].to_numpy(), emotions, groups=speakers, cv=folds)
    k = len(classes)
    confusions = confusions_by_unit(speakers, emotions, guess, len(names), k)
    (value,), (low,), (high,) = interval(weighted(confusions[None], uar), len(names), resamples=2000)
    detail = f"the clip's duration alone reaches UAR {value:.2f} [{low:.2f}, {high:.2f}], chance is {1 / k:.2f}"
    if low > 1 / k + 0.03:
        return FOUND, f"{detail}: speaking rate or the recording procedure; see that a system does not live on it"
    return RULED_OUT, detail


def _normalisation(table: pd.DataFrame) -> Finding:
    own = [name for name in table["system"].astype(str).unique() if name.endswith("/speaker")]
    if own:
        return FOUND, f"{named(own)} used unlabelled clips of the test speakers, as the name says; keep it apart"
    return CANNOT_TELL, "not visible in predictions; means and standard deviations must come from training speakers"


def _one_seed(table: pd.DataFrame, deterministic: Collection[str]) -> Finding:
    seeds = table[~table["system"].isin(deterministic)].groupby("system")["seed"].nunique()
    single = seeds.index[seeds < 2]
    if len(single):
        advice = "run at least 3, or name it in `deterministic` if nothing in it is random"
        return FOUND, f"{named(single)}: one seed; {advice}"
    return RULED_OUT, "every system with randomness was run with several seeds"


def _few_speakers(speakers: pd.Series) -> Finding:
    n = speakers.nunique()
    if n < FEW_SPEAKERS:
        return FOUND, f"{n} speakers: intervals were only shown to hold from {FEW_SPEAKERS} on"
    return RULED_OUT, f"{n} speakers"


def _skew(predictions: pd.DataFrame, invalid: bool) -> Finding:
    if invalid:
        return CANNOT_TELL, "the table is invalid, see above"
    by_system = to_clips(predictions).groupby("system", sort=False)
    confusions = {system: counts(own)[0].sum((0, 1)) for system, own in by_system}
    system = max(confusions, key=lambda name: wa(confusions[name]) - uar(confusions[name]))
    accuracy, recall, support = wa(confusions[system]), uar(confusions[system]), confusions[system].sum(-1)
    detail = f"'{system}': accuracy {accuracy:.3f}, UAR {recall:.3f}; "
    detail += f"the largest emotion holds {support.max() / support.sum():.0%} of the clips"
    return (FOUND, f"{detail}: report UAR") if accuracy - recall > SKEW_GAP else (RULED_OUT, detail)
