"""Classifiers: what they learn, what they choose by themselves, and on whom."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ser_utils import SerError, models
from ser_utils.models import SVM, LinearProbe, SegmentCNN, SpectrogramCNN


@pytest.fixture(autouse=True)
def one_thread():
    """As in cross-validation, whose jobs have one thread each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def vectors(n=240, dims=10, classes=("anger", "fear", "sadness"), speakers=6, strength=1.5, seed=0):
    """Vectors whose mean depends on the class, and a little on the speaker."""
    random = np.random.default_rng(seed)
    codes, groups = random.integers(len(classes), size=n), random.integers(speakers, size=n)
    X = random.normal(size=(n, dims)) + strength * random.normal(size=(len(classes), dims))[codes]
    return X + 0.5 * random.normal(size=(speakers, dims))[groups], np.array(classes)[codes], groups


def maps(n=240, frames=12, dims=16, speakers=6, seed=0, dtype=np.float32):
    """Feature maps in which a class is a short pattern at a random place."""
    random = np.random.default_rng(seed)
    codes, groups = random.integers(3, size=n), random.integers(speakers, size=n)
    patterns = 1.5 * np.random.default_rng(99).normal(size=(3, 3, dims))
    X = random.normal(size=(n, frames, dims))
    for i, start in enumerate(random.integers(frames - 2, size=n)):
        X[i, start : start + 3] += patterns[codes[i]]
    return (3 * X + 7).astype(dtype), np.array(["anger", "fear", "sadness"])[codes], groups


def spectrograms(n=90, mels=64, frames=40, seed=0):
    """Noise spectrograms with a band of energy whose height is the class."""
    random = np.random.default_rng(seed)
    codes, groups = random.integers(3, size=n), random.integers(5, size=n)
    X = random.normal(-8, 1, size=(n, mels, frames))
    for i, code in enumerate(codes):
        X[i, 10 + 15 * code : 20 + 15 * code] += 3
    return X.astype(np.float16), np.array(["anger", "fear", "sadness"])[codes], groups


QUICK = {
    "svm": (SVM(), vectors),
    "probe": (LinearProbe(), vectors),
    "segment": (SegmentCNN(width=16, epochs=6, batch_size=32, learning_rate=0.01), maps),
    "spectrogram": (SpectrogramCNN(epochs=6, batch_size=32, learning_rate=0.01), spectrograms),
}
every = pytest.mark.parametrize("name", QUICK)


# ---------------------------------------------------------------------------------- the common interface


@parametrize_with_checks([SVM(), LinearProbe()])
def test_vector_classifiers_keep_scikit_learns_rules(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@every
def test_probabilities_sum_to_one_and_follow_classes(name):
    estimator, data = QUICK[name]
    X, y, groups = data()
    model = clone(estimator).fit(X, y, groups=groups)
    probabilities = model.predict_proba(X)
    assert list(model.classes_) == ["anger", "fear", "sadness"]
    assert probabilities.shape == (len(X), 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert (model.classes_[probabilities.argmax(1)] == model.predict(X)).all()
    assert balanced_accuracy_score(y, model.predict(X)) > 0.8


@every
def test_a_clone_has_the_parameters_and_no_memory(name):
    estimator, data = QUICK[name]
    X, y, groups = data()
    seed = {name: 5 for name in estimator.get_params() if name == "random_state"}
    fitted = clone(estimator).set_params(**seed).fit(X, y, groups=groups)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "classes_")


@every
def test_a_pickled_classifier_says_the_same(name):
    estimator, data = QUICK[name]
    X, y, groups = data()
    model = clone(estimator).fit(X, y, groups=groups)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict_proba(X[:9]), model.predict_proba(X[:9])
    )


@every
def test_a_seed_reproduces_exactly(name):
    estimator, data = QUICK[name]
    X, y, groups = data()
    one, two = (clone(estimator).fit(X, y, groups=groups).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["segment", "spectrogram"])
def test_another_seed_trains_another_network(name):
    estimator, data = QUICK[name]
    X, y, groups = data()
    one, two = (
        clone(estimator).set_params(random_state=s).fit(X, y, groups=groups).predict_proba(X) for s in (0, 1)
    )
    assert np.abs(one - two).max() > 1e-3


