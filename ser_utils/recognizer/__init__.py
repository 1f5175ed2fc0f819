"""A trained system that judges recordings: saved, loaded, exported, and doubted where it has to be."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "export": ["to_onnx"],
        "recognizer": ["EmotionRecognizer", "MEANING", "train"],
        "widgets": ["Microphone", "cursor", "inbox"],
    },
)
