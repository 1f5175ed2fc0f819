"""Training of a recognizer on all speakers of a corpus."""

import tempfile
from collections.abc import Collection
from pathlib import Path

import pandas as pd
from sklearn.base import clone

from ser_utils import SerError, audio, encoders, features, models
from ser_utils.recognizer import familiarity
from ser_utils.recognizer.recognizer import FORMAT, EmotionRecognizer


def train(
    clips: pd.DataFrame, encoder: encoders.Encoder, *,
    corpus: str, layer: int | None = None, segment_seconds: float = 1.0, epochs: int | None = None, seed: int = 0,
    leave_out: Collection[str] = (), scores: pd.DataFrame | None = None, cache: str | Path | None = None,
    tuned: models.FineTuned | None = None,
) -> EmotionRecognizer:  # fmt: skip
    """Train the segment CNN, or fine-tune the encoder, on the active segments of all speakers of a corpus.

    Parameters
    ----------
    clips, encoder, layer, segment_seconds, cache
        As for `features.extract`; the encoder's recommended layer by default.
    corpus : str
        Its name for the model card, such as "demo (synthetic)".
    epochs, seed
        Of `models.SegmentCNN`.
    leave_out : collection of str
        Speakers that are not used for training.
    scores : DataFrame, optional
        Rows of `scores.csv` of this system on test speakers, for the model card.
    tuned : FineTuned, optional
        How to tune the encoder; its head is the CNN, and its own settings stand in place of `layer`, `epochs` and
        `seed`.

    Raises
    ------
    SerError
        If `tuned` has another head.
    """
    if tuned is not None:
        if tuned.head != "cnn":
            raise SerError(f"head={tuned.head!r}: a recognizer keeps a FineTuned with the head cnn.")
        layer = tuned.layer
    layer = encoder.recommended_layer if layer is None else layer
    segments = audio.cut_segments(clips, seconds=segment_seconds, active=audio.activity(clips))
    X = features.extract(clips, segments, encoder, layers=(layer if tuned is None else 0,), cache=cache)
    clips = clips[~clips["speaker"].isin(leave_out)]
    used = segments["clip"].isin(clips["clip"]).to_numpy()
    facts = clips.set_index("clip").loc[segments["clip"][used]]
    about, place = {}, None
    if tuned is None:
        cnn = models.SegmentCNN(epochs=epochs, random_state=seed).fit(X[used], facts["emotion"].to_numpy())
        network = cnn.network_
    else:  # the encoder lies in a folder of its own until the recognizer is saved with it
        cnn = clone(tuned).set_params(encoder=encoder).fit(X[used], facts["emotion"].to_numpy())
        about["tuned"] = f"{encoder.name}, tuned on this corpus ({cnn.tuned})"
        place = tempfile.TemporaryDirectory(prefix="tuned-")
        encoder = encoders.load(str(cnn.save(place.name)), precision=encoder.precision)
        network = cnn.network_[2:].cpu()
    columns = ["system", "metric", "value", "low", "high"]
    kept = [] if scores is None else scores.loc[scores["level"] == "clip", columns].round(4).to_dict("records")
    config = {
        "format": FORMAT,
        "labels": [str(name) for name in cnn.classes_],
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "layer": int(layer),
        "segment_seconds": float(segment_seconds),
        "width": cnn.width,
        "temperature": cnn.temperature_,  # already in the last layer's weights
        "normalisation": "mean and standard deviation of the training frames, in the network's first layers",
        "ranges": familiarity.usual_ranges(clips),
        "training": {
            "corpus": corpus,
            "clips": len(clips),
            "speakers": int(clips["speaker"].nunique()),
            "hours": round(float(clips["duration"].sum()) / 3600, 2),
            "epochs": len(cnn.history_),
            "seed": cnn.random_state,
            **about,
        },
        "scores": kept,
    }
    made = EmotionRecognizer(encoder, network, config)
    made._place = place  # removed with it
    return made