@pytest.mark.parametrize("name", ["segment", "spectrogram"])
def test_training_leaves_torchs_own_random_numbers_alone(name):
    estimator, data = QUICK[name]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    clone(estimator).set_params(epochs=1).fit(*data())
    assert torch.equal(torch.rand(4), expected)


@every
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_a_number_is_refused(name, value):
    estimator, data = QUICK[name]
    X, y, groups = data()
    X[7].flat[3] = value
    with pytest.raises(ValueError, match="NaN|inf"):
        clone(estimator).fit(X, y, groups=groups)
    model = clone(estimator).fit(np.nan_to_num(X, nan=0, posinf=0), y, groups=groups)
    with pytest.raises(ValueError, match="NaN|inf"):
        model.predict_proba(X)


@every
def test_one_class_only_is_one_clear_line(name):
    estimator, data = QUICK[name]
    X, _, groups = data()
    with pytest.raises(SerError, match="one class.*give two") as error:
        clone(estimator).fit(X, np.full(len(X), "anger"), groups=groups)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["segment", "spectrogram"])
def test_an_array_of_the_wrong_form_is_one_clear_line(name):
    estimator, data = QUICK[name]
    X, y, _ = data()
    with pytest.raises(SerError, match="takes floats of shape"):
        clone(estimator).fit(X[:, 0], y)
    with pytest.raises(SerError, match="one label for every row"):
        clone(estimator).fit(X, y[:-1])


@pytest.mark.parametrize("name", ["segment", "spectrogram"])
def test_a_half_precision_memory_map_gives_the_same_as_an_array(name, tmp_path):
    estimator, data = QUICK[name]
    X, y, groups = data()
    X = X.astype(np.float16)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as torch's about arrays that cannot be written
        one, two = (clone(estimator).fit(a, y, groups=groups).predict_proba(a) for a in (X, mapped))
    np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------------------------- speakers kept apart


def test_regularisation_is_chosen_for_unseen_speakers():
    # Each speaker has a loud signature and, by it, a class that he mostly speaks: weak regularisation learns
    # speakers, and is right on held-out rows of the same speakers only.
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 30)
    codes = np.where(random.random(360) < 0.8, groups % 2, random.integers(2, size=360))
    X = random.normal(size=(360, 40))
    X[:, :30] += 3 * random.normal(size=(12, 30))[groups]
    X[:, 39] += 1.2 * codes
    y = np.array(["anger", "fear"])[codes]
    choices = SVM(whiten=(False,), kernels=("gaussian",), C=(0.01, 10.0))
    apart, mixed = choices.fit(X, y, groups=groups).search_, choices.fit(X, y).search_
    assert mixed["uar"].max() > apart["uar"].max() + 0.05
    assert len(apart) == 2


def test_the_best_of_the_inner_scores_is_taken():
    X, y, groups = vectors(strength=0.4)
    model = SVM(C=(0.001, 1.0)).fit(X, y, groups=groups)
    best = model.search_.loc[model.search_["uar"].idxmax()]
    assert (model.whiten_, model.kernel_, model.C_) == (best["whiten"], best["kernel"], best["C"])
    assert len(model.search_) == 8 and model.search_["uar"].nunique() > 1


def test_probabilities_of_the_svm_are_calibrated_on_unseen_speakers():
    X, y, groups = vectors(n=600, strength=0.35, speakers=12)
    test = groups >= 8
    model = SVM().fit(X[~test], y[~test], groups=groups[~test])
    probabilities = model.predict_proba(X[test])
    correct = model.predict(X[test]) == y[test]
    assert 0.4 < correct.mean() < 0.95
    assert probabilities.max(1).mean() == pytest.approx(correct.mean(), abs=0.1)


