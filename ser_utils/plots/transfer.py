"""Figures of systems on other corpora, and on perturbed recordings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ser_utils.plots.style import BLUE, INK, VERMILION, display_name, panel_grid, shaded_table, title_figure


def transfer_matrix(scores: pd.DataFrame, *, title: str, chance: float) -> Figure:
    """UAR by training corpus (rows) and test corpus (columns), one panel per system; within a corpus in bold.

    Parameters
    ----------
    scores : DataFrame
        As `evaluation.transfer_scores` returns it: `system, trained, tested, value, low, high`, fractions.
    chance : float
        White cells have this UAR or less.
    """
    systems, top = list(scores["system"].unique()), 100 * scores["value"].max()
    rows, columns = (list(scores[name].unique()) for name in ("trained", "tested"))
    figure, axes = panel_grid(len(systems), 3, 1.5 + 1.05 * len(columns), 1.0 + 0.55 * len(rows))
    for i, (ax, system) in enumerate(zip(axes, systems, strict=True)):
        own = scores[scores["system"] == system].pivot(index="trained", columns="tested").reindex(rows)
        value, low, high = (100 * own[name][columns] for name in ("value", "low", "high"))
        cells = zip(*(table.to_numpy(float).tolist() for table in (value, low, high)), strict=True)
        texts = [["" if np.isnan(v) else f"{v:.0f}\n[{a:.0f}, {b:.0f}]" for v, a, b in zip(*row, strict=True)] for row in cells]
        shaded_table(ax, value, texts, white=(100 * chance + 2 * top) / 3, cmap="Blues", vmin=100 * chance, vmax=top)
        for text in ax.texts:
            column, row = map(int, text.get_position())
            text.set_fontweight("bold" if rows[row] == columns[column] else "normal")
        words = display_name(system)
        ax.set_title(words.replace(", ", ",\n", 1) if len(words) > 16 * len(columns) else words)
        if max(map(len, columns)) <= 12:  # short enough to stand side by side
            plt.setp(ax.get_xticklabels(), rotation=0, ha="center")
        ax.set(xlabel="tested on", ylabel="" if i % 3 else "trained on")
        if i % 3:
            ax.set_yticklabels([])
    away = scores[scores["trained"].isin(columns) & (scores["trained"] != scores["tested"])].groupby("system")["value"].mean()
    best = f"best across corpora: {display_name(away.idxmax())}, {100 * away.max():.0f} % on average; chance {100 * chance:.0f} %"
    title_figure(figure, f"{title} UAR [%] and 95 % interval over test speakers\n{best}")
    return figure


def robustness(table: pd.DataFrame, *, title: str) -> Figure:
    """Unchanged predictions and change of UAR for every perturbation and group, with the thresholds as short lines.

    Parameters
    ----------
    table : DataFrame
        As `evaluation.robustness` returns it.
    """
    rows = table[table["limit"].notna()].reset_index(drop=True)
    figure, axes = plt.subplots(1, 2, figsize=(9, 1.3 + 0.3 * len(rows)), sharey=True, layout="constrained")
    passed = rows["passed"].astype(bool).to_numpy()
    change, low, high, limit = (100 * rows[["change", "low", "high", "limit"]].to_numpy(float)).T
    for kind, colour, face in ((passed, BLUE, BLUE), (~passed, VERMILION, "white")):
        look = dict(color=colour, markerfacecolor=face, markersize=6)
        axes[0].plot(100 * rows["unchanged"][kind], rows.index[kind], "o", **look)
        axes[1].hlines(rows.index[kind], low[kind], high[kind], color=colour, linewidth=1.6)
        axes[1].plot(change[kind], rows.index[kind], "o", **look)
    axes[1].axvline(0, color=INK, linewidth=1)
    for ax, wanted in ((axes[0], 100 * rows["least"]), (axes[1], limit)):
        ax.vlines(wanted, rows.index - 0.35, rows.index + 0.35, color=INK, linewidth=1.4)
        ax.grid(axis="x")
    groups = rows["unchanged"].isna().to_numpy()
    axes[1].vlines(-limit[groups], rows.index[groups] - 0.35, rows.index[groups] + 0.35, color=INK, linewidth=1.4)
    axes[0].set_yticks(rows.index, rows["test"])
    axes[0].set(ylim=(len(rows) - 0.5, -0.5), xlim=(None, 102), xlabel="predictions that stay as they were [%]")
    axes[1].set_xlabel("change in UAR; of a group: distance from all [points]\n95 % interval over speakers")
    title_figure(figure, f"{title}\n{passed.sum()} of {len(rows)} pass (filled); short lines: thresholds")
    return figure
