"""A trained system kept in a folder, and applied to recordings of anyone.

What such a score can mean: the corpora behind it are *acted*, in one language, by few speakers. It says which of the actors'
portrayals a voice resembles. It does not say what a person feels. Not for use on people without their consent.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_utils import SerError, audio, encoders, evaluation, features, models
from ser_utils.recognizer import familiarity, streaming

MEANING = (
    "A score says which of the actors' portrayals in the training corpus a voice resembles, not what a person feels. It is "
    "tied to that corpus's language, speakers and recording room. Not for use on people without their consent."
)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a recognizer says of one recording.

    Attributes
    ----------
    scores : list of dict
        `label` and `score`, best first; scores sum to one.
    timeline : DataFrame
        One row a segment: `start` [s], `end` [s], one probability column an emotion.
    seconds : float
        Length of the recording.
    unusual : list of str
        In which respects it is unlike the recordings trained on; empty where in none.
    """

    scores: list[dict]
    timeline: pd.DataFrame
    seconds: float
    unusual: list[str]

    def decision(self, confidence: float = 0.0) -> str | None:
        """The best label, or None where its score is below `confidence` or there is nothing to judge."""
        best = self.scores[0]
        return best["label"] if best["score"] >= confidence and not self.silent else None

    @property
    def silent(self) -> bool:
        """Whether there is no sound in it to judge."""
        return any(reason.startswith("silence") for reason in self.unusual)


