"""Figures: each function draws one and returns it, in the colours and the order that all figures share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparisons": ["differences", "mistakes", "published", "scores", "smallest_p"],
        "corpus": [
            "acoustics_by_emotion", "clips_per_speaker", "contrast_map", "durations", "effect_sizes",
            "embedding_scatter", "emotion_counts", "fold_map",
        ],  # fmt: skip
        "curves": ["inner_curve", "learning_curves", "length_curve", "score_curve"],
        "decisions": [
            "agreement", "caterpillar", "confusion_matrix", "confusion_pairs", "confusions", "deletion", "reliability",
            "risk_coverage", "what_if",
        ],  # fmt: skip
        "recordings": [
            "attribution_timeline", "clip_gallery", "feature_map", "log_mel_image", "probability_timeline",
            "spectrogram", "timeline",
        ],  # fmt: skip
        "style": [
            "CURVE_STYLES", "EMOTION_COLOURS", "EMOTION_HATCHES", "EMOTION_MARKERS", "INK", "SYSTEM_NAMES",
            "display_name", "emotion_order", "system_order", "use_style",
        ],  # fmt: skip
        "transfer": ["robustness", "transfer_matrix"],
    },
)
