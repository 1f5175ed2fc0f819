"""Which moments of a segment decide: occlusion, integrated gradients, and a test of both by deletion.

An attribution gives every frame of a segment a number: how much it speaks for the emotion in question. Whether such
numbers deserve trust is itself a measurement: frames that matter, once deleted, must lower the probability faster than
frames deleted in random order (`deletion_curves`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Probabilities below this are not told apart when logarithms are taken.
FLOOR = 1e-6


def _log_probability(estimator, X: np.ndarray, targets: Sequence[str]) -> np.ndarray:
    """Log-probability of each row's target emotion, shape `(n,)`."""
    columns = np.searchsorted(estimator.classes_, targets)
    if not np.array_equal(np.asarray(estimator.classes_)[columns % len(estimator.classes_)], np.asarray(targets)):
        unknown = sorted(set(targets) - set(estimator.classes_))
        raise ValueError(f"the model does not know {unknown}; it knows {list(estimator.classes_)}")
    probabilities = estimator.predict_proba(X)
    return np.log(np.maximum(probabilities[np.arange(len(X)), columns], FLOOR))


def _check(X: np.ndarray, targets: Sequence[str]) -> np.ndarray:
    X = np.asarray(X, dtype=np.float32)
    if X.ndim != 3:
        raise ValueError(f"X must have shape (segments, frames, dims), got {X.shape}")
    if len(targets) != len(X):
        raise ValueError(f"{len(X)} segments but {len(targets)} target emotions")
    return X


def occlusion(estimator, X: np.ndarray, targets: Sequence[str], *, baseline: np.ndarray, width: int = 5) -> np.ndarray:
    """Log-probability lost when a stretch of frames is replaced by a frame that says nothing.

    Parameters
    ----------
    estimator
        Fitted, with `predict_proba` and sorted `classes_`.
    X : ndarray, shape=(n, frames, dims)
        Feature maps of segments.
    targets : sequence of str, length n
        The emotion whose probability is watched.
    baseline : ndarray, shape=(dims,)
        The frame put in place, usually the mean frame of the training segments.
    width : int
        Frames hidden at once (odd; 5 frames are 100 ms at 50 frames a second).

    Returns
    -------
    ndarray, shape=(n, frames)
        Loss of log-probability with the window centred on each frame: positive where the frame speaks *for* the target.

    References
    ----------
    Zeiler & Fergus 2014, *Visualizing and understanding convolutional networks*.
    """
    X = _check(X, targets)
    n, frames, _ = X.shape
    whole = _log_probability(estimator, X, targets)
    loss = np.empty((n, frames), dtype=np.float32)
    for centre in range(frames):
        hidden = X.copy()
        hidden[:, max(0, centre - width // 2) : centre + width // 2 + 1] = baseline
        loss[:, centre] = whole - _log_probability(estimator, hidden, targets)
    return loss


def integrated_gradients(
    network, X: np.ndarray, columns: Sequence[int], *, baseline: np.ndarray, steps: int = 32
) -> np.ndarray:
    """Share of each frame in the difference of a logit between the segment and a segment that says nothing.

    Parameters
    ----------
    network : torch.nn.Module
        Maps `(n, frames, dims)` to logits `(n, emotions)`; for a fitted `SegmentCNN` its `network_`.
    X : ndarray, shape=(n, frames, dims)
        Feature maps of segments.
    columns : sequence of int, length n
        The logit to explain, for each segment.
    baseline : ndarray, shape=(dims,)
        The frame at which the path begins.
    steps : int
        Points on the straight path from baseline to segment (midpoint rule).

    Returns
    -------
    ndarray, shape=(n, frames)
        Attributions summed over dimensions. They add up to the difference of the logit (completeness), up to the error of
        the sum over steps.

    References
    ----------
    Sundararajan, Taly & Yan 2017, *Axiomatic attribution for deep networks*.
    """
    import torch

    network.eval()
    x = torch.as_tensor(np.asarray(X, dtype=np.float32))
    start = torch.as_tensor(np.asarray(baseline, dtype=np.float32)).expand_as(x)
    index = torch.as_tensor(list(columns))[:, None]
    total = torch.zeros_like(x)
    for step in range(steps):
        point = (start + (step + 0.5) / steps * (x - start)).requires_grad_(True)
        chosen = network(point).gather(1, index).sum()
        total += torch.autograd.grad(chosen, point)[0]
    return ((x - start) * total / steps).sum(dim=-1).numpy()


def deletion_curves(
    estimator,
    X: np.ndarray,
    targets: Sequence[str],
    attribution: np.ndarray,
    *,
    baseline: np.ndarray,
    fractions: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
    seed: int = 0,
    random_orders: int = 5,
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the target while frames are deleted, most important first, and in random order.

    Parameters
    ----------
    attribution : ndarray, shape=(n, frames)
        Importance of each frame for the target.
    fractions : sequence of float
        Shares of the frames that are replaced by `baseline`.
    random_orders : int
        Random orders averaged for the comparison.

    Returns
    -------
    guided, random : ndarray, shape=(n, len(fractions))
        Probability of the target. An attribution that deserves trust makes `guided` fall below `random`.

    Raises
    ------
    ValueError
        If the attribution has another shape than (n, frames).

    References
    ----------
    Petsiuk, Das & Saenko 2018, *RISE: randomized input sampling for explanation of black-box models*.
    """
    X = _check(X, targets)
    n, frames, _ = X.shape
    if attribution.shape != (n, frames):
        raise ValueError(f"attribution has shape {attribution.shape}, expected {(n, frames)}")
    generator = np.random.default_rng(seed)

    def curve(order: np.ndarray) -> np.ndarray:
        rank = np.argsort(order, axis=1)
        columns = []
        for fraction in fractions:
            deleted = X.copy()
            deleted[rank < round(fraction * frames)] = baseline
            columns.append(np.exp(_log_probability(estimator, deleted, targets)))
        return np.stack(columns, axis=1)

    guided = curve(np.argsort(-attribution, axis=1, kind="stable"))
    shuffled = [curve(np.argsort(generator.random((n, frames)), axis=1)) for _ in range(random_orders)]
    return guided, np.mean(shuffled, axis=0)
