"""README and docs: their tables say what committed files say, their links lead somewhere, their code and commands work."""

import json
import re
import shlex
import shutil

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import readme_tables as readme
from conftest import REPOSITORY
from test_language import found

from ser_utils import SerError, cli, corpora, encoders, plots, recognizer

README = REPOSITORY / "README.md"
CARD = encoders.WEIGHTS / "wav2vec2-nano" / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").glob("*.md"))]
PROSE = [*PAGES, REPOSITORY / "notebooks" / "README.md", REPOSITORY / "data" / "README.md", CARD]


def name_of(path) -> str:
    return str(path.relative_to(REPOSITORY)) if hasattr(path, "relative_to") else str(path)


@pytest.mark.parametrize("page", readme.PAGES)
def test_tables_and_findings_are_what_the_committed_files_say(page, tmp_path):
    copy = tmp_path / "page.md"
    shutil.copyfile(REPOSITORY / page, copy)
    assert readme.BLOCK.search(copy.read_text(encoding="utf-8")), "no markers"
    assert not readme.update(copy), "run `make readme`"


def scores(systems, **changes) -> pd.DataFrame:
    """Rows of a `scores.csv`: UAR 0.5 for each system, or what `changes` says."""
    value = [changes.get(system, 0.5) for system in systems]
    return pd.DataFrame({
        "system": systems, "level": "clip", "metric": "uar", "value": value, "low": 0.4, "high": 0.6, "speakers": 9, "clips": 4481,
    })  # fmt: skip


GRID = [
    name for systems in readme.ROWS.values() for name in systems if name not in ("egemaps-segment-lda", "egemaps-cnn")
]
OWN = [f"{name}/speaker" for name in GRID if name.startswith(("log-mel", "egemaps", "encoder"))]


@pytest.fixture
def figures(tmp_path):
    """A folder to put scores of corpora into."""

    def put(corpus: str, table: pd.DataFrame):
        (tmp_path / corpus).mkdir()
        table.to_csv(tmp_path / corpus / "scores.csv", index=False)
        return tmp_path

    return put


def test_readme_stays_below_nine_kilobytes_with_every_score_of_four_corpora(figures, tmp_path):
    for corpus in readme.COLUMNS:
        figures(corpus, scores(GRID + OWN, **{"encoder-cnn": 0.6, "encoder-lda/speaker": 0.6}))
    shutil.copyfile(README, tmp_path / "README.md")
    readme.update(tmp_path / "README.md", tmp_path)
    assert (tmp_path / "README.md").stat().st_size <= 9000
    assert "–" not in "".join(line for line in readme.results_table(tmp_path).splitlines() if "eGeMAPS" not in line)


def test_findings_say_by_how_much_and_on_how_many_corpora_the_encoder_is_ahead(figures):
    changes = {
        "encoder-cnn": 0.6,
        "encoder-start-cnn": 0.35,
        "egemaps-lda": 0.65,
        "encoder-lda/speaker": 0.7,
        "egemaps-svm/speaker": 0.75,
    }
    figures("nemo", scores(GRID + OWN, **changes))
    text = readme.findings(figures("ravdess", scores(GRID + OWN, **changes | {"encoder-start-cnn": 0.61})))
    assert "before its first update on 1 of 2 corpora (nEMO +25.0, RAVDESS -1.0 points)" in text
    assert "eGeMAPS on 0 of 2 corpora (nEMO -5.0, RAVDESS -5.0 points); with per-speaker statistics on 0 of 2" in text
    assert "LDA on the same segments on 2 of 2 corpora (nEMO +10.0, RAVDESS +10.0 points); with" in text
    # mean of six systems: (0.5 * 4 + 0.7 + 0.75) - (0.5 * 4 + 0.6 + 0.65) = 0.2, divided by six
    assert "change UAR by +3.3 points on nEMO, +3.3 points on RAVDESS." in text


def test_a_corpus_that_lacks_a_system_is_left_out_of_the_sentence_that_needs_it(figures):
    figures("nemo", scores(GRID + OWN))
    text = readme.findings(figures("ravdess", scores([n for n in GRID + OWN if n != "encoder-start-cnn"])))
    training, *others = text.splitlines()
    assert "on 0 of 1 corpora (nEMO +0.0 points)" in training
    assert len(others) == 3 and all("RAVDESS" in line for line in others)


def test_the_synthetic_corpus_is_no_finding(figures):
    assert readme.findings(figures("demo", scores(GRID + OWN))).startswith("Not known yet")


def test_the_best_of_a_column_is_bold_whoever_it_is(figures):
    changes = {"egemaps-lda": 0.8, "encoder-segment-linear": 0.9}
    where = figures("nemo", scores([*GRID, "encoder-segment-linear"], **changes))
    assert "| eGeMAPS | **80.0** / 50.0 / – / – |" in readme.results_table(where)
    assert readme.results_table(where).count("**") == 2, "the ladder of notebook 04 is no row of the README"
    assert "| linear layer per segment, wav2vec2-nano | **90.0** [40.0, 60.0] |" in readme.scores_table(where)