def test_the_svm_is_more_often_right_where_it_is_surer():
    # A count of won pairs says next to nothing about confidence: among eight classes nearly all have the same gap.
    X, y, groups = vectors(n=1200, strength=0.3, speakers=12)
    test = groups >= 6
    model = SVM(C=(0.1, 1.0)).fit(X[~test], y[~test], groups=groups[~test])
    right, sure = model.predict(X[test]) == y[test], model.predict_proba(X[test]).max(1)
    thirds = np.array_split(right[np.argsort(sure)], 3)
    assert thirds[2].mean() > thirds[1].mean() > thirds[0].mean() and thirds[2].mean() > thirds[0].mean() + 0.2


def test_probabilities_of_pairs_are_coupled_as_price_and_others_do_it():
    X, y, groups = vectors(strength=0.5)
    model = SVM(kernels=("linear",), C=(1.0,)).fit(X, y, groups=groups)
    margins = model.machine_.decision_function(model.scaler_.transform(X) @ model.turn_)
    p = np.ones((3, 3, len(X)))
    for (i, j), margin in zip(((0, 1), (0, 2), (1, 2)), margins.T, strict=True):
        p[i, j], p[j, i] = 1 / (1 + np.exp(-2 * margin)), 1 / (1 + np.exp(2 * margin))
    coupled = 1 / (np.sum(1 / p, axis=1) - 1 - (3 - 2)).T  # the diagonal's ones do not count
    scaled = coupled ** (1 / model.temperature_)
    np.testing.assert_allclose(model.predict_proba(X), scaled / scaled.sum(1, keepdims=True), atol=1e-9)


def test_two_classes_keep_their_sides():
    X, y, groups = vectors(strength=1.0)
    two = y != "sadness"
    model = SVM().fit(X[two], y[two], groups=groups[two])
    assert (model.predict(X[two]) == y[two]).mean() > 0.85


def test_probabilities_of_the_svm_never_overrule_its_decisions():
    # Inner speakers so unlike each other that held-out decisions are worse than chance: what is learned from
    # them may make probabilities flat, but must not turn them round.
    random = np.random.default_rng(0)
    codes, groups = random.integers(3, size=240), random.integers(3, size=240)
    X, y = random.normal(size=(240, 3)), np.array(["anger", "fear", "sadness"])[codes]
    X[np.arange(240), (codes + groups) % 3] += 4  # where one speaker's fear is, another's anger
    model = SVM(C=(1.0,)).fit(X, y, groups=groups)
    assert model.search_["uar"].max() < 1 / 3, "this test needs misleading inner folds"
    space = model.scaler_.transform(X) @ model.turn_
    assert (model.predict(X) == model.classes_[model.machine_.predict(space)]).mean() > 0.95


def test_inner_folds_of_the_svm_are_standardised_and_whitened_with_their_own_training_rows():
    X, y, groups = vectors(strength=0.5)
    X[groups == 0] *= 20  # one speaker is far louder: its rows change the statistics of all others
    model = SVM(whiten=(True,), kernels=("gaussian",), C=(0.3, 10.0)).fit(X, y, groups=groups)
    codes = np.unique(y, return_inverse=True)[1]
    truth, made = [], {0.3: [], 10.0: []}
    for fit, held in models.grouped_splits(codes, groups, 3, 0):
        truth.append(codes[held])
        for C in made:
            alone = SVM(whiten=(True,), kernels=("gaussian",), C=(C,)).fit(X[fit], y[fit], groups=groups[fit])
            made[C].append(alone.predict_proba(X[held]).argmax(1))
    for choice in model.search_.itertuples():
        predicted = np.concatenate(made[choice.C])
        assert choice.uar == pytest.approx(balanced_accuracy_score(np.concatenate(truth), predicted))


def test_whitening_makes_what_varies_within_classes_alike_in_all_directions():
    random = np.random.default_rng(0)
    y = np.repeat(["anger", "neutral"], 400)
    X = random.normal(size=(800, 5)) @ random.normal(size=(5, 5)) + 3 * (y == "anger")[:, None]
    model = SVM(whiten=(True,), kernels=("linear",), C=(1.0,)).fit(X, y)

    def variances(Z):
        """Within classes, along the principal directions."""
        return np.linalg.eigvalsh(np.cov(np.concatenate([Z[y == name] - Z[y == name].mean(0) for name in set(y)]).T))

    Z = model.scaler_.transform(X)
    assert np.ptp(np.log(variances(Z))) > 2.5 and np.ptp(np.log(variances(Z @ model.turn_))) < 0.7


