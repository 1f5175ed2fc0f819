"""Features of segments as arrays on disk: frames of an encoder, log-mel bands, eGeMAPS."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cluster": ["VARIABLE", "code_hash", "connect", "named", "one_thread", "run"],
        "extraction": [
            "WHOLE_CLIP_BINS", "crop_from_whole", "extract", "functional_names", "functionals", "log_mel",
            "mel_spectrogram",
        ],  # fmt: skip
        "frame_measures": ["MELS", "MFCCS", "RATE", "STRIDE", "f0_contour", "measure_frames"],
        "pooling": ["half", "normalise_by_speaker", "pooled"],
        "store": ["CODE_VERSION", "content_hashes", "give_back_memory"],
    },
)
