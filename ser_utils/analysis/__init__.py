"""What one or two notebooks need beside the scores: recordings, acoustics, feature space, errors, attribution."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "acoustics": [
            "ACOUSTICS", "EXPECTED", "centre_by_speaker", "compare_with_expected", "contrasts",
            "effect_sizes", "measures_of",
        ],  # fmt: skip
        "attribution": ["deletion_curves", "integrated_gradients", "occlusion"],
        "errors": [
            "VALENCE_AROUSAL", "confusion_pairs", "correct", "group_uar", "judge", "mantel", "mean_over_speakers",
            "overlap", "perturbed", "second_labels", "shrunken", "vote",
        ],  # fmt: skip
        "mistakes": [
            "WRONG_SLICE", "accuracy_over_uar", "best_per_fold", "narrowband", "published_results",
            "random_clip_folds", "random_segment_folds", "shuffled_texts", "wrong_slice_folds",
        ],  # fmt: skip
        "recordings": [
            "SHORTCUTS", "SHORTCUTS_AT_16_KHZ", "audit_files", "file_properties", "shortcut_test",
            "waveform_properties",
        ],  # fmt: skip
        "space": ["flat_map", "neighbours", "variance_explained"],
    },
)
