"""Self-supervised pre-training of a small encoder on a folder of unlabelled speech."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "objectives": ["corrupt", "mask_frames", "start_filters"],
        "run": ["OBJECTIVES", "Recipe", "code_counts", "nano_config", "pretrain"],
        "speech": ["prepare"],
    },
)
