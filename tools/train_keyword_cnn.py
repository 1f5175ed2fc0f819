"""Pretrain the spectrogram CNN on spoken keywords and digits, and write the weights beside this script.

    .venv/bin/python tools/train_keyword_cnn.py ../shared/data/speech

The folder holds `wake_words/<keyword>/*` and `digits/<digit>_<speaker>_<n>.*`. One digit speaker, and every
tenth recording of each keyword (their speakers are not known), are kept out and measured once at the end.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from ser_utils import ROOT, audio, features, models

HELD_OUT_SPEAKERS = ("theo",)
SECONDS = 1.2  # of each recording: the loudest stretch, which is where the keyword is


def recordings(folder: Path) -> pd.DataFrame:
    """List recordings as a clips table, with `keyword` and `held_out` beside it."""
    rows = []
    for i, path in enumerate(sorted((folder / "wake_words").glob("*/*.*"))):
        rows.append((f"{path.parent.name}/{path.stem}", path, None, path.parent.name, i % 10 == 0))
    for path in sorted((folder / "digits").glob("*_*_*.*")):
        digit, speaker, _ = path.stem.split("_")
        rows.append((path.stem, path, speaker, digit, speaker in HELD_OUT_SPEAKERS))
    clips = pd.DataFrame(rows, columns=["clip", "path", "speaker", "keyword", "held_out"])
    clips["path"] = clips["path"].astype(str)
    return clips


def loudest(wave: np.ndarray) -> float:
    """Where the loudest `SECONDS` of a recording start, in seconds."""
    window = round(SECONDS * audio.SAMPLE_RATE)
    if len(wave) <= window:
        return 0.0
    energy = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    return float(np.argmax(energy[window:] - energy[:-window])) / audio.SAMPLE_RATE


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--cache", type=Path, default=None, help="folder for spectrograms")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    clips = recordings(arguments.speech)
    waves = [audio.read(path) for path in clips["path"]]
    clips["duration"] = [len(wave) / audio.SAMPLE_RATE for wave in waves]
    start = np.array([loudest(wave) for wave in waves])
    segments = pd.DataFrame({"clip": clips["clip"], "start": start, "end": start + SECONDS, "padding": 0.0})
    del waves
    X = features.log_mel(clips, segments, cache=arguments.cache)

    classes, codes = np.unique(clips["keyword"], return_inverse=True)
    fit, held = (np.flatnonzero(clips["held_out"] == value) for value in (False, True))
    began = time.process_time()
    torch.manual_seed(0)
    network = models.keyword_network(len(classes), mels=X.shape[1], dropout=0.2)
    mean, deviation = models.statistics(X, fit, (0, 2))
    network.standardise = models.Standardise(mean, deviation)
    models.train(
        network, X, codes, fit, np.arange(0),  # no early stopping: the held-out rows are seen once, below
        epochs=arguments.epochs, batch_size=64, learning_rate=4e-3, weight_decay=0.02,
    )  # fmt: skip
    seconds = time.process_time() - began

    hit = models.run(network, X, held).argmax(1).numpy() == codes[held]
    digit = clips["speaker"].iloc[held].notna().to_numpy()
    folder = ROOT / "ser_utils" / "models" / "weights" / "keyword-cnn"
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()
             if "num_batches_tracked" not in name}  # fmt: skip
    save_file(state, folder / "model.safetensors")
    config = {
        "mels": X.shape[1],
        "channels": [module.convolve.out_channels for name, module in network.named_children()
                     if name.startswith("block_")],
        "classes": classes.tolist(),
        "training": {
            "recordings": len(fit),
            "held_out_speakers": list(HELD_OUT_SPEAKERS),
            "held_out_digits": int(digit.sum()),
            "held_out_keywords": int((~digit).sum()),
            "accuracy_digits": round(float(hit[digit].mean()), 3),
            "accuracy_keywords": round(float(hit[~digit].mean()), 3),
            "epochs": arguments.epochs,
            "processor_seconds": round(seconds),
            "parameters": models.count_parameters(network),
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    print(json.dumps(config["training"], indent=1))


if __name__ == "__main__":
    main()
