"""A trained system applied to recordings: trained, saved, loaded, exported, with warnings about unusual recordings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "card": ["MEANING"],
        "export": ["to_onnx"],
        "listening": ["quiz", "quiz_page"],
        "recognizer": ["EmotionRecognizer"],
        "training": ["train"],
        "widgets": ["Microphone", "cursor", "inbox"],
    },
)
