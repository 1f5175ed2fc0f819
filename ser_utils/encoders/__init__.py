"""Encoders of the wav2vec 2.0 family: from waveforms to frames, each segment by itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adapting": ["Layers", "normalised_at_end", "save_adapted", "starts_at_zero"],
        "encoder": ["Encoder", "ToLayer", "WEIGHTS", "quiet", "turns"],
        "loading": ["find", "load"],
        "precision": ["AlongWidth", "autocast", "choose"],
        "start": ["begin"],
    },
)