def test_the_svm_gives_the_same_where_a_kernel_matrix_would_be_too_large(monkeypatch):
    X, y, groups = vectors(strength=0.5)
    small = SVM().fit(X, y, groups=groups)
    monkeypatch.setattr("ser_utils.models.vectors.DENSE_ROWS", 100)
    monkeypatch.setattr("ser_utils.models.vectors.pairwise_kernels", None)
    large = SVM().fit(X, y, groups=groups)
    pd.testing.assert_frame_equal(small.search_, large.search_)
    np.testing.assert_allclose(small.predict_proba(X), large.predict_proba(X), atol=1e-4)


def test_the_linear_probe_finds_what_is_linear_in_many_dimensions_and_weighs_rare_classes_alike():
    random = np.random.default_rng(0)
    y = np.repeat(["anger", "fear", "neutral"], [20, 60, 220])
    X = random.normal(size=(300, 400)) @ random.normal(size=(400, 400)) / 20  # correlated; more dims than rows
    X[:, :3] += 6 * (y[:, None] == ["anger", "fear", "neutral"])
    train = random.permutation(300) < 200
    right = LinearProbe().fit(X[train], y[train]).predict(X[~train]) == y[~train]
    for emotion in np.unique(y):
        assert right[y[~train] == emotion].mean() > 0.6, emotion


def test_every_training_speaker_is_trained_on():
    # One speaker alone has the third class: a network that had set that speaker aside could not name it.
    X, y, groups = maps(n=600)
    only = groups == groups[0]
    y = np.where(only, "sadness", np.where(y == "sadness", "fear", y))
    model = SegmentCNN(width=16, epochs=8, batch_size=32, learning_rate=0.01).fit(X, y, groups=groups)
    assert model.held_out_ == [] and model.history_["validation_uar"].isna().all()
    assert list(model.classes_) == ["anger", "fear", "sadness"]
    assert len(model.history_) == 8 and model.history_["kept"].to_numpy().nonzero()[0].tolist() == [7]


def test_the_temperature_given_makes_a_network_less_sure_and_changes_no_prediction():
    X, y, groups = maps()
    sure, doubting = (SegmentCNN(width=8, epochs=3, temperature=t).fit(X, y, groups=groups) for t in (1.0, 3.0))
    assert (sure.predict(X) == doubting.predict(X)).all()
    assert doubting.predict_proba(X).max(1).mean() < sure.predict_proba(X).max(1).mean()


def test_validation_speakers_are_not_trained_on():
    # Validation speakers carry the classes' patterns swapped: a network that trained on them would follow.
    X, y, groups = maps(n=600)
    model = clone(QUICK["segment"][0]).set_params(validation=0.15)
    held = clone(model).set_params(epochs=1).fit(X, y, groups=groups).held_out_
    swapped = np.where(np.isin(groups, held), np.roll(["anger", "fear", "sadness"], 1)[
        np.unique(y, return_inverse=True)[1]], y)  # fmt: skip
    fitted = clone(model).fit(X, swapped, groups=groups)
    assert held and fitted.held_out_ == held
    inside = np.isin(groups, held)
    assert balanced_accuracy_score(y[~inside], fitted.predict(X[~inside])) > 0.5
    assert fitted.history_["validation_uar"].max() < 0.45
    # What it learns is wrong for those it watches: the temperature takes its confidence away.
    assert fitted.temperature_ > 4


def test_the_epoch_with_the_highest_validation_score_is_kept():
    X, y, groups = maps()
    model = SegmentCNN(width=16, epochs=5, batch_size=32, learning_rate=0.01, validation=0.15).fit(X, y, groups=groups)
    history = model.history_
    assert list(history.columns) == ["epoch", "train_loss", "validation_loss", "validation_uar", "kept"]
    assert history["kept"].sum() == 1 and len(history) == 5
    kept_uar = history.loc[history["kept"], "validation_uar"].item()
    assert kept_uar == history["validation_uar"].max()
    held = np.isin(groups, model.held_out_)
    assert balanced_accuracy_score(y[held], model.predict(X[held])) == pytest.approx(kept_uar)


