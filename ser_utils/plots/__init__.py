"""Figures: each function draws one and returns it, in the colours and the order that all figures share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparisons": ["differences", "mistakes", "published", "scores"],
        "corpus": [
            "acoustics_by_emotion", "clips_per_speaker", "contrast_map", "durations", "effect_sizes",
            "embedding_scatter", "emotion_counts", "fold_map",
        ],  # fmt: skip
        "curves": [
            "hours_heard", "inner_curve", "labels_curve", "layer_curve", "learning_curves", "length_curve",
            "seconds_heard",
        ],  # fmt: skip
        "errors": ["caterpillar", "confusion_matrix", "confusions", "reliability", "risk_coverage"],
        "explanations": ["agreement", "confusion_plane", "deletion", "what_if"],
        "recordings": [
            "attribution_timeline", "clip_gallery", "clip_panel", "feature_map", "frames_image",
            "log_mel_image", "probability_timeline", "spectrogram", "timeline",
        ],  # fmt: skip
        "style": [
            "EMOTION_COLOURS", "EMOTION_HATCHES", "EMOTION_MARKERS", "INK", "emotion_order", "use_style",
        ],  # fmt: skip
    },
)
