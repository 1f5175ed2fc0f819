"""One number that makes a classifier as confident as it is right."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

#: Between the two, a system from far too timid to far too sure; beyond them the rows are too few to say.
LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, codes: np.ndarray, *, balanced: bool) -> float:
    """The temperature T with the lowest cross-entropy of softmax(logits / T) (Guo et al. 2017).

    Parameters
    ----------
    logits : ndarray, shape=(n, classes)
        Any decision values or log-probabilities of rows that were not trained on.
    codes : ndarray of int, shape=(n,)
        True class of each row.
    balanced : bool
        Every class counts the same, as in training with balanced weights; otherwise every row does.

    Returns
    -------
    float
        From `LOWEST` to `HIGHEST`; above 1 the logits were over-confident. No decision changes.
    """
    rows = np.arange(len(codes))
    weight = 1 / np.bincount(codes)[codes] if balanced else np.ones(len(codes))

    def loss(log_temperature: float) -> float:
        return -weight @ log_softmax(logits / np.exp(log_temperature), axis=1)[rows, codes] / weight.sum()

    bounds = np.log([LOWEST, HIGHEST])
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))
