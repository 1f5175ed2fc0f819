"""Classifiers with scikit-learn's interface: `fit(X, y, groups=...)` and `predict_proba(X)`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augmentation": ["AUGMENTATIONS", "augment"],
        "cnn": ["SegmentCNN", "SpectrogramCNN"],
        "few_labels": ["FewerLabels"],
        "fine_tuning": ["FineTuned", "TUNED"],
        "inner_splits": ["class_codes", "grouped_splits", "hold_out"],
        "networks": [
            "Mask", "Standardise", "WEIGHTS", "count_parameters", "keyword_network", "layer_table",
            "load_keyword_network", "receptive_field", "segment_network",
        ],  # fmt: skip
        "temperature": ["fit_temperature"],
        "training": ["default_epochs", "run", "statistics", "train"],
        "vectors": ["LinearProbe", "SVM"],
    },
)
