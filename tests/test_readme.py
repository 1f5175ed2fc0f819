"""README: the results table says what `scores.csv` says, and its links lead somewhere."""

import re
import shutil

import pandas as pd
import pytest
from conftest import REPOSITORY

from ser_utils import SerError, readme

README = REPOSITORY / "README.md"


def test_the_results_table_is_what_the_committed_scores_say():
    text = README.read_text(encoding="utf-8")
    assert readme.BLOCK.search(text), "the markers are gone"
    assert readme.results_table() in text, "run `make readme`"


def test_a_changed_score_changes_the_table(tmp_path):
    shutil.copytree(REPOSITORY / "figures" / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("*.png"))
    path = tmp_path / "demo" / "scores.csv"
    scores = pd.read_csv(path)
    scores.loc[(scores.system == "majority") & (scores.metric == "uar"), "value"] = 0.987
    scores.to_csv(path, index=False)
    assert "98.7 [" in readme.results_table(tmp_path)


def test_no_scores_is_one_clear_line(tmp_path):
    with pytest.raises(SerError, match="make reproduce"):
        readme.results_table(tmp_path)


def test_local_links_and_images_exist():
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    local = [t for t in targets if not t.startswith(("http", "mailto"))]
    assert local
    for target in local:
        assert (REPOSITORY / target).exists(), target
