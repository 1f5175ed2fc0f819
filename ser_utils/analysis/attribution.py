"""Which frames of a segment decide a prediction: occlusion, integrated gradients, and a test of both by deletion.

An attribution says how much every frame contributes to the probability of an emotion; both are computed by captum.
"""

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import FeatureAblation, IntegratedGradients
from sklearn.base import BaseEstimator

from ser_utils import evaluation


def occlusion(
    estimator: BaseEstimator, X: np.ndarray, targets: Sequence[str], *, baseline: np.ndarray, width: int = 5
) -> np.ndarray:
    """Loss of log-probability when a window of frames is replaced by an uninformative frame (Zeiler & Fergus 2014).

    Parameters
    ----------
    estimator
        Fitted, with `predict_proba`.
    X : ndarray, shape=(n, frames, dims)
    targets : sequence of str, length n
        The emotion whose probability is explained, for each segment.
    baseline : ndarray, shape=(dims,)
        The replacing frame, usually the mean frame of the training segments.
    width : int
        Frames replaced at once (odd; 5 frames are 100 ms at 50 frames per second).

    Returns
    -------
    ndarray, shape=(n, frames)
        Loss of log-probability with the window centred on each frame: positive where the frame supports the target.
    """
    X = _check(X, targets)
    reach = width // 2

    def log_probability(kept: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.max_pool1d(1 - kept, 2 * reach + 1, stride=1, padding=reach).bool().numpy()
        return torch.from_numpy(_log_probability(estimator, np.where(hidden[..., None], baseline, X), targets))

    kept = torch.ones(X.shape[:2], dtype=torch.float64)
    return FeatureAblation(log_probability).attribute(kept).numpy().astype(np.float32)


def integrated_gradients(
    network: torch.nn.Module, X: np.ndarray, columns: Sequence[int], *, baseline: np.ndarray, steps: int = 32
) -> np.ndarray:
    """Contribution of each frame to the difference of a logit between the segment and an uninformative segment.

    Integrated gradients (Sundararajan, Taly & Yan 2017), summed over dimensions.

    Parameters
    ----------
    network : torch.nn.Module
        Maps `(n, frames, dims)` to logits `(n, emotions)`; for a fitted `SegmentCNN` its `network_`.
    X : ndarray, shape=(n, frames, dims)
    columns : sequence of int, length n
        The logit to explain, for each segment.
    baseline : ndarray, shape=(dims,)
        The frame at which the path begins.
    steps : int
        Points on the straight path from baseline to segment (midpoint rule).

    Returns
    -------
    ndarray, shape=(n, frames)
        Their sum is the difference of the logit (completeness), up to the error of the sum over steps.
    """
    network.eval()
    x = torch.as_tensor(np.asarray(X, dtype=np.float32))
    start = torch.as_tensor(np.asarray(baseline, dtype=np.float32)).expand_as(x)
    shares = IntegratedGradients(network).attribute(
        x, start, target=torch.as_tensor(columns), n_steps=steps, method="riemann_middle", internal_batch_size=len(x)
    )
    return shares.detach().sum(dim=-1).numpy().astype(np.float32)


def deletion_curves(
    estimator: BaseEstimator, X: np.ndarray, targets: Sequence[str], attribution: np.ndarray, *,
    baseline: np.ndarray, fractions: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Probability of the target while frames are deleted, most important first, and in random order (mean of five).

    The deletion test of Petsiuk, Das & Saenko (2018): can an attribution be trusted?

    Parameters
    ----------
    estimator, X, targets, baseline
        As for `occlusion`.
    attribution : ndarray, shape=(n, frames)
        Importance of each frame for the target.
    fractions : sequence of float
        Shares of the frames that are replaced by `baseline`.

    Returns
    -------
    guided, random : ndarray, shape=(n, len(fractions))
        Probability of the target. With an attribution that can be trusted, `guided` falls below `random`.

    Raises
    ------
    ValueError
        If the attribution has another shape than (n, frames).
    """
    X = _check(X, targets)
    frames = X.shape[1]
    if attribution.shape != X.shape[:2]:
        raise ValueError(f"attribution has shape {attribution.shape}, expected {X.shape[:2]}")

    def curve(order: np.ndarray) -> np.ndarray:
        rank = np.argsort(order, axis=1)
        columns = []
        for fraction in fractions:
            deleted = X.copy()
            deleted[rank < round(fraction * frames)] = baseline
            columns.append(np.exp(_log_probability(estimator, deleted, targets)))
        return np.stack(columns, axis=1)

    guided = curve(np.argsort(-attribution, axis=1, kind="stable"))
    generator = np.random.default_rng(0)
    shuffled = [curve(np.argsort(generator.random(X.shape[:2]), axis=1)) for _ in range(5)]
    return guided, np.mean(shuffled, axis=0)


def _log_probability(estimator: BaseEstimator, X: np.ndarray, targets: Sequence[str]) -> np.ndarray:
    """Log-probability of each row's target emotion, shape `(n,)`."""
    classes = list(estimator.classes_)
    if unknown := sorted(set(targets) - set(classes)):
        raise ValueError(f"the model does not know {unknown}; it knows {classes}")
    probabilities = estimator.predict_proba(X)[np.arange(len(X)), [classes.index(target) for target in targets]]
    return np.log(np.maximum(probabilities, evaluation.FLOOR))


def _check(X: np.ndarray, targets: Sequence[str]) -> np.ndarray:
    X = np.asarray(X, dtype=np.float32)
    if X.ndim != 3:
        raise ValueError(f"X must have shape (segments, frames, dims), got {X.shape}")
    if len(targets) != len(X):
        raise ValueError(f"{len(X)} segments but {len(targets)} target emotions")
    return X
