"""The notebooks, all of them from end to end on the quick profile, exercises included; their form is in `test_notebook_form`."""

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from small import NOTEBOOKS

from ser_utils import pipeline


def test_all_notebooks_run_in_order_and_leave_their_tables_figures_and_pages(quick_run):
    for path in NOTEBOOKS:
        declared = nbformat.read(path, 4).metadata["ser"]
        for table in declared["writes"]:
            assert (quick_run / "data/processed/demo" / f"{table}.parquet").exists(), (path.stem, table)
        assert (quick_run / "reports/demo" / f"{path.stem}.html").stat().st_size > 100_000
        assert list((quick_run / "reports/demo/figures").glob(f"{path.stem[:2]}_*.png")), f"{path.stem} drew nothing"
    assert "demo (synthetic)" in (quick_run / "reports/demo/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_check_accepts_the_solution_and_refuses_wrong_answers_and_the_stub(path, quick_run):
    said = {"exercise": "", "solution": "", "wrong": ""}
    for cell in nbformat.read(quick_run / "reports/demo" / path.name, 4).cells:
        for tag in set(cell.metadata.get("tags", [])) & set(said) if cell.cell_type == "code" else ():
            said[tag] += "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    spoken = {tag: re.findall(r"^(\d\d-\d): (right|not yet|not done yet)\.", text, re.M) for tag, text in said.items()}
    names = [name for name, _ in spoken["exercise"]]
    assert names and {verdict for _, verdict in spoken["exercise"]} == {"not done yet"}
    assert spoken["solution"] == [(name, "right") for name in names], said["solution"]
    assert {verdict for _, verdict in spoken["wrong"]} == {"not yet"}, said["wrong"]
    assert {name for name, _ in spoken["wrong"]} == set(names)


def test_the_scores_have_the_agreed_columns_and_sane_values(quick_run):
    scores = pd.read_csv(quick_run / "reports/demo/scores.csv")
    expected = "corpus,system,encoder,segment_seconds,level,metric,value,low,high,seeds,speakers,clips"
    assert list(scores.columns) == expected.split(",")
    transfer = {f"spectrogram-cnn{kind}" for kind in ("", "-free", "-scratch", "-scratch-frozen")}
    assert {"majority", *transfer} <= set(scores.system)
    assert scores.value.between(0, 1).all()
    assert not scores.duplicated(["system", "encoder", "segment_seconds", "level", "metric"]).any()
    uar = scores[(scores.metric == "uar") & (scores.level == "clip")].set_index("system").value
    assert uar["majority"] == pytest.approx(1 / 6, abs=0.01)
    assert uar["egemaps-svm"] > 0.25, "a real system beats chance even on the quick profile"


def test_every_cell_of_the_factorial_is_scored_in_both_conditions(quick_run):
    scores = pd.read_csv(quick_run / "reports/demo/scores.csv")
    vectors = [f"{view}-{kind}" for view in ("log-mel", "egemaps", "encoder-random", "encoder-start", "encoder") for kind in ("lda", "svm")]
    frames = [f"{view}-{kind}" for view in ("log-mel", "encoder-random", "encoder-start", "encoder") for kind in ("segment-lda", "cnn")]
    cells = {f"{system}{condition}" for system in vectors + frames for condition in ("", "/speaker")}
    assert cells <= set(scores.system), cells - set(scores.system)
    encoder = scores.drop_duplicates("system").set_index("system").encoder
    assert encoder["encoder-start-cnn"] == "wav2vec2-nano-start" and encoder["log-mel-cnn"] == "–"


def test_the_control_of_pre_training_is_the_encoder_before_its_first_update(quick_run):
    page = (quick_run / "reports/demo/07_self_supervision.ipynb").read_text(encoding="utf-8")
    assert "on average" in page and "points over the start" in page
    assert "encoder-cnn − encoder-start-cnn" in page


def test_provenance_says_what_ran_with_what(quick_run):
    provenance = json.loads((quick_run / "data/processed/demo/run.json").read_text())
    text = json.dumps(provenance)
    for word in ("torch", "transformers", "parameters", "seconds", "peak"):
        assert word in text, word


def test_a_second_run_skips_every_notebook(quick_run, capsys):
    sources = Path(json.loads((quick_run / "data/processed/demo/run.json").read_text())["notebooks_folder"])
    pipeline.run("demo", profile="quick", out=quick_run, notebooks=sources)
    assert capsys.readouterr().out.count("unchanged") == len(NOTEBOOKS)
