"""The loop that trains a network on rows of an array, which may be a half-precision memory map."""

from __future__ import annotations

import copy
import math

import numpy as np
import pandas as pd
import torch
from torch import nn

from ser_utils import SerError, encoders
from ser_utils.models import temperature

#: Steps of the optimiser that training is meant to take, in two passes over the data at least and six at most: a corpus
#: six times as large does not need six times the steps.
UPDATES = 200


# ---------------------------------------------------------------------------------------------------------
# Rows of a mapped array
# ---------------------------------------------------------------------------------------------------------


def rows_of(X: np.ndarray, rows: np.ndarray | slice) -> torch.Tensor:
    """Copy rows of an array, which may be a half-precision memory map, into a float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(X[rows])).float()


def statistics(X: np.ndarray, rows: np.ndarray, axes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of some rows over `axes`, a bounded piece at a time.

    Raises
    ------
    SerError
        If a value is not a finite number.
    """
    sums, squares, count = 0.0, 0.0, 0
    for start in range(0, len(rows), 64):
        piece = rows_of(X, rows[start : start + 64])
        sums = sums + piece.sum(axes, keepdim=True).double()
        squares = squares + piece.square().sum(axes, keepdim=True).double()
        count += piece.numel() // sums.numel()
    if not torch.isfinite(sums).all():
        raise SerError("The features X hold NaN or infinite values: extract them again, or leave those rows out.")
    mean = sums / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    return mean[0].float(), deviation[0].float()


@torch.inference_mode()
def run(network: nn.Module, X: np.ndarray, rows: np.ndarray | None = None, *, batch_size=256) -> torch.Tensor:
    """Outputs of a network for rows of an array, a batch at a time, without training-time randomness.

    Parameters
    ----------
    network : Module
        Rows → one value a class.
    X : ndarray, shape=(n, ...)
        May be a half-precision memory map.
    rows : ndarray of int, optional
        All where not given.
    batch_size : int

    Returns
    -------
    Tensor, shape=(len(rows), classes), float32
    """
    network.eval()
    rows = np.arange(len(X)) if rows is None else rows
    parts = [network(rows_of(X, rows[i : i + batch_size])) for i in range(0, len(rows), batch_size)]
    return torch.cat(parts)


@torch.inference_mode()
def precompute(network: nn.Module, X: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """Outputs of the untrained or frozen first layers for every row, in half precision, so that epochs do not repeat them."""
    network.eval()
    result = None
    for start in range(0, len(X), batch_size):  # few rows at once: they stay in the processor's cache
        batch = np.arange(start, min(start + batch_size, len(X)))
        outputs = network(rows_of(X, batch)).half().numpy()
        if result is None:
            result = np.empty((len(X), *outputs.shape[1:]), np.float16)
        result[batch] = outputs
    return result


# ---------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------


def default_epochs(n_batches: int) -> int:
    """Passes of `n_batches` updates each that make about `UPDATES` updates: two at least and six at most."""
    return min(6, max(2, round(UPDATES / n_batches)))


def train(
    network: nn.Module,
    X: np.ndarray,
    codes: np.ndarray,
    fit: np.ndarray,
    held: np.ndarray,
    *,
    epochs: int | None,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    patience: int,
) -> pd.DataFrame:
    """Train a network in place and leave it with the weights of its best epoch on the held-out rows.

    Best is the highest UAR, then the lowest loss: on a speaker who was not trained on, the loss soon grows from
    a few confident mistakes while decisions still get better (`calibrate` mends the confidence afterwards).
    Balanced cross-entropy, AdamW, one cycle of the learning rate (Smith & Topin 2018). Convolutions are computed in
    bf16 where the processor has it; weights, sums over rows and everything that is measured are float32. Randomness
    comes from torch's global generator: seed it before.

    Parameters
    ----------
    network : Module
        Rows → one value a class.
    X : ndarray, shape=(n, ...)
    codes : ndarray of int, shape=(n,)
        Class of each row; every class occurs among `fit`.
    fit, held : ndarray of int
        Rows to train on, and rows to watch. Without held-out rows the last epoch is kept.
    epochs : int, optional
        Passes over `fit`, at most. Where not given: as many as make about `UPDATES` updates, two to six.
    batch_size, learning_rate, weight_decay
        As usual; the learning rate is the highest of the cycle.
    patience : int
        Stop after so many epochs without a better one.

    Returns
    -------
    DataFrame
        One row an epoch: `epoch, train_loss, validation_loss, validation_uar, kept`.
    """
    counts = np.bincount(codes[fit]).astype(float)
    loss_of = nn.CrossEntropyLoss(torch.tensor(len(fit) / (len(counts) * counts), dtype=torch.float32))
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, fused=True)
    n_batches = math.ceil(len(fit) / batch_size)
    epochs = default_epochs(n_batches) if epochs is None else epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * n_batches)
    targets = torch.from_numpy(codes)
    cpu = torch.device("cpu")
    precision = encoders.choose("auto", cpu)
    history, best_score, best_epoch, best = [], None, None, None
    for epoch in range(1, epochs + 1):
        network.train()
        total = 0.0
        # Batches of equal size: a last batch of one row would break batch normalisation.
        for rows in np.array_split(fit[torch.randperm(len(fit)).numpy()], n_batches):
            optimiser.zero_grad()
            with encoders.autocast(precision, cpu):
                outputs = network(rows_of(X, rows))
            loss = loss_of(outputs.float(), targets[rows])
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        validation_loss, uar = math.nan, math.nan
        if len(held):
            outputs = run(network, X, held)
            present = np.bincount(codes[held], minlength=len(counts)) > 0
            validation_loss = loss_of(outputs, targets[held]).item()
            hit = (outputs.argmax(1) == targets[held]).numpy()
            uar = float(np.mean([hit[codes[held] == k].mean() for k in np.flatnonzero(present)]))
        history.append((epoch, total / len(fit), validation_loss, uar))
        score = (uar, -validation_loss)
        if not len(held) or best_score is None or score > best_score:
            best_score, best_epoch = score, epoch
            best = copy.deepcopy(network.state_dict()) if len(held) else None
        elif epoch - best_epoch >= patience:
            break
    if best is not None:
        network.load_state_dict(best)
    network.eval()
    table = pd.DataFrame(history, columns=["epoch", "train_loss", "validation_loss", "validation_uar"])
    return table.assign(kept=table["epoch"] == best_epoch)


def fit_temperature_on(network: nn.Sequential, X: np.ndarray, codes: np.ndarray, held: np.ndarray) -> float:
    """Make a network as confident as it is right on held-out rows, by one temperature (Guo et al. 2017).

    The last layer is divided by the temperature that `temperature.fit` finds; no decision changes.

    Parameters
    ----------
    network : Sequential
        Trained; its last layer is linear, and is changed in place.
    X : ndarray, shape=(n, ...)
    codes : ndarray of int, shape=(n,)
    held : ndarray of int
        Rows that were not trained on.

    Returns
    -------
    float
        The temperature; 1 without held-out rows.
    """
    if not len(held):
        return 1.0
    best = temperature.fit_temperature(run(network, X, held).double().numpy(), codes[held], balanced=True)
    with torch.no_grad():
        network[-1].weight /= best
        network[-1].bias /= best
    return best
