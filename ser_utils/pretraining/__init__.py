"""Self-supervised pre-training of a small encoder on a folder of unlabelled speech."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "objectives": ["as_products", "corrupt", "mask_frames"],
        "recipe": ["Recipe", "nano_config"],
        "run": ["OBJECTIVES", "pretrain"],
        "speech": ["HELD_BACK", "hold_back", "prepare"],
    },
)