def test_a_temperature_makes_confidence_equal_to_accuracy():
    codes = np.arange(400) % 2
    logits = 10.0 * np.eye(2)[codes]
    logits[:100] = logits[:100, ::-1]  # right in three of four cases, and always certain
    temperature = models.fit_temperature(logits, codes, balanced=True)
    assert torch.from_numpy(logits / temperature).softmax(1).max(1).values.mean() == pytest.approx(0.75, abs=1e-3)
    assert models.fit_temperature(1e3 * logits, codes, balanced=True) == pytest.approx(20, rel=1e-3)


def test_a_fitted_network_needs_no_further_temperature_on_its_validation_speakers():
    X, y, groups = maps()
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.3, np.roll(y, 1), y)  # some labels are wrong
    model = clone(QUICK["segment"][0]).set_params(validation=0.15).fit(X, y, groups=groups)
    held = np.isin(groups, model.held_out_)
    logits = models.run(model.network_, X[held]).numpy()
    codes = np.searchsorted(model.classes_, y[held])
    assert model.temperature_ != pytest.approx(1, abs=0.05)
    assert models.fit_temperature(logits, codes, balanced=True) == pytest.approx(1, abs=0.01)


def test_with_one_speaker_rows_are_held_out_instead_and_it_is_said():
    X, y, _ = maps()
    with pytest.warns(UserWarning, match="one speaker only"):
        model = SegmentCNN(width=16, epochs=2, validation=0.15).fit(X, y, groups=np.zeros(len(X)))
    assert model.held_out_ == []
    assert model.history_["validation_loss"].notna().all()


# ---------------------------------------------------------------------------------- the segment CNN


def test_the_segment_cnn_finds_a_pattern_wherever_it_is():
    X, y, groups = maps(n=600, frames=24)
    test_X, test_y, _ = maps(n=150, frames=24, seed=1)
    model = SegmentCNN(width=16, epochs=8, batch_size=32, learning_rate=0.01).fit(X, y, groups=groups)
    shuffled = SegmentCNN(width=16, epochs=8, batch_size=32, learning_rate=0.01)
    shuffled.fit(X, np.random.default_rng(0).permutation(y), groups=groups)
    assert balanced_accuracy_score(test_y, model.predict(test_X)) > 0.85
    assert balanced_accuracy_score(test_y, shuffled.predict(test_X)) < 0.55


@pytest.mark.parametrize("frames", [3, 12, 100])
def test_any_number_of_frames_from_three_on_will_do(frames):
    X, y, groups = maps(n=60, frames=frames)
    model = SegmentCNN(width=8, epochs=1).fit(X, y, groups=groups)
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_rare_class_is_not_ignored():
    X, y, groups = maps(n=900)
    keep = (y != "fear") | (np.random.default_rng(0).random(len(y)) < 0.08)
    model = SegmentCNN(width=16, epochs=8, batch_size=32, learning_rate=0.01)
    model.fit(X[keep], y[keep], groups=groups[keep])
    test_X, test_y, _ = maps(n=300, seed=1)
    assert (model.predict(test_X[test_y == "fear"]) == "fear").mean() > 0.6


