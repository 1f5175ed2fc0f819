"""Temperature scaling: one number that matches a classifier's confidence to its accuracy (Guo et al. 2017)."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits: np.ndarray, codes: np.ndarray, *, balanced: bool) -> float:
    """Find the temperature T with the lowest cross-entropy of softmax(logits / T).

    Dividing by one positive number changes the confidence of a prediction and never the predicted class.

    Parameters
    ----------
    logits : ndarray, shape=(n, classes)
        Decision values or log-probabilities of rows outside the training rows.
    codes : ndarray of int, shape=(n,)
        True class of each row.
    balanced : bool
        Weigh every class the same, as training with balanced weights does, instead of every row.

    Returns
    -------
    float
        From 0.05 to 20; above 1 the logits were over-confident.
    """
    rows = np.arange(len(codes))
    weight = 1 / np.bincount(codes)[codes] if balanced else np.ones(len(codes))

    def loss(log_temperature: float) -> float:
        return -weight @ log_softmax(logits / np.exp(log_temperature), axis=1)[rows, codes] / weight.sum()

    found = minimize_scalar(loss, bounds=np.log([0.05, 20.0]), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
