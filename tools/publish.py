"""Copy the scores and the chosen figures of a corpus's last run into `figures/<corpus>/`, which is committed.

    .venv/bin/python tools/publish.py nemo            # or: make publish CORPUS=nemo

A run itself writes below `reports/` only, so that it leaves the clone clean.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ser_utils import ROOT, SerError, replacing

#: At most twelve figures per corpus: the main results, those that README shows among them.
FIGURES = (
    "01_effects", "01_silence", "02_map", "04_scores", "04_ladder", "05_length", "06_speakers",
    "07_factorial", "07_against", "07_gains", "07_labels", "08_mistakes",
)  # fmt: skip


def publish(corpus: str, *, reports: Path = ROOT / "reports", figures: Path = ROOT / "figures") -> list[Path]:
    """Replace a corpus's committed scores and figures by those of its last run.

    Parameters
    ----------
    corpus : str
        Name of the workspace, which is that of the corpus for the usual encoder and labels.
    reports, figures : Path
        Folders of the runs' reports and of the committed figures.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    SerError
        If there is no finished run, or it lacks a chosen figure; then nothing is changed.
    """
    source, target = reports / corpus, figures / corpus
    files = [source / "scores.csv", *(source / "figures" / f"{name}.png" for name in FIGURES)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise SerError(f"{source} lacks {', '.join(missing)}: run `ser run --corpus {corpus}` to its end first.")
    written = []
    for file in files:
        with replacing(target / file.name) as temporary:
            shutil.copyfile(file, temporary)
        written.append(target / file.name)
    for old in set(target.glob("*.png")) - set(written):
        old.unlink()
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus")
    try:
        print(*publish(parser.parse_args().corpus), sep="\n")
    except SerError as error:
        parser.exit(2, f"publish: {error}\n")