class EmotionRecognizer:
    """A frozen encoder and a segment CNN, trained on all speakers of a corpus; from `train` or `from_pretrained`.

    Calling it is like calling a transformers `audio-classification` pipeline.

    Attributes
    ----------
    labels : list of str
        Emotions, in the order of the network's outputs.
    encoder : Encoder
        Frozen; its layer `config["layer"]` is what the network sees.
    network : torch.nn.Sequential
        The segment CNN: frames of shape (n, frames, dims) → one logit an emotion.
    config : dict
        Encoder, layer, segment length, ranges of the training corpus, what it was trained on, its scores.

    Examples
    --------
    >>> recognizer = EmotionRecognizer.from_pretrained("data/processed/demo/recognizer")  # doctest: +SKIP
    >>> recognizer("recording.wav", top_k=2)  # doctest: +SKIP
    [{'label': 'anger', 'score': 0.61}, {'label': 'happiness', 'score': 0.22}]
    """

    def __init__(self, encoder: encoders.Encoder, network, config: dict):
        self.encoder, self.network, self.config = encoder, network.eval(), config
        self.labels = list(config["labels"])

    def __repr__(self) -> str:
        about = self.config["training"]
        return f"<EmotionRecognizer of {', '.join(self.labels)}; trained on {about['corpus']}, {self.encoder.name}>"

    # ------------------------------------------------------------------------------------------------ judging

    def __call__(self, inputs, *, sampling_rate: int | None = None, top_k: int | None = None):
        """Scores of one recording, or of each of a list of them.

        Parameters
        ----------
        inputs : str, Path, ndarray of shape (samples,), or a list of these
            Files of any rate and length, or waveforms.
        sampling_rate : int, optional
            Of waveforms, in Hz; 16 kHz where not given.
        top_k : int, optional
            Keep so many labels; all where not given.

        Returns
        -------
        list of dict, or list of such lists
            `{"label": …, "score": …}`, best first.

        Raises
        ------
        SerError
            If a recording cannot be read, is empty, or is not a single waveform, or if no speech has the sampling rate.
        """
        if isinstance(inputs, (list, tuple)):
            return [self(one, sampling_rate=sampling_rate, top_k=top_k) for one in inputs]
        return self.judge(inputs, sampling_rate=sampling_rate).scores[:top_k]

    def timeline(self, recording, *, sampling_rate: int | None = None, hop: float | None = None) -> pd.DataFrame:
        """Probabilities segment by segment.

        Parameters
        ----------
        recording, sampling_rate, hop
            As for `judge`.

        Returns
        -------
        DataFrame
            `start` [s], `end` [s], one column per emotion.
        """
        return self.judge(recording, sampling_rate=sampling_rate, hop=hop).timeline

    def judge(self, recording, *, sampling_rate: int | None = None, hop: float | None = None) -> Judgement:
        """Scores, timeline and doubts about one recording, heard once and a few seconds at a time.

        Parameters
        ----------
        recording : str, Path or ndarray of shape (samples,)
        sampling_rate : int, optional
            Of a waveform, in Hz.
        hop : float, optional
            Seconds between the starts of segments; their length where not given, so that none overlap.

        Returns
        -------
        Judgement

        Raises
        ------
        SerError
            As calling it does.
        """
        seconds, samples, blocks = streaming.opened(recording, sampling_rate)
        clip = pd.DataFrame({"clip": [""], "duration": [seconds]})
        segments = audio.cut_segments(clip, seconds=self.config["segment_seconds"], hop=hop)
        sounds: list[pd.DataFrame] = []
        waves = streaming.cut(streaming.measured(blocks, sounds), segments, samples, self._segment_samples)
        parts = []
        for batch in streaming.batches(waves):
            parts.append(self.probabilities(batch))
            features.give_back_memory()
        parts = np.concatenate(parts)
        table = segments.loc[: len(parts) - 1, ["start", "end"]]  # a damaged file may hold less than its header says
        table[self.labels] = parts
        scores = evaluation.pool(table[self.labels].to_numpy())
        best_first = [{"label": self.labels[k], "score": float(scores[k])} for k in np.argsort(-scores, kind="stable")]
        reasons = familiarity.unusual(familiarity.summarise(pd.concat(sounds)), self.config["ranges"])
        return Judgement(best_first, table, seconds, reasons)

    def probabilities(self, waveforms: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, emotions) for segments of shape (n, samples) at 16 kHz."""
        frames = self.encoder.encode(waveforms, [self.config["layer"]])[:, 0]
        logits = models.run(self.network, features.half(frames))  # as features lie on disk
        return logits.double().softmax(1).numpy()

    @property
    def _segment_samples(self) -> int:
        return round(self.config["segment_seconds"] * audio.SAMPLE_RATE)

    # ------------------------------------------------------------------------------------------------ keeping

    def save(self, folder: str | Path) -> Path:
        """Write `config.json`, `model.safetensors` and a card, ready to be uploaded as they are.

        The encoder is named where everyone can get it (ours, or one of the Hugging Face hub); one from a local folder
        is copied into `encoder/`. What was in `folder` is replaced when everything is written.
        """
        from safetensors.torch import save_file

        folder = Path(folder).expanduser()
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            config, source = dict(self.config), Path(self.encoder.name).expanduser()
            if source.is_dir():
                config["encoder"] = "encoder"
                (new / "encoder").mkdir()
                for file in source.iterdir():
                    if file.suffix in {".json", ".safetensors", ".bin"}:
                        shutil.copyfile(file, new / "encoder" / file.name)
            state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
            save_file(state, new / "model.safetensors")
            (new / "model.safetensors").chmod(0o644)  # safetensors would let nobody else read it
            (new / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
            (new / "README.md").write_text(card(config), encoding="utf-8")
            os.chmod(new, 0o755)
            _replace_folder(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return folder

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str | None = None, precision: str = "fp32"
    ) -> EmotionRecognizer:
        """Load what `save` wrote.

        Parameters
        ----------
        folder : str or Path
        device, precision : str
            Of the encoder, as for `encoders.load`.

        Raises
        ------
        SerError
            If the folder holds no recognizer, or its encoder is not the one that it was trained with.
        """
        from safetensors.torch import load_file

        folder = Path(folder).expanduser()
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            state = load_file(folder / "model.safetensors")
            kind = config["format"]
        except FileNotFoundError as error:
            raise SerError(
                f"{folder} holds no recognizer ({Path(error.filename or 'model.safetensors').name} is missing): "
                "`ser run` makes one in data/processed/CORPUS/recognizer"
            ) from error
        except Exception as error:  # noqa: BLE001 - damaged files raise as many types as there are formats
            raise SerError(f"{folder} holds no readable recognizer: {' '.join(str(error).split())}") from error
        if kind != "ser-recognizer-1":
            raise SerError(f"{folder} is of format {kind!r}, this version reads ser-recognizer-1")
        inside = folder / "encoder"
        name = str(inside) if config["encoder"] == "encoder" else config["encoder"]
        encoder = encoders.load(name, device=device, precision=precision)
        if encoder.fingerprint != config["fingerprint"]:
            raise SerError(
                f"{folder} was trained with another version of {config['encoder']}: its scores would mean nothing; train it again"
            )
        blank = torch.zeros(encoder.dims)  # the statistics are in the file
        network = models.segment_network(
            blank, blank + 1, len(config["labels"]), width=config["width"], dropout=0, masking=0
        )
        network.load_state_dict(state)
        return cls(encoder, network, config)


def train(
    clips: pd.DataFrame,
    encoder: encoders.Encoder,
    *,
    corpus: str,
    layer: int | None = None,
    segment_seconds: float = 1.0,
    epochs: int | None = None,
    seed: int = 0,
    leave_out: Collection[str] = (),
    scores: pd.DataFrame | None = None,
    cache: str | Path | None = None,
) -> EmotionRecognizer:
    """Train the segment CNN on all speakers of a corpus.

    A share of the speakers is held out to choose the epoch and the temperature, as in every fold of an evaluation.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    encoder : Encoder
    corpus : str
        Its name for the card, such as "demo (synthetic)".
    layer : int, optional
        The encoder's recommended one where not given.
    segment_seconds : float
    epochs, seed
        Of `models.SegmentCNN`.
    leave_out : collection of str
        Speakers that it must not hear.
    scores : DataFrame, optional
        Rows of `scores.csv` of this system on speakers left out, for the card.
    cache : str or Path, optional
        Folder of features.

    Returns
    -------
    EmotionRecognizer
    """
    from ser_utils import models  # with scikit-learn: 70 MB that judging does without

    layer = encoder.recommended_layer if layer is None else layer
    segments = audio.cut_segments(clips, seconds=segment_seconds)
    X = features.extract(clips, segments, encoder, layers=(layer,), cache=cache)
    clips = clips[~clips["speaker"].isin(leave_out)]
    heard = segments["clip"].isin(clips["clip"]).to_numpy()
    facts = clips.set_index("clip").loc[segments["clip"][heard]]
    cnn = models.SegmentCNN(epochs=epochs, random_state=seed)
    cnn.fit(X[heard], facts["emotion"].to_numpy(), groups=facts["speaker"].to_numpy())
    columns = ["system", "metric", "value", "low", "high"]
    kept = [] if scores is None else scores.loc[scores["level"] == "clip", columns].round(4).to_dict("records")
    config = {
        "format": "ser-recognizer-1",
        "labels": [str(name) for name in cnn.classes_],
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "layer": int(layer),
        "segment_seconds": float(segment_seconds),
        "width": cnn.width,
        "temperature": cnn.temperature_,  # already in the last layer's weights
        "normalisation": "mean and deviation of the training frames, in the network's first layers",
        "ranges": familiarity.ranges(clips),
        "training": {
            "corpus": corpus,
            "clips": len(clips),
            "speakers": int(clips["speaker"].nunique()),
            "hours": round(float(clips["duration"].sum()) / 3600, 2),
            "epoch": int(cnn.history_.loc[cnn.history_["kept"], "epoch"].iloc[0]),
            "held_out_speakers": [str(name) for name in cnn.held_out_],
            "seed": seed,
        },
        "scores": kept,
    }
    return EmotionRecognizer(encoder, cnn.network_, config)


def card(config: dict) -> str:
    """The README of a recognizer's folder, with front matter for the Hugging Face hub."""
    about, rows = config["training"], config["scores"]
    lines = [
        "---", "library_name: ser-utils", "pipeline_tag: audio-classification", "tags: [speech-emotion-recognition]", "---", "",
        f"# Emotion recognizer, trained on {about['corpus']}", "", MEANING, "",
        f"- **Labels**: {', '.join(config['labels'])}.",
        f"- **System**: frames of {config['encoder']}, layer {config['layer']}, in segments of {config['segment_seconds']:g} s; "
        f"a small CNN; log-probabilities of the segments averaged. Temperature {config['temperature']:.2f}.",
        f"- **Trained on**: {about['clips']} clips, {about['speakers']} speakers, {about['hours']} h of {about['corpus']}; "
        f"epoch {about['epoch']} chosen on {len(about['held_out_speakers'])} of the speakers.",
        f"- **Normalisation**: {config['normalisation']}.", "",
    ]  # fmt: skip
    if rows:
        lines += [
            "Scores of the same system on speakers left out, with 95 % intervals over speakers:", "",
            "| system | metric | value | interval |", "|---|---|---|---|",
            *(f"| {r['system']} | {r['metric']} | {r['value']:.3f} | {r['low']:.3f} to {r['high']:.3f} |" for r in rows),
            "",
        ]  # fmt: skip
    use = 'EmotionRecognizer.from_pretrained("FOLDER")("recording.wav")'
    return "\n".join([*lines, "```python", "from ser_utils.recognizer import EmotionRecognizer", use, "```", ""])


def _replace_folder(new: Path, old: Path) -> None:
    """Put a finished folder in the place of an earlier one."""
    if old.exists():
        aside = new.with_name(f"{new.name}.old")
        os.replace(old, aside)
        os.replace(new, old)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(new, old)
