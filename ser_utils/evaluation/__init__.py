"""From features to predictions, and from predictions to scores with intervals over speakers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "across_corpora": ["check_corpora", "join", "transfer", "transfer_scores", "with_few_speakers"],
        "comparing": ["compare", "in_percent", "in_points", "power", "read_differences"],
        "confidence": [
            "calibrate", "calibration", "coverage_at", "reliability", "risk_coverage", "suspect_labels",
            "temperatures",
        ],  # fmt: skip
        "crossvalidation": ["cross_validate"],
        "fingerprints": ["ALIKE", "fingerprint", "near_copies"],
        "intervals": [
            "METHODS", "bootstrap", "confusions_by_unit", "holm", "interval", "macro_f1",
            "permutation_test", "recall", "uar", "wa", "weighted",
        ],  # fmt: skip
        "leaks": ["audit", "tied_speakers"],
        "perturbations": ["PERTURBATIONS", "Perturbation", "robustness"],
        "listeners": ["answers_as_predictions", "fleiss_kappa", "read_answers", "simulate_listeners"],
        "predictions": [
            "FLOOR", "counts", "decided", "emotions_of", "one_system", "pool", "to_clips", "validate",
        ],  # fmt: skip
        "scoring": ["against_votes", "confusion", "confusion_table", "recalls", "scores", "scores_by"],
        "speaker_folds": ["check_folds", "folds", "need_two_speakers", "split_leaks"],
        "speaker_probe": ["tell_speakers"],
    },
)
