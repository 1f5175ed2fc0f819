"""The loop that trains a network on rows of an array, which may be a half-precision memory map."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import recall_score
from torch import nn

from ser_utils import SerError

#: Epochs, and at least so many updates where few rows make short epochs. On RAVDESS six epochs lost 4 points of UAR,
#: twenty gained nothing.
EPOCHS, UPDATES = 12, 200


def rows_of(X: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    """Copy rows of an array, which may be a half-precision memory map, into a float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(X[rows])).float()


def statistics(X: np.ndarray, rows: np.ndarray, axes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of some rows over `axes`, in float64 and one bounded piece at a time.

    A second pass over the rows sums squared differences from the mean: a difference of two large sums of squares
    would lose the small standard deviation of a dimension whose mean is large.

    Parameters
    ----------
    X : ndarray, shape=(n, ...)
    rows : ndarray of int
    axes : tuple of int
        Axes that are averaged over, 0 among them.

    Returns
    -------
    mean, std : Tensor, float32
        Of the shape of one row, with length 1 along the other `axes`.

    Raises
    ------
    SerError
        If a value is NaN or infinite.
    """
    pieces = [rows[start : start + 64] for start in range(0, len(rows), 64)]

    def average(transform: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Mean of the transformed pieces, weighted by their number of rows."""
        parts = (transform(rows_of(X, piece).double()).mean(axes, keepdim=True) * len(piece) for piece in pieces)
        return sum(parts, start=torch.tensor(0.0)) / len(rows)

    mean = average(lambda piece: piece)
    if not torch.isfinite(mean).all():
        raise SerError("The features X hold NaN or infinite values: extract them again, or leave those rows out.")
    std = average(lambda piece: (piece - mean).square()).sqrt()
    return mean[0].float(), std[0].float()


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are; the processor for one without parameters."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


@torch.inference_mode()
def run(network: nn.Module, X: np.ndarray, rows: np.ndarray | None = None) -> torch.Tensor:
    """Outputs of a network in evaluation mode, computed one batch at a time.

    Parameters
    ----------
    network : Module
        Rows → one value per class.
    X : ndarray, shape=(n, ...)
        May be a half-precision memory map.
    rows : ndarray of int, optional
        All where not given.

    Returns
    -------
    Tensor, shape=(len(rows), classes), float32
    """
    network.eval()
    rows, device = np.arange(len(X)) if rows is None else rows, device_of(network)
    return torch.cat([network(rows_of(X, rows[i : i + 256]).to(device)).cpu() for i in range(0, len(rows), 256)])


@torch.inference_mode()
def precompute(network: nn.Module, X: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Outputs of layers that are not trained, for every row, so that epochs do not repeat them.

    Returns
    -------
    ndarray, shape=(n, ...), float16
        `out` where given, which may be X itself if the layers keep the shape.
    """
    network.eval()
    device = device_of(network)
    if out is None:
        out = np.empty((len(X), *network(rows_of(X, np.arange(1)).to(device)).shape[1:]), np.float16)
    for batch in np.array_split(np.arange(len(X)), math.ceil(len(X) / 64)):  # 64 rows stay in the processor's cache
        out[batch] = network(rows_of(X, batch).to(device)).half().cpu().numpy()
    return out


def default_epochs(n_batches: int) -> int:
    """Number of epochs of `n_batches` updates each: `EPOCHS`, or as many as make `UPDATES` updates."""
    return max(EPOCHS, math.ceil(UPDATES / n_batches))


def train(
    network: nn.Module,
    X: np.ndarray,
    codes: np.ndarray,
    fit: np.ndarray,
    held: np.ndarray,
    targets: torch.Tensor,
    *,
    epochs: int | None,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    groups: list[dict] | None = None,
) -> pd.DataFrame:
    """Train a network in place and, where there are validation rows, keep the weights of its best epoch on them.

    The best epoch has the highest UAR, then the lowest loss: on speakers outside the training rows the loss soon
    grows because of a few confident errors, while the UAR still rises (a temperature corrects the confidence later).
    Balanced cross-entropy, AdamW, one cycle of the learning rate (Smith & Topin 2018). All is computed in
    float32, so that scores do not depend on what a processor has. Randomness comes from torch's global generator:
    seed it before.

    Parameters
    ----------
    network : Module
        Rows → one value per class.
    X : ndarray, shape=(n, ...)
    codes : ndarray of int, shape=(n,)
        Class of each row; every class occurs among `fit`.
    fit, held : ndarray of int
        Rows to train on, and validation rows. Without validation rows the last epoch is kept.
    targets : Tensor, shape=(n,) or (n, classes)
        What is learned: the codes, or shares of the classes.
    epochs : int, optional
        `default_epochs` where not given.
    batch_size, learning_rate, weight_decay
        As usual; the learning rate is the highest of the cycle.
    groups : list of dict, optional
        Parameters with rates of their own, as for AdamW: `params`, `lr`. All parameters have `learning_rate` where not
        given.

    Returns
    -------
    DataFrame
        One row per epoch: `epoch, train_loss, validation_loss, validation_uar, kept`.
    """
    counts = np.bincount(codes[fit]).astype(float)
    device = device_of(network)
    loss_of = nn.CrossEntropyLoss(torch.tensor(len(fit) / (len(counts) * counts), dtype=torch.float32)).to(device)
    targets = targets.to(device)
    parameters = groups or [{"params": [p for p in network.parameters() if p.requires_grad], "lr": learning_rate}]
    optimiser = torch.optim.AdamW(parameters, weight_decay=weight_decay, fused=True)
    highest = [group["lr"] for group in parameters]
    n_batches = math.ceil(len(fit) / batch_size)
    epochs = default_epochs(n_batches) if epochs is None else epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, highest, total_steps=epochs * n_batches)
    history, best_score, best_epoch, best = [], (-math.inf, -math.inf), 0, None
    for epoch in range(1, epochs + 1):
        network.train()
        total = 0.0
        # Batches of equal size: a last batch of one row would break batch normalisation.
        for rows in np.array_split(fit[torch.randperm(len(fit)).numpy()], n_batches):
            optimiser.zero_grad()
            loss = loss_of(network(rows_of(X, rows).to(device)), targets[rows])
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        validation_loss, uar = math.nan, math.nan
        if len(held):
            outputs = run(network, X, held)
            validation_loss = loss_of(outputs.to(device), targets[held]).item()
            uar = recall_score(codes[held], outputs.argmax(1), labels=np.unique(codes[held]), average="macro")
        history.append((epoch, total / len(fit), validation_loss, uar))
        if not len(held):
            best_epoch = epoch
        elif (uar, -validation_loss) > best_score:
            best_score, best_epoch, best = (uar, -validation_loss), epoch, copy.deepcopy(network.state_dict())
    if best is not None:
        network.load_state_dict(best)
    network.eval()
    table = pd.DataFrame(history, columns=["epoch", "train_loss", "validation_loss", "validation_uar"])
    return table.assign(kept=table["epoch"] == best_epoch)