def test_the_gap_that_was_there_before_the_first_update_is_what_the_probes_say():
    table = pd.read_csv(CARD.with_name("probe_by_hours.csv"))
    shares = []
    for _, rows in table.groupby(["corpus", "condition"]):
        random, start, end = (
            rows[rows.encoder == "random weights"].value.item(),
            *rows.set_index("hours").value[[0.0, rows.hours.max()]],
        )
        shares.append(100 * (start - random) / (end - random))
    said = f"{min(shares):.0f} to {max(shares):.0f} % of the gap"
    for page in (README, CARD, REPOSITORY / "docs" / "results.md"):
        assert said in re.sub(r"\s+", " ", page.read_text(encoding="utf-8")), (page, said)


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
    assert "| nano | a loop | **2.00** (1.80 to 2.25) | 200 s of audio per second | cosine of frames 1.0000 |" in table
    assert "| warm | a loop | **87** (86 to 88) | 0.12 s | – |" in table
    assert "2 cores (a processor), fp32" in table and "reaches 91 % in bf16 and 80 % in fp32 of that" in table


def test_only_what_stands_between_markers_is_renewed(tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(
        "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n<!-- results:begin -->\n<!-- results:end -->\nc\n"
    )
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
    assert "98.7" in readme.results_table(tmp_path) and "98.7** [" in readme.scores_table(tmp_path)


def test_no_scores_and_no_benchmark_are_one_clear_line(tmp_path):
    with pytest.raises(SerError, match="make reproduce"):
        readme.results_table(tmp_path)
    with pytest.raises(SerError, match="ser bench --json"):
        readme.bench_table(tmp_path)


def without_code(page) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_local_links_and_images_exist(page):
    targets = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", without_code(page))
    for target, heading in targets:
        if target.startswith(("http", "mailto")):
            continue
        aim = page.parent / target if target else page
        assert aim.exists(), target
        if heading:
            anchors = [
                re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                for line in without_code(aim).splitlines()
                if line.startswith("#")
            ]
            assert heading in anchors, f"{target}#{heading}"


def test_every_page_of_docs_is_linked_from_readme():
    text = README.read_text(encoding="utf-8")
    assert all(f"](docs/{page.name}" in text for page in PAGES[1:])


def test_pictures_of_readme_are_published_with_every_run():
    import publish

    shown = re.findall(r"\]\(figures/\w+/(\w+)\.png\)", README.read_text(encoding="utf-8"))
    assert shown and set(shown) <= set(publish.FIGURES)


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_pages_use_the_usual_terms(page):
    assert not found(" ".join(without_code(page).split()))


def test_the_glossary_has_the_parts_of_every_system_name():
    text = (REPOSITORY / "docs" / "glossary.md").read_text(encoding="utf-8").lower()
    terms = set(re.findall(r"^- \*\*(.+?)\*\*", text, flags=re.MULTILINE))
    features = {
        "log-mel",
        "egemaps",
        "encoder",
        "encoder-start",
        "encoder-random",
        "spectrogram-cnn",
        "encoder-tuned",
        "encoder-frozen",
        "majority",
    }
    classifiers = {"lda", "svm", "segment-lda", "cnn"}
    known = {f"{a}-{b}" for a in features for b in classifiers}
    others = {
        name
        for name in plots.SYSTEM_NAMES
        if not name.startswith((*known, "majority", "vote", "spectrogram", "encoder-tuned", "encoder-frozen", "encoder-segment-linear"))
    }
    assert not others, "a new kind of system: put its parts into the glossary"
    assert features | classifiers | {"active", "epoch", "fold", "uar", "wa", "holm correction", "seed", "nano", "vote"} <= terms


# ------------------------------------------------------------------------------------------ code and commands


def blocks(page, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every command of the shell blocks of all pages, as a shell would split it, comments left out."""
    lines = [
        part
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.splitlines()
        for part in line.split(" && ")
    ]
    return list(map(list, dict.fromkeys(tuple(words) for line in lines if (words := shlex.split(line, comments=True)))))


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
    clips = corpora.load("demo").query(
        "emotion in ['anger', 'neutral'] and speaker in ['F01', 'F02', 'F03', 'M01', 'M02']"
    )
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


@pytest.mark.parametrize(
    ("page", "count"), [(README, 1), (REPOSITORY / "docs" / "usage.md", 5)], ids=["README", "usage"]
)
def test_the_python_examples_of_a_page_run_one_after_the_other(page, count, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setattr("ser_utils.features.store.CACHE", desk / "cache")
    examples = blocks(page, "python")
    assert len(examples) == count
    names: dict = {}
    for number, code in enumerate(examples):
        exec(compile(code, f"{page.name}, python block {number + 1}", "exec"), names)
    said = capsys.readouterr().out
    assert "uar" in said
    if page != README:
        assert "difference" in said
        assert set(names["trees"]["system"]) == {"forest"} and len(names["trees"]) == len(names["segments"])
        assert {type(s["label"]) for s in names["model"]("recording.wav")} == {str}
