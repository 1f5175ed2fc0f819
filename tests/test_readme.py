"""README: its table says what `scores.csv` says, its links lead somewhere, its code and its commands work as printed."""

import json
import re
import shlex
import shutil

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import readme_tables as readme
from conftest import REPOSITORY

from ser_utils import SerError, cli, corpora, encoders, recognizer

README = REPOSITORY / "README.md"


@pytest.mark.parametrize("name", readme.TABLES)
def test_its_tables_are_what_the_committed_files_say(name):
    text = README.read_text(encoding="utf-8")
    assert f"<!-- {name}:begin -->\n{readme.TABLES[name](REPOSITORY / 'figures')}<!-- {name}:end -->" in text, "run `make readme`"


def test_every_row_of_the_benchmark_is_in_its_table(tmp_path):
    row = {
        "row": "nano", "beside": "a loop", "amount": 24.0, "unit": "s of audio", "ours": 0.12, "other": 0.24, "ratio": 2.0,
        "low": 1.8, "high": 2.25, "agreement": "cosine of frames 1.0000",
    }  # fmt: skip
    machine = {"cores": 2, "processor": "a processor", "precision": "fp32", "corpus": "demo", "fp32_tflops": 0.2}
    machine |= {"bf16_tflops": 0.1, "share_of_peak": {"bf16": 0.91, "fp32": 0.8}}
    warm = {"row": "warm", "amount": 1, "unit": "run", "ratio": 87.3, "low": 86.4, "high": 88.2, "agreement": ""}
    measured = {"machine": machine, "rows": [row, row | warm]}
    (tmp_path / "bench.json").write_text(json.dumps(measured))
    table = readme.bench_table(tmp_path)
    assert "| nano | a loop | **2.00** (1.80 to 2.25) | 200 s of audio a second | cosine of frames 1.0000 |" in table
    assert "| warm | a loop | **87** (86 to 88) | 0.12 s | – |" in table
    assert "2 cores (a processor), fp32" in table and "reaches 91 % in bf16 and 80 % in fp32 of that" in table


def test_both_tables_are_renewed_between_their_markers(tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text("a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n<!-- results:begin -->\n<!-- results:end -->\nc\n")
    monkeypatch.setattr(readme, "TABLES", {"results": lambda _: "scores\n", "bench": lambda _: "speed\n"})
    assert readme.update(page, tmp_path) and not readme.update(page, tmp_path)
    assert page.read_text() == (
        "a\n<!-- bench:begin -->\nspeed\n<!-- bench:end -->\nb\n<!-- results:begin -->\nscores\n<!-- results:end -->\nc\n"
    )


def test_a_changed_score_changes_the_table(tmp_path):
    shutil.copytree(REPOSITORY / "figures" / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("*.png"))
    path = tmp_path / "demo" / "scores.csv"
    scores = pd.read_csv(path)
    scores.loc[(scores.system == "majority") & (scores.metric == "uar"), "value"] = 0.987
    scores.to_csv(path, index=False)
    assert "98.7 [" in readme.results_table(tmp_path)


def test_no_scores_and_no_benchmark_are_one_clear_line(tmp_path):
    with pytest.raises(SerError, match="make reproduce"):
        readme.results_table(tmp_path)
    with pytest.raises(SerError, match="ser bench --json"):
        readme.bench_table(tmp_path)


@pytest.mark.parametrize("page", [README, REPOSITORY / "notebooks" / "README.md"], ids=["README", "notebooks/README"])
def test_local_links_and_images_exist(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [t for t in targets if not t.startswith(("http", "mailto"))]
    assert local
    for target in local:
        assert (page.parent / target).exists(), target


# ------------------------------------------------------------------------------------------ code and commands


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every line of the shell blocks, as a shell would split it, comments left out."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


SER = [words[1:] for words in commands() if words[0] == ".venv/bin/ser"]
#: Commands of `ser` that need no network, no corpus and no minutes.
QUICK = {"corpora", "predict"}


def test_every_command_is_one_that_exists():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for program, *words in commands():
        if program == "make":
            assert re.search(rf"^{words[0]}:", makefile, flags=re.MULTILINE), words
        else:
            assert program in {".venv/bin/ser", ".venv/bin/pre-commit", ".venv/bin/dask"}, program


@pytest.mark.parametrize("words", SER, ids=" ".join)
def test_ser_takes_the_options_as_printed(words):
    options = cli._parser().parse_args(words)  # argparse ends the test where it does not
    if words[0] in {"run", "fetch"}:
        corpora.card(options.corpus)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with what README's examples name: recordings, a CSV, an encoder, a recognizer."""
    place = tmp_path_factory.mktemp("desk")
    clips = corpora.load("demo").query("emotion in ['anger', 'neutral'] and speaker in ['F01', 'F02', 'F03', 'M01', 'M02']")
    clips = clips.groupby(["speaker", "emotion"]).head(2).reset_index(drop=True)
    clips[["path", "emotion", "speaker"]].to_csv(place / "my.csv", index=False)
    shutil.copyfile(clips["path"].iloc[0], place / "recording.wav")  # libsndfile looks inside, not at the name
    (place / "path/to/recordings").mkdir(parents=True)
    shutil.copyfile(clips["path"].iloc[1], place / "path/to/recordings/one.ogg")
    shutil.copytree(encoders.WEIGHTS / "wav2vec2-nano", place / "encoders/mine")
    encoder = encoders.load("wav2vec2-nano")
    kept = recognizer.train(clips, encoder, corpus="a test", epochs=1, cache=place / "cache")
    kept.save(place / "data/processed/nemo/recognizer")
    return place


@pytest.mark.parametrize("words", [words for words in SER if words[0] in QUICK], ids=" ".join)
def test_quick_commands_work_as_printed(words, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    assert cli.main(words) == 0
    assert capsys.readouterr().out
    if "--plot" in words:
        assert (desk / words[words.index("--plot") + 1]).read_bytes().startswith(b"\x89PNG")
        plt.close("all")


@pytest.mark.parametrize("words", [[], *({words[0]: [words[0]] for words in SER}.values())], ids=" ".join)
def test_every_command_of_readme_explains_itself(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--help"])
    assert stop.value.code == 0 and "usage: ser" in capsys.readouterr().out


def test_the_python_examples_run_one_after_the_other(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setattr("ser_utils.features.store.CACHE", desk / "cache")
    examples = blocks("python")
    assert len(examples) == 4
    names: dict = {}
    for number, code in enumerate(examples):
        exec(compile(code, f"README.md, python block {number + 1}", "exec"), names)
    said = capsys.readouterr().out
    assert "uar" in said and "difference" in said
    assert set(names["judged"]["system"]) == {"forest"} and len(names["judged"]) == len(names["segments"])
    assert {type(s["label"]) for s in names["judge"]("recording.wav")} == {str}
