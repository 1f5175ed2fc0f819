"""Figures: what is drawn is what the tables say, in the same colours everywhere, with nothing cut off."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from ser_utils import EMOTIONS, analysis, evaluation, plots

SIX = ["sadness", "neutral", "happiness", "anger", "fear", "surprise"]


@pytest.fixture(autouse=True)
def closed_figures():
    plots.use_style()
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(0)
    rows = [
        (f"{s}{e}{i}", s, e, g, rng.gamma(4, 0.8))
        for s, g in (("F1", "female"), ("M1", "male"), ("X1", None))
        for e in SIX
        for i in range(5 if e == "anger" else 2)
    ]
    return pd.DataFrame(rows, columns=["clip", "speaker", "emotion", "gender", "duration"])


@pytest.fixture(scope="module")
def scores():
    rows = [
        (s, level, "uar", v, v - 0.1, v + 0.1, 9, 400)
        for s, v in (("majority", 1 / 6), ("egemaps-svm", 0.52), ("encoder-cnn", 0.6))
        for level in ("clip", "segment")
    ]
    return pd.DataFrame(
        rows, columns=["system", "level", "metric", "value", "low", "high", "speakers", "clips"]
    )


def wave(seconds=1.5, rate=16_000, tone=200):
    time = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * tone * time)).astype("float32")


def texts(figure):
    return [t for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text().strip()]


def cut_off(figure):
    """Texts that stick out of the figure by more than a pixel."""
    figure.canvas.draw()
    box, renderer = figure.bbox, figure.canvas.get_renderer()
    labels = []
    for ax in (a for a in figure.axes if a.get_visible()):
        labels += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        labels += ax.get_legend().get_texts() if ax.get_legend() else []
        for axis, (low, high) in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
            labels += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = {t.get_text(): t.get_window_extent(renderer) for t in labels if t.get_text().strip()}
    return [
        name
        for name, b in boxes.items()
        if b.x0 < box.x0 - 1 or b.y0 < box.y0 - 1 or b.x1 > box.x1 + 1 or b.y1 > box.y1 + 1
    ]


# --- colours -------------------------------------------------------------------


def lab(rgb):
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 1e-4))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira, Fernandes (2009), full severity.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


def as_deuteranope(colour):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(DEUTERANOPIA @ linear, 0, 1)
    return lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


def test_every_canonical_emotion_has_its_own_colour_and_marker():
    assert set(plots.EMOTION_COLOURS) == set(EMOTIONS)
    assert (
        len(set(plots.EMOTION_COLOURS.values())) == len(set(plots.EMOTION_MARKERS.values())) == len(EMOTIONS)
    )


def test_the_six_emotions_of_shemo_stay_apart_for_a_colour_blind_reader():
    seen = [as_deuteranope(plots.EMOTION_COLOURS[e]) for e in SIX]
    nearest = min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i])
    assert nearest > 15  # about six just noticeable differences


def test_emotions_that_look_alike_to_a_colour_blind_reader_differ_in_hatch():
    for i, a in enumerate(EMOTIONS):
        for b in EMOTIONS[:i]:
            apart = np.linalg.norm(
                as_deuteranope(plots.EMOTION_COLOURS[a]) - as_deuteranope(plots.EMOTION_COLOURS[b])
            )
            assert apart > 15 or plots.EMOTION_HATCHES[a] != plots.EMOTION_HATCHES[b], (a, b)


def test_emotions_are_listed_by_arousal_and_only_those_present():
    by_arousal = sorted(EMOTIONS, key=lambda name: analysis.VALENCE_AROUSAL[name][1])
    assert plots.emotion_order(EMOTIONS) == by_arousal
    assert plots.emotion_order(["envy", "clip", "anger", "sadness", "anger", "awe"]) == ["sadness", "anger", "awe", "envy"]


def test_every_system_of_the_design_has_a_name_of_its_own():
    features, classifiers = ("log-mel", "egemaps", "encoder", "encoder-start", "encoder-random"), ("lda", "svm", "segment-lda", "cnn")
    systems = [f"{f}-{c}" for f in features for c in classifiers]
    systems += ["majority", "spectrogram-cnn", "spectrogram-cnn-free", "spectrogram-cnn-scratch", "spectrogram-cnn-scratch-frozen"]
    systems += ["encoder-segment-linear", "encoder-cnn-early", "encoder-cnn-ensemble", "encoder-frozen"]
    systems += ["encoder-tuned", "encoder-tuned-last", "encoder-tuned-lora", "encoder-tuned-all"]
    systems += [f"{s}/speaker" for s in systems]
    names = [plots.display_name(s) for s in systems]
    assert len(set(names)) == len(names) and not set(names) & set(systems)
    assert plots.display_name("encoder-cnn 0.25 s") == "segment CNN, encoder · 0.25 s"
    assert plots.display_name("egemaps-svms") == "egemaps-svms" and plots.display_name("seed 1") == "seed 1"


def test_systems_are_listed_in_one_order_per_speaker_ones_last():
    given = ["encoder-cnn", "seed 1", "encoder-svm/speaker", "encoder-svm", "majority"]
    assert plots.system_order(given) == ["majority", "encoder-svm", "encoder-cnn", "encoder-svm/speaker"]


# --- corpora -------------------------------------------------------------------


def test_counts_are_stacked_by_gender_in_the_emotions_colours(clips):
    ax = plots.emotion_counts(clips)
    heights = [sum(c[i].get_height() for c in ax.containers) for i in range(len(SIX))]
    assert heights == [6, 6, 6, 15, 6, 6]
    assert len(ax.containers) == 3  # female, male, unknown
    assert [to_hex(b.get_facecolor()) for b in ax.containers[0]] == [
        plots.EMOTION_COLOURS[e].lower() for e in SIX
    ]
    assert "fewest: sadness 13%; most: anger 33%" in ax.get_title(loc="left") and ax.get_ylabel() == "clips"
    assert "15\n33%" in [t.get_text() for t in ax.texts]


def test_speakers_are_stacked_by_emotion_most_frequent_first(clips):
    more = pd.concat([clips, clips[clips["speaker"] == "X1"].assign(clip=lambda t: t["clip"] + "b")])
    ax = plots.clips_per_speaker(more)
    assert [t.get_text() for t in ax.get_xticklabels()][0] == "X1"
    assert sum(b[0].get_height() for b in ax.containers) == 30
    assert [to_hex(c[0].get_facecolor()) for c in ax.containers] == [
        plots.EMOTION_COLOURS[e].lower() for e in SIX
    ]


def test_of_many_speakers_only_some_are_named():
    many = pd.DataFrame(
        {"clip": [f"c{i}" for i in range(90)], "speaker": [f"F{i:02}" for i in range(90)], "emotion": "anger"}
    )
    ax = plots.clips_per_speaker(many)
    assert len(ax.get_xticklabels()) == 30 and "1 in 3" in ax.get_xlabel()


def test_durations_show_all_clips_and_a_box_for_each_emotion(clips):
    figure = plots.durations(clips)
    left, right = figure.axes
    assert sum(p.get_height() for p in left.patches) == len(clips)
    assert [t.get_text() for t in right.get_yticklabels()] == SIX
    assert "[s]" in left.get_xlabel()


def test_fold_map_gives_each_speakers_clips_in_the_fold_that_tests_them(clips):
    folds = pd.Series(clips["speaker"].map({"F1": 2, "M1": 0, "X1": 1}).to_numpy(), index=clips["clip"])
    ax = plots.fold_map(clips, folds)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["M1", "X1", "F1"]  # a staircase
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {
        ((i + 0.5, i + 0.5), "15") for i in range(3)
    }


def test_acoustics_have_one_panel_per_measure_and_a_line_at_the_speakers_mean(clips):
    table = clips.assign(
        f0=np.random.default_rng(1).normal(size=len(clips)), rate=5.0 + np.arange(len(clips))
    )
    figure = plots.acoustics_by_emotion(table, {"f0": "F0 [semitones]", "rate": "rate [1/s]"}, title="Acoustics")
    assert [ax.get_ylabel() for ax in figure.axes] == ["F0 [semitones]", "rate [1/s]"]
    at_zero = [
        any(np.all(np.asarray(line.get_ydata()) == 0) and line.get_linestyle() == ":" for line in ax.lines)
        for ax in figure.axes
    ]
    assert at_zero == [True, False]


def test_effect_sizes_are_sorted_and_drawn_in_percent():
    effects = pd.DataFrame(
        {
            "measure": ["rate", "F0"],
            "value": [0.05, 0.4],
            "low": [0.01, 0.3],
            "high": [0.1, 0.5],
            "bias": [0.01, 0.01],
        }
    )
    ax = plots.effect_sizes(effects, title="Effects")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["rate", "F0"]  # the largest is at the top
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [5, 40])
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [1, 1])


def test_contrasts_are_shown_with_their_sign_on_a_scale_centred_at_zero():
    table = pd.DataFrame({"F0": [1.5, -0.5], "rate": [0.2, 0.0]}, index=["anger", "sadness"])
    ax = plots.contrast_map(table)
    assert [t.get_text() for t in ax.texts] == ["-0.5", "+0.0", "+1.5", "+0.2"]
    assert ax.images[0].get_clim() == (-1.5, 1.5)


# --- recordings and features ---------------------------------------------------


def mel(hz):
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


@pytest.mark.parametrize("rate", [16_000, 22_050])
@pytest.mark.parametrize("tone", [80, 100, 150, 200, 700, 1500, 4000])
def test_a_tone_lies_within_a_tenth_of_a_band_of_its_place_in_the_spectrogram(tone, rate):
    ax = plots.spectrogram(wave(tone=tone, rate=rate), rate)
    mesh = ax.collections[0]
    edges = mel(mesh.get_coordinates()[:, 0, 1])
    power = 10 ** (np.asarray(mesh.get_array()).reshape(len(edges) - 1, -1) / 10)
    centres = (edges[:-1] + edges[1:]) / 2
    found = (power.mean(axis=1) * centres).sum() / power.mean(axis=1).sum()
    band = mel(8000) / len(edges)  # n bands are n + 2 points, n + 1 steps
    assert abs(found - mel(tone)) < 0.1 * band


def test_a_gallery_has_one_time_scale_and_the_emotions_colours():
    signals = {"anger F1": wave(1.0), "sadness M1": wave(2.0), "other": wave(0.5), "fear F2": wave(0.5)}
    figure = plots.clip_gallery(signals, 16_000, columns=3)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == 2 * len(signals)
    assert [ax.get_title(loc="left") for ax in shown if ax.get_title(loc="left")] == list(signals)
    assert {ax.get_xlim() for ax in shown} == {(0.0, 2.0)}
    drawn = [to_hex(ax.collections[0].get_facecolor()[0]) for ax in shown if ax.get_title(loc="left")]
    assert drawn[0] == plots.EMOTION_COLOURS["anger"].lower() and drawn[2] == plots.INK


def test_frames_are_drawn_over_seconds_each_dimension_standardised():
    frames = np.random.default_rng(0).normal(100, [1, 50], size=(49, 2))
    frames = frames[:, [0, 0, 0, 1]] * [1, -1, 1, 1]  # the second moves against the first, the third with it
    top, bottom = plots.feature_map(wave(1.0), 16_000, frames, title="Frames").axes
    image = bottom.images[0].get_array()
    assert image.shape == (4, 49) and bottom.get_xlim() == top.get_xlim() == (0, 1)
    np.testing.assert_allclose(image.std(axis=1), 1, rtol=1e-3)
    alike = np.corrcoef(image)[[0, 1, 2], [1, 2, 3]]
    assert alike.max() > 0.99 and alike.min() > -0.9  # those that move alike are neighbours, opposite ones are not
    assert "49 frames × 4 dimensions" in bottom.get_title(loc="left")


def test_a_log_mel_image_has_low_bands_at_the_bottom_and_a_colour_scale():
    ax = plots.log_mel_image(np.arange(12).reshape(3, 4), 0.5)
    assert ax.images[0].origin == "lower" and ax.get_xlim() == (0, 0.5)
    assert [a.get_ylabel() for a in ax.figure.axes] == ["mel band", "log energy"]


def test_the_map_shows_every_piece_once_whatever_colours_it(clips):
    rng = np.random.default_rng(0)
    embedding = clips.assign(x=rng.normal(size=len(clips)), y=rng.normal(size=len(clips)))
    for colour, groups in (("emotion", 6), ("speaker", 3)):
        ax = plots.embedding_scatter(embedding, colour=colour)
        assert sum(len(c.get_offsets()) for c in ax.collections) == len(clips)
        assert len(ax.get_legend().get_texts()) == groups == len(ax.collections)
    ax = plots.embedding_scatter(embedding)
    assert to_hex(ax.collections[3].get_facecolor()[0]) == plots.EMOTION_COLOURS["anger"].lower()


# --- scores --------------------------------------------------------------------


def test_systems_are_ordered_by_score_with_interval_and_chance(scores):
    ax = plots.scores(scores, title="Best?", chance=1 / 6)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["segment CNN, encoder", "SVM, eGeMAPS", "majority class"]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [60, 52, 100 / 6])
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose([s[:, 0] for s in segments][0], [50, 70])
    assert ax.lines[1].get_xdata()[0] == pytest.approx(100 / 6) and "chance 16.7 %" in [t.get_text() for t in ax.texts]
    assert "highest: segment CNN, encoder, 60.0 %" in ax.get_title(loc="left") and "95 %" in ax.get_xlabel()


def test_systems_with_per_speaker_statistics_stand_below_the_others_under_a_heading(scores):
    own = scores.assign(system=scores["system"] + "/speaker", value=scores["value"] + 0.2)
    ax = plots.scores(pd.concat([own, scores]), title="Best?")
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == 2 * ["segment CNN, encoder", "SVM, eGeMAPS", "majority class"]
    np.testing.assert_allclose(ax.lines[0].get_xdata()[::3], [60, 80])
    headings = {t.get_text(): t.xy[1] for t in ax.texts if "statistics" in t.get_text()}
    places = ax.lines[0].get_ydata()
    assert headings["statistics of the training speakers"] < places[0]
    assert places[2] < headings["statistics per speaker"] < places[3]
    alone = plots.scores(own, title="Best?")
    assert alone.get_yticklabels()[0].get_text() == "segment CNN, encoder · per-speaker"


def compared(**columns):
    """Comparisons as `evaluation.compare` returns them, with p corrected."""
    table = {"system": "encoder-cnn", "other": "majority", "difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.01, "speakers": 9}
    return pd.DataFrame(table | columns)


def test_differences_are_filled_only_where_the_corrected_p_is_below_5_percent():
    table = compared(difference=[0.02, 0.4, 0.1], low=[-0.03, 0.3, 0.01], high=[0.07, 0.5, 0.2], p=[0.4, 0.0001, 0.06])
    ax = plots.differences(table.assign(other=["svm", "majority", "svm"]), title="Apart?")
    significant, undecided = (line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(significant.get_xdata(), [40])
    np.testing.assert_allclose(undecided.get_xdata(), [2, 10])  # the interval of the second excludes zero
    assert undecided.get_markerfacecolor() == "white" != significant.get_markerfacecolor()
    assert "1 of 3 significant" in ax.get_title(loc="left")
    lines = {to_hex(c.get_color()[0]): len(c.get_segments()) for c in ax.collections}
    assert lines == {"#0072b2": 1, undecided.get_color().lower(): 2}
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names[:2] == ["segment CNN, encoder − svm", "segment CNN, encoder − majority class"]
    assert [t.get_text() for t in ax.texts] == ["p = 0.400", "p < 0.001", "p = 0.060"]
    assert any(np.all(np.asarray(line.get_xdata()) == 0) for line in ax.lines)


def test_the_smallest_possible_p_is_said_where_few_speakers_keep_it_high():
    few, many = compared(p=[0.04] * 8), compared(p=[0.04] * 8, speakers=16)
    assert plots.smallest_p(few) == "With 9 speakers and 8 comparisons, no corrected p can be below 0.031."
    assert plots.smallest_p(many) == ""
    labels = [plots.differences(table, title="Apart?").get_xlabel() for table in (few, many)]
    assert "0.031" in labels[0] and "corrected" not in labels[1]
    assert "1 comparison, no corrected p can be below 0.062" in plots.smallest_p(compared(p=[0.5], speakers=5))


def test_the_smallest_possible_p_of_comparisons_on_several_corpora_is_that_of_most_speakers():
    assert plots.smallest_p(pd.DataFrame({"p": [0.5] * 4, "speakers": [7, 7, 8, 8]})).endswith("below 0.031.")


def test_the_smallest_possible_p_is_reached_by_a_test_in_which_every_speaker_agrees():
    good, poor = np.tile(np.diag([9.0, 9.0]), (5, 1, 1)), np.tile(np.full((2, 2), 4.5), (5, 1, 1))
    p = evaluation.holm([evaluation.permutation_test(good, poor, evaluation.uar)] * 2)
    assert f"below {p.min():.3f}." in plots.smallest_p(compared(p=p, speakers=5))


def test_mistakes_are_sorted_by_the_points_they_buy_and_pale_where_not_significant():
    table = pd.DataFrame({"mistake": ["small", "large", "interval above zero"], "gain": [0.01, 0.2, 0.05],
                          "low": [-0.02, 0.1, 0.01], "high": [0.04, 0.3, 0.1], "significant": [False, True, False]})  # fmt: skip
    ax = plots.mistakes(table, title="Mistakes")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["large", "interval above zero", "small"]
    np.testing.assert_allclose([b.get_width() for b in ax.patches], [20, 5, 1])
    large, undecided, small = (to_hex(bar.get_facecolor()) for bar in ax.patches)
    assert large != undecided == small
    assert [t.get_text() for t in ax.texts] == ["+20.0", "+5.0", "+1.0"]


def test_learning_curves_average_runs_that_stopped_at_different_epochs():
    history = pd.DataFrame(
        {
            "seed": 0,
            "fold": [0, 0, 0, 1],
            "epoch": [1, 2, 3, 1],
            "training": [1.0, 0.5, 0.3, 2.0],
            "validation": [1.2, 0.9, 1.1, 2.0],
            "chosen": [False, True, False, True],
        }
    )
    ax = plots.learning_curves(history, measures=["training", "validation"], label="loss")
    mean = next(line for line in ax.lines if line.get_label() == "training, mean")
    np.testing.assert_allclose(mean.get_ydata(), [1.5, 1.25, 1.15])  # the run that ended keeps its last value
    kept = next(line for line in ax.lines if line.get_marker() == "o")
    assert sorted(zip(kept.get_xdata(), kept.get_ydata())) == [(1, 2.0), (2, 0.5)]
    assert "2 runs" in ax.get_title(loc="left")


def test_the_whole_clip_stands_apart_at_the_end_of_the_length_curve(scores):
    table = pd.concat(
        [scores[scores["system"] != "majority"].assign(segment_seconds=s) for s in (0.5, 1.0, np.nan)]
    )
    ax = plots.length_curve(table, title="Length", chance=1 / 6)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.5", "1", "whole\nclip"]
    dots = [line for line in ax.lines if len(line.get_xdata()) == 3]
    joined = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_label()[0] == "_" and max(line.get_xdata()) > 1]
    assert len(dots) == 4  # two systems, two levels
    assert len({line.get_xdata()[2] for line in dots}) == 4  # whole clips side by side
    assert len(joined) == 3 and all(max(line.get_xdata()) < 2 for line in joined)  # no line leads to the whole clip
    assert ax.get_xlabel() == "segment length [s]" and ax.get_ylabel() == "UAR [%]"


@pytest.mark.parametrize("column", ["seconds", "layer", "hours"])
def test_curves_show_each_systems_values_and_band(scores, column):
    table = pd.concat([scores[scores["level"] == "clip"].assign(**{column: x}) for x in (4, 0, 2)])
    ax = plots.score_curve(table, column, chance=1 / 6, chosen=2)
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["majority class", "SVM, eGeMAPS", "segment CNN, encoder", f"{column} in use: 2"]
    curve = next(line for line in ax.lines if line.get_label() == "segment CNN, encoder")
    assert list(curve.get_xdata()) == [0, 2, 4]
    np.testing.assert_allclose(curve.get_ydata(), 60)
    assert len(ax.collections) == 3  # a band each
    assert "chance 16.7 %" in [t.get_text() for t in ax.texts]


def test_a_single_curve_needs_no_legend(scores):
    one = scores[(scores["level"] == "clip") & (scores["system"] == "majority")].assign(seconds=[1])
    assert plots.score_curve(one, "seconds", chance=1 / 6).get_legend() is None


def test_hours_too_close_to_be_written_side_by_side_are_written_once(scores):
    clip = scores[scores["level"] == "clip"]
    ax = plots.score_curve(pd.concat([clip.assign(hours=h) for h in (0, 4, 16, 32, 34.4)]), "hours")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "4", "16", "", "34.4"]


def test_the_curve_over_labels_names_the_share_at_every_point(scores):
    clip = scores[scores["level"] == "clip"]
    table = pd.concat([clip.assign(share=x) for x in (0.125, 1.0, 0.5)])
    ax = plots.score_curve(table, "share", label="share of the training speakers")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["12.5 %", "50 %", "100 %"]
    assert ax.get_xlabel() == "share of the training speakers"


def test_the_inner_curve_marks_the_chosen_setting():
    rows = [("linear", 0.1, 0.4), ("linear", 1.0, 0.5), ("gaussian", 0.1, 0.6), ("gaussian", 1.0, 0.45)]
    search = pd.DataFrame(rows, columns=["kernel", "C", "uar"]).assign(whiten=[False, False, True, True])
    ax = plots.inner_curve(search, title="Which?")
    labels = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(labels["gaussian, whitened"].get_ydata(), [60, 45])
    assert labels["chosen: C = 0.1"].get_ydata()[0] == pytest.approx(60)


# --- errors --------------------------------------------------------------------


def test_confusion_is_normalised_by_row_and_shows_counts():
    counts = pd.DataFrame([[8, 2], [30, 10]], index=["anger", "sadness"], columns=["anger", "sadness"])
    ax = plots.confusion_matrix(counts, title="Confusion")
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.25, 0.75], [0.2, 0.8]])
    assert [t.get_text() for t in ax.texts] == ["25 %\n10", "75 %\n30", "20 %\n2", "80 %\n8"]  # by arousal
    assert ax.get_ylabel() == "true emotion" and "most often: sadness as anger, 75 %" in ax.get_title(loc="left")
    empty = plots.confusion_matrix(counts.mul([0, 1], axis=0), title="Confusion")  # anger
    assert np.all(empty.images[0].get_array()[1] == 0)  # an emotion without clips divides nothing by zero
    figure = plots.confusions({"svm": counts, "cnn": counts})
    assert [ax.get_title(loc="left").split("\n")[0] for ax in figure.axes] == ["svm", "cnn"]


def test_pairs_are_placed_by_distance_and_confusion_and_the_most_confused_are_named():
    names = ["anger", "fear", "sadness", "neutral", "happiness"]
    counts = pd.DataFrame(np.arange(25).reshape(5, 5) + 1, index=names, columns=names)
    pairs = analysis.confusion_pairs(counts)
    arousal, valence = plots.confusion_pairs(pairs).axes
    np.testing.assert_allclose(arousal.lines[0].get_xdata(), pairs["arousal"])
    np.testing.assert_allclose(valence.lines[0].get_ydata(), 100 * pairs["rate"])
    assert [t.get_text() for t in arousal.texts] == [f"{row.first}, {row.second}" for row in pairs.head(4).itertuples()]


def test_each_pair_of_systems_is_shown_once_without_themselves():
    names = ["egemaps-svm", "encoder-cnn", "seed 1"]
    correlation = pd.DataFrame([[1, 0.2, 0.3], [0.2, 1, 0.4], [0.3, 0.4, 1]], index=names, columns=names)
    ax = plots.agreement(correlation)
    assert [t.get_text() for t in ax.texts] == ["0.20", "", "0.30", "0.40"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["segment CNN, encoder", "seed 1"]


def test_the_caterpillar_sorts_speakers_and_shades_gender():
    groups = pd.DataFrame(
        {
            "speaker": list("abc"),
            "value": [0.7, 0.3, 0.5],
            "low": 0.2,
            "high": 0.8,
            "gender": ["female", "male", "female"],
            "clips": [10, 20, 30],
        }
    )
    ax = plots.caterpillar(groups, "wa", title="Whom?")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b (20)", "c (30)", "a (10)"]
    women = next(line for line in ax.lines if line.get_label() == "female")
    np.testing.assert_allclose(women.get_xdata(), [50, 70])
    assert "mean 50.0 %" in {line.get_label() for line in ax.lines}
    assert "from 30 % (b) to 70 % (a)" in ax.get_title(loc="left")


def test_reliability_leaves_out_empty_bins_and_grows_dots_with_clips():
    bins = pd.DataFrame(
        {"confidence": [0.4, np.nan, 0.9], "accuracy": [0.5, np.nan, 0.7], "n": [10.0, 0, 39.6]}
    )
    ax = plots.reliability(bins)
    dots = ax.collections[0]
    np.testing.assert_allclose(dots.get_offsets(), [[40, 50], [90, 70]])
    assert dots.get_sizes()[1] > dots.get_sizes()[0]


def test_risk_coverage_is_drawn_by_rising_coverage_from_a_tenth_on():
    ax = plots.risk_coverage(pd.DataFrame({"coverage": [1.0, 0.5, 0.05], "risk": [0.4, 0.1, 0.9]}))
    assert list(ax.lines[0].get_xdata()) == [50, 100] and list(ax.lines[0].get_ydata()) == [10, 40]


def test_the_legend_of_many_risks_covers_no_curve():
    curve = pd.DataFrame({"coverage": [0.1, 1.0] * 5, "risk": [0.9, 0.8] * 5, "system": [f"s{i // 2}" for i in range(10)]})
    ax = plots.risk_coverage(curve)
    ax.figure.canvas.draw()
    assert len(ax.get_legend().get_texts()) == 5 and ax.get_legend().get_window_extent().x0 >= ax.bbox.x1


def test_a_timeline_stacks_probabilities_averaged_over_seeds_and_never_overlaps_segments():
    rows = pd.DataFrame(
        {
            "seed": [0, 0, 1, 1],
            "start": [0.0, 0.5, 0.0, 0.5],
            "end": [1.0, 1.5, 1.0, 1.5],
            "emotion": "fear",
            "anger": [0.2, 0.6, 0.4, 0.8],
            "fear": [0.8, 0.4, 0.6, 0.2],
        }
    )
    figure = plots.timeline(wave(), 16_000, rows)
    anger, fear = figure.axes[1].containers
    np.testing.assert_allclose([b.get_height() for b in anger], [30, 70])
    np.testing.assert_allclose([b.get_y() + b.get_height() for b in fear], 100)
    np.testing.assert_allclose([b.get_width() for b in fear], [0.5, 1.0])
    assert to_hex(anger[0].get_facecolor()) == plots.EMOTION_COLOURS["anger"].lower()


# --- all figures ---------------------------------------------------------------


def test_nothing_is_cut_off_and_no_text_is_smaller_than_8_points(clips, scores):
    matrix = pd.DataFrame(np.eye(6, dtype=int), index=SIX, columns=SIX)
    speakers = pd.DataFrame({"speaker": [f"F{i}" for i in range(9)], "value": 0.5, "low": 0.4, "high": 0.6})
    embedding = clips.assign(x=range(len(clips)), y=range(len(clips)))
    pairs = compared(system=["probe, untrained/speaker", "spectrogram-cnn"], other="egemaps-svm/speaker")
    made = [
        plots.emotion_counts(clips).figure,
        plots.clips_per_speaker(clips).figure,
        plots.durations(clips),
        plots.feature_map(wave(), 16_000, np.eye(40), title="One clip"),
        plots.acoustics_by_emotion(clips, {"duration": "duration [s]"}, title="A"),
        plots.embedding_scatter(embedding).figure,
        plots.scores(scores, title="Best?", chance=1 / 6).figure,
        plots.differences(pairs, title="Apart?").figure,
        plots.agreement(pd.DataFrame(np.eye(2), index=pairs["system"], columns=pairs["system"])).figure,
        plots.confusion_matrix(matrix, title="Confusion").figure,
        plots.confusions({"a": matrix, "b": matrix}),
        plots.caterpillar(speakers, "uar", title="Whom?").figure,
        plots.score_curve(scores.assign(layer=1), "layer", chance=1 / 6).figure,
    ]
    for figure in made:
        assert not cut_off(figure), figure.axes[0].get_title(loc="left")
        assert min(t.get_fontsize() for t in texts(figure)) >= 8


def test_all_published_scores_are_drawn_and_hollow_where_speakers_leak():
    published = pd.DataFrame(
        {
            "corpus": ["ShEMO", "ShEMO", "EMO-DB"],
            "source": ["A 2020 (readme)", "B 2021", "C 2022"],
            "system": ["svm", "cnn", "svm"],
            "value": [80.0, 60.0, 75.0],
            "leaky": ["yes", "no", "unknown"],
        }
    )
    own = pd.DataFrame({"system": ["ours"], "value": [0.5], "low": [0.4], "high": [0.6]})
    ax = plots.published(published, own, label="demo (synthetic)")
    names = [text.get_text() for text in ax.get_yticklabels()]  # from the top
    expected = ["ShEMO, speakers on both sides (1)", "ShEMO, speaker-disjoint (1)", "EMO-DB, split not known (1)"]
    assert names == [*expected, "demo (synthetic), ours (1)"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [tuple(dot.get_xdata()) for dot in dots] == [(80.0,), (60.0,), (75.0,), (50.0,)], "every score is drawn"
    assert dots[0].get_markerfacecolor() == "white" and dots[1].get_markerfacecolor() == "#0072B2"
    assert [text.get_text() for text in ax.texts] == ["svm", "cnn", "svm", "ours"]
    assert not cut_off(ax.figure)


def test_findings_are_printed_below_the_titles(clips, scores):
    layers = pd.concat([scores[scores["level"] == "clip"].assign(layer=x, value=scores["value"] + x / 10) for x in (0, 1, 2)])
    svm = layers[layers["system"] == "egemaps-svm"]
    assert plots.score_curve(svm, "layer", title="Where?", chosen=1).get_title(loc="left") == "Where?\nlayer 1: 62 %"
    assert plots.score_curve(svm, "layer", title="Where?").get_title(loc="left") == "Where?\n52 → 72 %"
    add = [scores.assign(segment_seconds=x, **(scores[["value", "low", "high"]] + x / 10)) for x in (1.0, 2.0)]
    lengths = pd.concat(add)
    one = lengths[lengths["system"] == "egemaps-svm"]
    ax = plots.length_curve(one, title="How long?")
    assert ax.get_title(loc="left") == "How long?\nscore of the clip from 62 % (1 s) to 72 % (2 s)"
    assert {t.get_text() for t in ax.get_legend().get_texts()} == {"score of one segment", "score of the clip"}
    own = scores.assign(system=scores["system"] + "/speaker", value=scores["value"] + 0.2)
    title = plots.scores(pd.concat([own, scores]), title="Best?").get_title(loc="left")
    assert title == "Best?\nhighest: segment CNN, encoder, 60.0 %\nper speaker: segment CNN, encoder, 80.0 %"
    assert "5 to" not in plots.clips_per_speaker(clips).get_title(loc="left")  # all speakers have equally many


def test_a_title_of_two_lines_keeps_its_own_finding(scores):
    assert plots.scores(scores, title="Best?\nAll of them").get_title(loc="left") == "Best?\nAll of them"


def test_the_change_of_a_what_if_is_not_drawn_as_an_emotion():
    table = pd.DataFrame({"amount": [-2.0, 2.0], "anger": [0.1, 0.3], "fear": [0.9, 0.7]})
    ax = plots.what_if(table, x="amount", label="shift", title="What if?")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["anger", "fear"]


def test_groups_other_than_speakers_keep_their_order_from_the_top():
    groups = pd.DataFrame({"group": ["short", "middle", "long"], "value": [0.3, 0.7, 0.5], "low": 0.2, "high": 0.8})
    ax = plots.caterpillar(groups, "uar", name="group", title="Which?")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["long", "middle", "short"]  # from the bottom
    assert "from 30 % (short)\nto 70 % (middle)" in ax.get_title(loc="left")


@pytest.fixture
def travelled():
    """Scores of two systems on two corpora, and from both together; no system was trained on all of them for `b`."""
    pairs = [("a", "a", 0.8), ("a", "b", 0.3), ("b", "a", 0.4), ("b", "b", 0.7), ("all others", "a", 0.5)]
    rows = [(system, *pair, pair[-1] - 0.1, pair[-1] + 0.1) for system in ("egemaps-lda", "encoder-cnn") for pair in pairs]
    return pd.DataFrame(rows, columns=["system", "trained", "tested", "value", "low", "high"])


def test_the_transfer_matrix_has_a_panel_per_system_and_the_own_corpus_in_bold(travelled):
    figure = plots.transfer_matrix(travelled, title="Far?", chance=1 / 6)
    assert [ax.get_title(loc="left").replace("\n", " ") for ax in figure.axes] == ["LDA, eGeMAPS", "segment CNN, encoder"]
    cells = {tuple(map(int, text.get_position())): text for text in figure.axes[0].texts}
    assert cells[0, 0].get_text() == "80\n[70, 90]" and cells[1, 0].get_text() == "30\n[20, 40]" and cells[1, 2].get_text() == ""
    assert {place for place, text in cells.items() if text.get_fontweight() == "bold"} == {(0, 0), (1, 1)}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "all others"]
    assert "best across corpora: LDA, eGeMAPS, 35 %" in figure.get_suptitle()  # "all others" is no corpus
    assert not cut_off(figure) and min(t.get_fontsize() for t in texts(figure)) >= 8


def test_robustness_shows_what_passed_and_its_thresholds():
    nan = np.nan
    rows = [("clean", nan, nan, 0.6, 0.5, 0.7, nan, None), ("noise", 0.7, 0.9, -0.1, -0.2, 0.0, -0.05, False),
            ("louder", 1.0, 0.95, 0.0, 0.0, 0.0, -0.05, True), ("gender: male", nan, nan, 0.02, -0.1, 0.1, -0.075, True)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["test", "unchanged", "least", "change", "low", "high", "limit", "passed"])
    figure = plots.robustness(table, title="Survived?")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["noise", "louder", "gender: male"]
    assert "2 of 3 pass" in figure.get_suptitle()
    kept, changed = (
        {line.get_markerfacecolor(): line.get_xdata().tolist() for line in ax.get_lines() if line.get_marker() == "o"}
        for ax in (left, right)
    )
    assert kept["white"] == [70] and changed["white"] == [-10] and changed[plots.style.BLUE] == [0, 2]
    assert not cut_off(figure)
