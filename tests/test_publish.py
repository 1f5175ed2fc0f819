"""What `make publish` copies, and what it leaves alone."""

import publish
import pytest

from ser_utils import SerError


def test_scores_and_at_most_twelve_figures_of_a_run_are_copied_and_older_ones_go(tmp_path):
    reports, figures = tmp_path / "reports", tmp_path / "figures"
    (reports / "nemo" / "figures").mkdir(parents=True)
    (figures / "nemo").mkdir(parents=True)
    (figures / "nemo" / "old.png").write_text("old")
    with pytest.raises(SerError, match="lacks scores.csv, 01_effects.png"):
        publish.publish("nemo", reports=reports, figures=figures)
    assert (figures / "nemo" / "old.png").exists(), "nothing is changed before all is there"
    (reports / "nemo" / "scores.csv").write_text("new")
    for name in [*publish.FIGURES, "05_other"]:
        (reports / "nemo" / "figures" / f"{name}.png").write_text(name)
    written = publish.publish("nemo", reports=reports, figures=figures)
    assert sorted(path.name for path in (figures / "nemo").iterdir()) == sorted(path.name for path in written)
    assert len(publish.FIGURES) <= 12 and (figures / "nemo" / "scores.csv").read_text() == "new"
