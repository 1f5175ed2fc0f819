"""The segment CNN's cross-validation as a tutorial would write it: the other side of a row of `bench`, used nowhere else.

`torch.nn.Conv1d` and its like, a `DataLoader`, one training after another. No straw man: the network, its folds and its
epochs are those of `models.SegmentCNN`, and tests hold the two beside each other.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchaudio import transforms

from ser_utils import models, splits, training


class Network(nn.Module):
    """`networks.segment_network` with the usual modules: the same layers in the same order, parameters too.

    Parameters
    ----------
    mean, deviation : Tensor, shape=(dims,)
        Of pairs of frames.
    n_classes : int
    model : SegmentCNN
        Width, dropout and masking.
    """

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor, n_classes: int, model: models.SegmentCNN):
        super().__init__()
        width, self.masking = model.width, model.masking
        self.register_buffer("mean", mean[:, None])
        self.register_buffer("deviation", deviation[:, None])
        self.convolutions = nn.Sequential(
            nn.Conv1d(len(mean), width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2, bias=False), nn.MaxPool1d(2, ceil_mode=True),
            nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm1d(2 * width), nn.ReLU(),
        )  # fmt: skip
        self.dropout = nn.Dropout(model.dropout)
        self.classify = nn.Linear(4 * width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, frames, dims)` → `(n, n_classes)`."""
        x = nn.functional.avg_pool1d(x.transpose(1, 2), 2)
        x = (x - self.mean) / self.deviation
        if self.training and self.masking:
            dims, frames = (max(1, round(self.masking * size)) for size in x.shape[1:])
            x = transforms.FrequencyMasking(dims, iid_masks=True)(x)
            x = transforms.TimeMasking(frames, iid_masks=True)(x)
        x = self.convolutions(x)
        x = torch.cat([x.mean(-1), x.var(-1, unbiased=False).clamp(min=1e-5).sqrt()], dim=1)
        return self.classify(self.dropout(x))


def cross_validate(
    frames: np.ndarray,
    segments: pd.DataFrame,
    clips: pd.DataFrame,
    folds: pd.Series,
    seeds: tuple[int, ...],
    model: models.SegmentCNN,
) -> pd.DataFrame:
    """The same folds, held-out speakers, epochs and rates as `evaluation.cross_validate` of `model`, one training after another.

    Parameters
    ----------
    frames : ndarray, shape=(segments, frames, dims)
    segments, clips : DataFrame
    folds : Series
        Fold by clip.
    seeds : tuple of int
    model : SegmentCNN
        Its settings; stops nowhere early.

    Returns
    -------
    DataFrame
        A predictions table.
    """
    of_segment = clips.set_index("clip").loc[segments["clip"]]
    names = sorted(set(of_segment.emotion))
    y, groups = np.searchsorted(names, of_segment.emotion), of_segment.speaker.to_numpy()
    fold = folds.loc[segments["clip"]].to_numpy()
    X = torch.from_numpy(np.asarray(frames, np.float32))  # noqa: N806
    tables = []
    for seed in seeds:
        probabilities = np.zeros((len(X), len(names)))
        for number in np.unique(fold):
            torch.manual_seed(seed)
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            fit, held = (train[part] for part in splits.hold_out(y[train], groups[train], model.validation, seed))
            pairs = nn.functional.avg_pool1d(X[fit].transpose(1, 2), 2)
            mean, deviation = pairs.mean((0, 2)), pairs.std((0, 2)).clamp(min=1e-4)
            network = Network(mean, deviation, len(names), model)
            loader = DataLoader(
                TensorDataset(X[fit], torch.from_numpy(y[fit])),
                batch_size=model.batch_size,
                shuffle=True,
                drop_last=len(fit) > model.batch_size,
            )
            epochs = training.default_epochs(len(loader)) if model.epochs is None else model.epochs
            counts = np.bincount(y[fit], minlength=len(names))
            loss_of = nn.CrossEntropyLoss(torch.tensor(len(fit) / (len(names) * counts), dtype=torch.float32))
            optimiser = torch.optim.AdamW(network.parameters(), model.learning_rate, weight_decay=model.weight_decay)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, model.learning_rate, total_steps=epochs * len(loader)
            )
            best, kept = -1.0, None
            for _ in range(epochs):
                network.train()
                for batch, codes in loader:
                    optimiser.zero_grad()
                    loss_of(network(batch), codes).backward()
                    optimiser.step()
                    schedule.step()
                network.eval()
                with torch.no_grad():
                    hit = (network(X[held]).argmax(1).numpy() == y[held]) if len(held) else np.ones(1)
                score = np.mean([hit[y[held] == k].mean() for k in np.unique(y[held])]) if len(held) else 0.0
                if score > best:
                    best, kept = score, {k: v.clone() for k, v in network.state_dict().items()}
            network.load_state_dict(kept)
            with torch.no_grad():
                probabilities[test] = network(X[test]).softmax(1).numpy()
        tables.append(pd.DataFrame(probabilities, columns=names).assign(seed=seed))
    base = pd.DataFrame({
        "system": "other", "fold": fold, "clip": segments["clip"].to_numpy(), "start": segments["start"].to_numpy(float),
        "end": segments["end"].to_numpy(float), "speaker": groups, "emotion": of_segment.emotion.to_numpy(),
    })  # fmt: skip
    return pd.concat([base.join(table) for table in tables], ignore_index=True)
