"""`ser bench`: both sides of a row do the same work, and rows say what was timed. No time is asserted here."""

import json
import re

import numpy as np
import pytest
import torch
from small import write_corpus

from ser_utils import SerError, audio, bench, cli, corpora, encoders, models


@pytest.fixture
def clips(tmp_path):
    (tmp_path / "corpus").mkdir()
    return corpora.load(str(write_corpus(tmp_path / "corpus")))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny encoder with a group-norm front end, whose frames change with padding."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    folder = tmp_path_factory.mktemp("encoder")
    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
        num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # other weights every time would be another test every time
        Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return encoders.load(str(folder), precision="fp32")


def lowest(sentence: str) -> float:
    return float(re.search(r"lowest (-?[\d.]+)", sentence)[1])


def test_sides_take_turns_and_the_table_has_medians_and_the_range_of_the_ratio(monkeypatch):
    called, clock = [], iter(np.cumsum([0, 1, 0, 4, 0, 8, 0, 2, 0, 1, 0, 3]))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(next(clock)))
    case = bench.Case("row", "plain", 10, "things", lambda: called.append("ours"), lambda: called.append("other"))
    row = bench.time_case(case, rounds=3)
    assert called == ["ours", "other", "other", "ours", "ours", "other", "other", "ours"]
    # other, ours: 1, 4; ours, other: 8, 2; other, ours: 1, 3
    assert (row["ours"], row["other"]) == (4, 1)
    assert row["ratio"] == 0.25 and row["low"] == 0.25 and row["high"] == 0.33
    assert row["row"] == "row" and row["beside"] == "plain" and row["amount"] == 10


@pytest.mark.parametrize("layers", [(2,), (0, 1, 2)])
def test_extraction_gives_the_frames_of_the_plain_loop(clips, encoder, layers):
    case = bench.extraction("tiny", encoder, clips, layers)
    assert lowest(case.agreement(case.ours(), case.other())) > 0.999


def test_padding_a_batch_is_seen_in_the_agreement_where_lengths_differ(tmp_path, clips, encoder):
    import soundfile

    alike = bench.padded_batches("tiny", encoder, clips, 2)
    assert lowest(alike.agreement(alike.ours(), alike.other())) > 0.999
    wave, rate = soundfile.read(clips.path[0])
    soundfile.write(clips.path[0], np.tile(wave, 4), rate)
    apart = bench.padded_batches("tiny", encoder, clips, 2)
    assert lowest(apart.agreement(apart.ours(), apart.other())) < 0.999


def test_both_trainings_judge_every_segment_with_the_same_folds_and_learn(clips):
    random = np.random.default_rng(0)
    many = clips.loc[clips.index.repeat(60)].reset_index(drop=True)
    many["clip"] = [f"c{i:03}" for i in range(len(many))]
    segments = audio.cut_segments(many, seconds=0.5)
    frames = random.normal(size=(len(many), 12, 8)).astype(np.float16)
    frames[(many.emotion == "anger").to_numpy()] += 2
    case = bench.training(frames, segments, many, seeds=(0, 1), epochs=8)
    ours, other = case.ours(), case.other()
    assert case.amount == 6
    for table in (ours, other):
        assert table.groupby("seed")["clip"].nunique().eq(len(many)).all()
        assert (table[["anger", "sadness"]].idxmax(axis=1) == table.emotion).mean() > 0.8
    assert (ours.groupby("clip").fold.first() == other.groupby("clip").fold.first()).all()
    assert re.match(r"difference of UAR [+-]\d", case.agreement(ours, other))


def test_the_plain_network_is_the_same_network():
    torch.manual_seed(0)
    mean, deviation = torch.randn(16), torch.rand(16) + 0.5
    model = models.SegmentCNN(width=8, dropout=0.0, masking=0.0)
    ours = models.segment_network(mean, deviation, 4, width=8, dropout=0.0, masking=0.0)
    other = bench.PlainNetwork(mean, deviation, 4, model)
    with torch.no_grad():
        for a, b in zip(ours.parameters(), other.parameters(), strict=True):
            b.copy_(a.reshape(b.shape))
    x = torch.randn(5, 49, 16)
    for mode in (True, False):  # batch statistics, then running ones
        ours.train(mode), other.train(mode)
        torch.testing.assert_close(ours(x), other(x), atol=1e-4, rtol=1e-4)


def test_what_takes_minutes_is_not_run_untimed_first():
    called = []
    case = bench.Case(
        "row", "plain", 1, "thing", lambda: called.append("ours") or len(called),
        lambda: called.append("other") or len(called), lambda a, b: f"{a} and {b}", warm=False,
    )  # fmt: skip
    row = bench.time_case(case, rounds=2)
    assert called == ["other", "ours", "ours", "other"]
    assert row["agreement"] == "2 and 1"  # of the first round


def test_reading_gives_the_waveforms_of_librosa(clips):
    case = bench.reading(clips)
    assert float(case.agreement(case.ours(), case.other()).split()[1]) > 0.999


def test_both_bootstraps_have_the_same_spread():
    case = bench.bootstrapping(speakers=20, each=20, resamples=400)
    ours, other = case.ours(), case.other()
    assert ours.shape == (400, 1) and np.std(ours) == pytest.approx(np.std(other), rel=0.25)


def test_a_corpus_too_small_to_measure_is_status_2(clips, tmp_path, capsys):
    with pytest.raises(SerError, match="6 clips: 32 are needed"):
        bench.bench(str(tmp_path / "corpus" / "mine.csv"))
    assert cli.main(["bench", "--corpus", str(tmp_path / "corpus" / "mine.csv"), "--json"]) == 2


def test_json_goes_out_and_progress_elsewhere(monkeypatch, capsys):
    def measured(corpus, data, *, rounds, echo):
        echo("a row")
        return {"machine": {"cores": rounds}, "rows": []}

    monkeypatch.setattr(bench, "bench", measured)
    assert cli.main(["bench", "--rounds", "5", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"machine": {"cores": 5}, "rows": []} and said.err.strip() == "a row"