def test_the_first_layer_makes_training_rows_standard():
    X, y, groups = maps()
    model = SegmentCNN(width=8, epochs=1).fit(X, y, groups=groups)
    z = model.network_[:2](torch.from_numpy(X)).numpy()  # pairs of frames, standardised
    np.testing.assert_allclose(z.mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(z.std((0, 1)), 1, atol=1e-3)


@pytest.mark.parametrize("name", ["segment", "spectrogram"])
def test_a_dimension_that_was_constant_in_training_does_not_decide_at_test_time(name):
    estimator, data = QUICK[name]
    X, y, groups = data()
    dead = (..., 0) if name == "segment" else (slice(None), slice(60, 64))  # a dimension, or the highest mel bands
    X[dead] = -13.8
    model = clone(estimator).fit(X, y, groups=groups)
    test = X.copy()
    test[dead] += 0.05
    assert np.abs(model.predict_proba(test) - model.predict_proba(X)).max() < 0.1


def test_a_dimension_is_standardised_as_scikit_learn_does_it():
    X = np.random.default_rng(0).normal(size=(50, 4)) * [1e-6, 1, 100, 0] + [0, 3000, -5, 7]
    network = models.Standardise(*(torch.tensor(v, dtype=torch.float32) for v in (X.mean(0), X.std(0))))
    expected = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(network(torch.tensor(X, dtype=torch.float32)), expected, atol=1e-3)


def test_statistics_of_a_dimension_with_a_large_mean_are_exact():
    X = (3000 + 1.22 * np.random.default_rng(0).normal(size=(500, 10, 3))).astype(np.float32)
    mean, deviation = models.statistics(X, np.arange(500), (0, 1))
    np.testing.assert_allclose(mean[0], X.mean((0, 1), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(deviation[0], X.std((0, 1), dtype=np.float64), rtol=1e-5)


def test_masks_blank_stretches_in_training_only():
    torch.manual_seed(0)
    mask, x = models.Mask(0.3), torch.ones(64, 20, 10)
    blank = mask(x) == 0
    frames, dims = blank.all(2), blank.all(1)
    assert (blank == frames[:, :, None] | dims[:, None, :]).all()  # nothing but whole frames and dimensions
    assert 0 < frames.sum(1).max() <= 6 and 0 < dims.sum(1).max() <= 3
    assert (frames.int().diff(dim=1) != 0).sum(1).max() <= 2  # one stretch
    assert torch.equal(mask.eval()(x), x)


def test_without_epochs_few_rows_are_seen_more_often_and_many_are_never_seen_less(monkeypatch):
    monkeypatch.setattr("ser_utils.models.training.UPDATES", 40)
    monkeypatch.setattr("ser_utils.models.training.EPOCHS", 3)
    passes = {}
    for n in (64, 256, 2048):
        X, y, groups = maps(n=n)
        passes[n] = len(SegmentCNN(width=4, batch_size=32).fit(X, y, groups=groups).history_)
    assert passes == {64: 20, 256: 5, 2048: 3}


def test_the_receptive_field_is_what_changing_frames_shows():
    # Ones as weights and a rise in the middle: nothing can cancel, so whatever moves has been seen.
    network = models.segment_network(
        torch.zeros(4), torch.ones(4), 2, width=8, dropout=0, masking=0
    ).eval()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    convolutions = network[: list(dict(network.named_children())).index("summarise")]
    x = torch.zeros(1, 64, 4)
    with torch.inference_mode():
        middle = convolutions(x)[0, ..., 8]
        seen = []
        for frame in range(64):
            y = x.clone()
            y[0, frame] = 5
            seen.append(not torch.equal(convolutions(y)[0, ..., 8], middle))
    assert np.ptp(np.flatnonzero(seen)) + 1 == sum(seen) == models.receptive_field(network)


def test_the_description_counts_every_parameter():
    X, y, groups = maps(n=60)
    model = SegmentCNN(width=8, epochs=1).fit(X, y, groups=groups)
    table = models.layer_table(model.network_, X.shape[1:])
    assert table["parameters"].sum() == models.count_parameters(model.network_)
    assert table.loc[table["layer"] == "classify", "output"].item() == (3,)
    assert table["receptive_field"].is_monotonic_increasing
    rows, (frames, dims) = table.set_index("layer"), X.shape[1:]
    assert rows.loc["project", "multiply_adds"] == frames // 2 * dims * 8  # a dot product a pair of frames and channel
    assert rows.loc["classify", "multiply_adds"] == 4 * 8 * 3
    assert rows.loc["summarise", "multiply_adds"] == 0


# ---------------------------------------------------------------------------------- the spectrogram CNN


def state(network, prefix):
    return {n: v.clone() for n, v in network.state_dict().items() if n.startswith(prefix)}


@pytest.mark.parametrize("freeze", [0, 2, 4])
def test_frozen_blocks_keep_the_pretrained_weights_and_the_others_learn(freeze):
    X, y, groups = spectrograms()
    model = SpectrogramCNN(freeze=freeze, epochs=1).fit(X, y, groups=groups)
    pretrained = models.load_keyword_network(3)
    for block in range(1, 5):
        before, after = (state(n, f"block_{block}.") for n in (pretrained, model.network_))
        same = all(torch.equal(before[name], after[name]) for name in before)
        assert same == (block <= freeze)


def test_random_weights_are_random_and_all_trained():
    X, y, groups = spectrograms()
    model = SpectrogramCNN(weights="random", epochs=1).fit(X, y, groups=groups)
    with torch.random.fork_rng():
        torch.manual_seed(model.random_state)
        first = models.keyword_network(3)
    for block in range(1, 5):
        before, after = (state(n, f"block_{block}.convolve") for n in (first, model.network_))
        assert not any(torch.equal(before[name], after[name]) for name in before)


def test_the_committed_weights_are_small_and_know_their_keywords():
    folder = models.WEIGHTS / "keyword-cnn"
    assert (folder / "model.safetensors").stat().st_size < 5e6
    config = pd.read_json(folder / "config.json", typ="series")
    assert len(config["classes"]) == 16
    assert config["training"]["accuracy_digits"] > 1 / 10
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ("CC BY-SA 4.0", "Apache-2.0", "held out"))
    for figure in ("accuracy_digits", "accuracy_keywords"):
        assert f"{100 * config['training'][figure]:.1f} %" in card


def test_a_resnet_folder_takes_the_place_of_the_keyword_network(tmp_path):
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], layer_type="basic"
    )
    ResNetModel(config).save_pretrained(tmp_path / "tiny")
    X, y, groups = spectrograms(n=60)
    model = SpectrogramCNN(weights=str(tmp_path / "tiny"), epochs=1).fit(X, y, groups=groups)
    assert model.predict_proba(X).shape == (60, 3)
    stored = ResNetModel.from_pretrained(tmp_path / "tiny")
    for name, value in stored.encoder.stages[2].state_dict().items():
        assert torch.equal(value, model.network_.block_4.state_dict()[name])
    moved = [
        not torch.equal(v, model.network_.block_5.state_dict()[n])
        for n, v in stored.encoder.stages[3].named_parameters()
    ]
    assert sum(moved) > len(moved) / 2  # a rectifier that never fires leaves its weights as they were


