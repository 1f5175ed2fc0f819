"""A trained system kept in a folder, and applied to recordings; `card.MEANING` says what its scores mean."""

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from ser_utils import SerError, audio, encoders, evaluation, features, models, refuse_pointer
from ser_utils.recognizer import familiarity, streaming
from ser_utils.recognizer.card import model_card

#: Of `config.json`; another one is refused.
FORMAT = "ser-recognizer-1"
_CONFIG = {"encoder", "fingerprint", "labels", "layer", "ranges", "scores", "segment_seconds", "temperature", "training", "width"}
_TRAINING = {"corpus", "clips", "speakers", "hours", "epochs"}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a recognizer predicts for one recording."""

    scores: list[dict]  #: `label` and `score`, best first; scores sum to one
    timeline: pd.DataFrame  #: one row per segment: `start` [s], `end` [s], one probability column per emotion
    seconds: float  #: length of the recording
    unusual: list[str]  #: in which properties it lies outside the range of the training recordings

    def decision(self, confidence: float = 0.0) -> str | None:
        """The best label, or None where its score is below `confidence` or the recording is silent."""
        best = self.scores[0]
        return best["label"] if best["score"] >= confidence and not self.silent else None

    @property
    def silent(self) -> bool:
        """Whether the recording holds no sound."""
        return any(reason.startswith("silence") for reason in self.unusual)


class EmotionRecognizer:
    """A frozen encoder and a segment CNN, trained on all speakers of a corpus; from `train` or `from_pretrained`.

    Calling it is like calling a transformers `audio-classification` pipeline.

    Attributes
    ----------
    labels : list of str
        Emotions, in the order of the network's outputs.
    encoder, network : Encoder, torch.nn.Sequential
        Frames of the encoder's layer `config["layer"]`, shape (n, frames, dims) → one logit per emotion.
    config : dict
        Encoder, layer, segment length, ranges of the training corpus, what it was trained on, its scores.

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

    def __call__(self, inputs, *, sampling_rate: int | None = None, top_k: int | None = None):
        """Scores of one recording, or of each of a list of recordings.

        Parameters
        ----------
        inputs : str, Path, ndarray of shape (samples,), row of a clips table, or a list of these
            Files of any rate and length, waveforms, or clips.
        sampling_rate, top_k : int, optional
            Rate of waveforms in Hz, by default 16 kHz; number of labels to keep, by default all.

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
        return self.predict(inputs, sampling_rate=sampling_rate).scores[:top_k]

    def timeline(self, recording, *, hop: float | None = None) -> pd.DataFrame:
        """The timeline of `predict`: per segment `start` [s], `end` [s] and one probability column per emotion."""
        return self.predict(recording, hop=hop).timeline

    def predict(self, recording, *, sampling_rate: int | None = None, hop: float | None = None) -> Prediction:
        """Scores, timeline and unusual properties of one recording, read once and a few seconds at a time.

        `recording` and `sampling_rate` are those of a call, and so are the errors; `hop` is the distance of segments in
        seconds, by default their length, so that none overlap.
        """
        seconds, samples, blocks = streaming.opened(recording, sampling_rate)
        clip = pd.DataFrame({"clip": [""], "duration": [seconds]})
        segments = audio.cut_segments(clip, seconds=self.config["segment_seconds"], hop=hop)
        properties: list[pd.DataFrame] = []
        levels: list[np.ndarray] = []
        waves = streaming.cut(streaming.measured(blocks, properties, levels), segments, samples, self.segment_samples)
        rows = []
        for batch in streaming.batches(waves):
            rows.append(self.probabilities(batch))
            features.give_back_memory()
        probabilities = np.concatenate(rows)
        # A damaged file may hold less than its header promises.
        table = segments.loc[: len(probabilities) - 1, ["start", "end"]]
        table[self.labels] = probabilities
        # Silence is judged for the timeline, but has no say in the scores, as in training.
        sound = pd.DataFrame(audio.active_stretches(np.concatenate(levels)), columns=["start", "end"]).assign(clip="")
        spoken = audio.cut_segments(clip, seconds=self.config["segment_seconds"], hop=hop, active=sound)["start"]
        heard = table["start"].isin(spoken).to_numpy()
        scores = evaluation.pool(probabilities[heard] if heard.any() else probabilities)
        best_first = [{"label": self.labels[k], "score": float(scores[k])} for k in np.argsort(-scores, kind="stable")]
        measured = familiarity.recording_properties(pd.concat(properties)) | {"seconds": seconds}
        return Prediction(best_first, table, seconds, familiarity.unusual_properties(measured, self.config["ranges"]))

    def probabilities(self, waveforms: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, emotions) for segments of shape (n, samples) at 16 kHz."""
        frames = self.encoder.encode(waveforms, [self.config["layer"]])[:, 0]
        logits = models.run(self.network, features.half(frames))  # the precision of features on disk
        return logits.double().softmax(1).numpy()

    @property
    def segment_samples(self) -> int:
        """Length of a segment in samples at 16 kHz."""
        return round(self.config["segment_seconds"] * audio.SAMPLE_RATE)

    def save(self, folder: str | Path) -> Path:
        """Write `config.json`, `model.safetensors` and a model card, ready to be uploaded as they are.

        The encoder is named if everyone can get it (ours, or one of the Hugging Face hub); one from a local folder is
        copied into `encoder/`. An earlier `folder` is replaced when everything is written.
        """
        folder = Path(folder).expanduser()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
            new, old = Path(place) / "new", Path(place) / "old"
            new.mkdir()
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
            (new / "README.md").write_text(model_card(config), encoding="utf-8")
            if folder.exists():
                os.replace(folder, old)
            try:
                os.replace(new, folder)
            except OSError:
                if old.exists():
                    os.replace(old, folder)
                raise
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str | None = None, precision: str = "fp32") -> Self:
        """Load what `save` wrote; `device` and `precision` as for `encoders.load`.

        Raises SerError if the folder holds no recognizer, or its encoder is not the one that it was trained with.
        """
        folder = Path(folder).expanduser()
        for name in ("config.json", "model.safetensors"):
            if not (folder / name).is_file():
                advice = "`ser run` makes one in data/processed/CORPUS/recognizer"
                raise SerError(f"{folder} holds no recognizer ({name} is missing): {advice}")
            refuse_pointer(folder / name)
        reading = "config.json"
        try:
            config = json.loads((folder / reading).read_text(encoding="utf-8"))
            if config["format"] != FORMAT:
                raise SerError(f"{folder} is of format {config['format']!r}, this version reads {FORMAT}")
            usable = config.keys() >= _CONFIG and config["training"].keys() >= _TRAINING and config["segment_seconds"] > 0
            usable &= len(set(config["labels"])) == len(config["labels"]) > 1
            if not usable or not all(low < high for low, high in map(config["ranges"].get, familiarity.PROPERTIES)):
                raise ValueError
            inside = folder / "encoder"
            name = str(inside) if config["encoder"] == "encoder" else config["encoder"]
            encoder = encoders.load(name, device=device, precision=precision)
            if encoder.fingerprint != config["fingerprint"]:
                other = f"{folder} was trained with another version of {config['encoder']}"
                raise SerError(f"{other}: its scores would mean nothing; train it again")
            encoder.check_layers([config["layer"]])
            blank, size = torch.zeros(encoder.dims), len(config["labels"])  # the statistics are in the file
            network = models.segment_network(blank, blank + 1, size, width=config["width"], dropout=0, masking=0)
            reading = "model.safetensors"
            state = load_file(folder / reading)
            network.load_state_dict(state)
            if not all(torch.isfinite(values).all() for values in state.values()):
                raise ValueError
        except SerError:
            raise
        except Exception as error:  # noqa: BLE001 - damaged files raise as many types as there are formats
            raise SerError(
                f"{folder} holds no readable recognizer ({reading} is damaged, incomplete, or of another one): copy it again, "
                "or train it again with `ser run`"
            ) from error
        return cls(encoder, network, config)
