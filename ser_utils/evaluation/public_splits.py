"""Published splits of corpora: which test speakers are in the training part, too?"""

import re
from pathlib import Path

import pandas as pd

from ser_utils import SerError
from ser_utils.evaluation.speaker_folds import named


def split_leaks(splits: pd.DataFrame | str | Path, *, speaker: str | None = None) -> pd.DataFrame:
    """Count the test speakers and test files of a published split that are in its other parts, too.

    Parameters
    ----------
    splits : DataFrame, str or Path
        A table, or a CSV or JSON Lines file, with the columns `file` (or `wav`, `path`), `split` (test, and any other
        names) and optionally `speaker` and `fold`. Or a folder of JSON Lines files named as EmoBox's,
        `emodb_train_fold_1.jsonl` and `emodb_test_fold_1.jsonl`.
    speaker : str, optional
        Regular expression whose first group is the speaker in a file's name, for splits that do not name speakers.

    Returns
    -------
    DataFrame
        One row per fold: `fold, test_speakers, shared_speakers, test_files, shared_files, who` (the shared speakers).

    Raises
    ------
    SerError
        If a column is missing, no file is in the test part, or the pattern does not match a name.

    Examples
    --------
    >>> table = pd.DataFrame({"file": ["F01_a.wav", "F01_b.wav", "M02_a.wav"], "split": ["train", "test", "test"]})
    >>> split_leaks(table, speaker="^([FM][0-9]+)")[["test_speakers", "shared_speakers", "who"]].to_dict("records")
    [{'test_speakers': 2, 'shared_speakers': 1, 'who': 'F01'}]
    """
    table = splits if isinstance(splits, pd.DataFrame) else _read(Path(splits))
    table = table.rename(columns={name: "file" for name in ("wav", "path") if name in table and "file" not in table})
    missing = [name for name in ("file", "split") if name not in table]
    if missing:
        raise SerError(f"the split has no column {', '.join(missing)}: it has {', '.join(map(str, table.columns))}")
    table = table.assign(fold=table.get("fold", 1))
    if speaker is not None:
        names = table["file"].str.split("/").str[-1]
        table["speaker"] = names.str.extract(speaker, expand=True)[0]
        if table["speaker"].isna().any():
            raise SerError(f"the pattern {speaker} finds no speaker in {names[table['speaker'].isna()].iloc[0]}")
    elif "speaker" not in table:
        raise SerError("the split has no column speaker: give a pattern that reads it from the file names")
    if not (table["split"] == "test").any():
        raise SerError(f"no file is in a part called test: the parts are {named(table['split'])}")
    rows = []
    for fold, own in table.groupby("fold"):
        test, rest = own[own["split"] == "test"], own[own["split"] != "test"]
        shared = set(test["speaker"]) & set(rest["speaker"])
        rows.append({"fold": fold, "test_speakers": test["speaker"].nunique(), "shared_speakers": len(shared),
                     "test_files": test["file"].nunique(), "shared_files": len(set(test["file"]) & set(rest["file"])),
                     "who": named(shared)})  # fmt: skip
    return pd.DataFrame(rows)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_dir():
        try:
            return pd.read_json(path, lines=True) if path.suffix == ".jsonl" else pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise SerError(f"{path} is not readable as a split: {' '.join(str(error).split())}") from error
    parts = []
    for file in sorted(path.rglob("*.jsonl")):
        if found := re.search(r"_(train|valid|test)_fold_?(\d+)$", file.stem):
            parts.append(pd.read_json(file, lines=True).assign(split=found[1], fold=int(found[2])))
    if not parts:
        raise SerError(f"{path} holds no files such as emodb_test_fold_1.jsonl")
    return pd.concat(parts, ignore_index=True)