def test_weights_that_cannot_be_had_are_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    X, y, _ = spectrograms(n=30)
    for weights in (str(tmp_path), "nobody/no-such-model"):
        with pytest.raises(SerError, match="ResNet weights") as error:
            SpectrogramCNN(weights=weights).fit(X, y)
        assert "\n" not in str(error.value)
    with pytest.raises(SerError, match="has 4 blocks, give 0 to 4"):
        SpectrogramCNN(freeze=5).fit(X, y)


def test_nothing_is_trained_in_half_precision_whatever_the_processor_has(monkeypatch):
    entered, enter = [], torch.autocast.__enter__
    monkeypatch.setattr(torch.autocast, "__enter__", lambda self: entered.append(self._enabled) or enter(self))
    X, y, groups = maps(n=64)
    SegmentCNN(epochs=1).fit(X, y, groups)
    assert not any(entered)


def test_without_convolutions_only_averages_are_seen():
    X, y, groups = maps(n=300)
    model = SegmentCNN(convolutions=False, epochs=2).fit(X, y, groups=groups)
    assert models.count_parameters(model.network_) == (2 * X.shape[2] + 1) * 3
    pairs = X[:, : X.shape[1] // 2 * 2].reshape(len(X), -1, 2, X.shape[2])  # frames are read two by two
    turned = pairs[:, ::-1].reshape(len(X), -1, X.shape[2])
    np.testing.assert_allclose(model.predict_proba(turned), model.predict_proba(X[:, : turned.shape[1]]), atol=1e-5)
    ordered = SegmentCNN(epochs=2, width=8).fit(X, y, groups=groups)
    assert np.abs(ordered.predict_proba(turned) - ordered.predict_proba(X[:, : turned.shape[1]])).max() > 1e-3
