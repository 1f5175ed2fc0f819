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


def test_integrated_gradients_add_up_to_the_difference_of_the_logit(segments):
    torch.manual_seed(0)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(DIMS, 8), torch.nn.GELU(), torch.nn.Linear(8, 3))

        def forward(self, x):
            return self.layers(x).mean(dim=1)

    network, baseline = Network(), np.full(DIMS, 0.1, dtype="float32")
    shares = analysis.integrated_gradients(network, segments, [2] * 6, baseline=baseline, steps=200)
    start = np.broadcast_to(baseline, segments.shape).copy()
    with torch.no_grad():
        difference = (network(torch.tensor(segments)) - network(torch.tensor(start)))[:, 2].numpy()
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
