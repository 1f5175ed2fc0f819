"""Attribution: it points to the frames that decide, adds up, and is found out when it does not."""

import numpy as np
import pytest
import torch

from ser_utils import analysis

FRAMES, DIMS, LOUD = 20, 4, slice(8, 12)


class MeanModel:
    """Says `anger` the more, the higher the mean of dimension 0; it looks at nothing else."""

    classes_ = np.array(["anger", "neutral"])

    def predict_proba(self, X):
        anger = 1 / (1 + np.exp(-4 * np.asarray(X)[:, :, 0].mean(axis=1)))
        return np.stack([anger, 1 - anger], axis=1)


@pytest.fixture
def segments():
    X = np.random.default_rng(0).normal(0, 0.05, (6, FRAMES, DIMS)).astype("float32")
    X[:, LOUD, 0] += 3
    return X


def test_occlusion_points_to_the_frames_that_decide(segments):
    loss = analysis.occlusion(MeanModel(), segments, ["anger"] * 6, baseline=np.zeros(DIMS), width=3)
    assert loss.shape == (6, FRAMES)
    inside = loss[:, LOUD].mean()
    outside = np.delete(loss, np.arange(5, 15), axis=1)
    assert inside > 0.05 and np.abs(outside).max() < inside / 3


def test_occlusion_changes_sign_with_the_emotion_asked_about(segments):
    loss = analysis.occlusion(MeanModel(), segments, ["neutral"] * 6, baseline=np.zeros(DIMS))
    assert loss[:, LOUD].max() < 0


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(  # a mean over frames at the end: (n, frames, dims) -> (n, 3)
        torch.nn.Linear(DIMS, 8), torch.nn.GELU(), torch.nn.Unflatten(2, (8, 1)), torch.nn.AvgPool3d((FRAMES, 1, 1)),
        torch.nn.Flatten(), torch.nn.Linear(8, 3),
    )  # fmt: skip


def test_occlusion_equals_the_direct_loop_over_windows(segments):
    baseline, model = np.full(DIMS, 0.1, dtype="float32"), MeanModel()
    loss = analysis.occlusion(model, segments, ["anger"] * 6, baseline=baseline, width=5)
    for centre in range(FRAMES):
        hidden = segments.copy()
        hidden[:, max(0, centre - 2) : centre + 3] = baseline
        direct = np.log(model.predict_proba(segments)[:, 0]) - np.log(model.predict_proba(hidden)[:, 0])
        np.testing.assert_allclose(loss[:, centre], direct, atol=1e-6)


def test_integrated_gradients_equal_the_direct_sum_of_gradients(segments):
    baseline, columns, steps = np.full(DIMS, 0.1, dtype="float32"), [0, 1, 2, 0, 1, 2], 16
    shares = analysis.integrated_gradients(network(), segments, columns, baseline=baseline, steps=steps)
    x, start, total = torch.tensor(segments), torch.tensor(baseline).expand(segments.shape), 0
    for step in range(steps):
        point = (start + (step + 0.5) / steps * (x - start)).requires_grad_()
        logits = network()(point)[torch.arange(6), columns]
        total = total + torch.autograd.grad(logits.sum(), point)[0] / steps
    np.testing.assert_allclose(shares, ((x - start) * total).sum(-1), atol=1e-7)


def test_integrated_gradients_add_up_to_the_difference_of_the_logit(segments):
    baseline = np.full(DIMS, 0.1, dtype="float32")
    shares = analysis.integrated_gradients(network(), segments, [2] * 6, baseline=baseline, steps=200)
    start = np.broadcast_to(baseline, segments.shape).copy()
    with torch.no_grad():
        difference = (network()(torch.tensor(segments)) - network()(torch.tensor(start)))[:, 2].numpy()
    np.testing.assert_allclose(shares.sum(axis=1), difference, atol=1e-3)


def test_deleting_the_frames_that_matter_hurts_more_than_deleting_at_random(segments):
    importance = np.zeros((6, FRAMES))
    importance[:, LOUD] = 1
    settings = dict(baseline=np.zeros(DIMS), fractions=(0, 0.2, 1))
    guided, random = analysis.deletion_curves(MeanModel(), segments, ["anger"] * 6, importance, **settings)
    np.testing.assert_allclose(guided[:, [0, 2]], random[:, [0, 2]], rtol=1e-5)
    assert (guided[:, 1] < random[:, 1] - 0.05).all()
    backwards, _ = analysis.deletion_curves(MeanModel(), segments, ["anger"] * 6, -importance, **settings)
    assert (backwards[:, 1] > guided[:, 1] + 0.05).all(), "a wrong attribution is found out"


def test_an_emotion_that_the_model_does_not_know_is_named(segments):
    with pytest.raises(ValueError, match="boredom"):
        analysis.occlusion(MeanModel(), segments, ["boredom"] * 6, baseline=np.zeros(DIMS))


def test_shapes_that_do_not_fit_are_refused(segments):
    with pytest.raises(ValueError, match="segments, frames, dims"):
        analysis.occlusion(MeanModel(), segments[0], ["anger"], baseline=np.zeros(DIMS))
    with pytest.raises(ValueError, match="6 segments but 2"):
        analysis.occlusion(MeanModel(), segments, ["anger"] * 2, baseline=np.zeros(DIMS))
    with pytest.raises(ValueError, match="attribution has shape"):
        analysis.deletion_curves(MeanModel(), segments, ["anger"] * 6, np.zeros((6, 3)), baseline=np.zeros(DIMS))
