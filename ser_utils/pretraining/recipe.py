"""The architecture of the nano, and how it is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from transformers import Wav2Vec2Config

from ser_utils import SerError

_DROPOUT = (
    "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout", "layerdrop",
)  # fmt: skip


def nano_config(**changes) -> Wav2Vec2Config:
    """Architecture of `wav2vec2-nano`: stride 320, 49 frames per second, about 2.7 million parameters.

    Two convolutions, 25 ms every 10 ms and then pairs of those, in place of wav2vec 2.0's seven: the front end of every
    speech recogniser, but learned. On a CPU the seven are most of the cost, these are a tenth of it. `changes` are
    fields of `Wav2Vec2Config` to set otherwise.
    """
    changed = dict(
        hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        conv_dim=(256, 256), conv_kernel=(400, 2), conv_stride=(160, 2), conv_bias=True,
        # Group norm would remove every channel's mean over the clip, and with it the long-term spectrum.
        feat_extract_norm="layer", feat_extract_activation="relu", hidden_act="relu", do_stable_layer_norm=True,
        num_conv_pos_embeddings=32, num_conv_pos_embedding_groups=16,
        **dict.fromkeys(_DROPOUT, 0.0),  # short runs underfit
        # Masks are ours; but 0 here makes transformers 5 leave `masked_spec_embed` out.
        mask_time_prob=0.05,
        codevector_dim=128, proj_codevector_dim=128, num_codevectors_per_group=64, num_negatives=50,
        diversity_loss_weight=0.5, contrastive_logits_temperature=0.1,
    )  # fmt: skip
    changed |= changes
    changed["num_feat_extract_layers"] = len(changed["conv_dim"])
    return Wav2Vec2Config(**changed)


@dataclass(frozen=True)
class Recipe:
    """How `pretrain` trains; `training.json` holds the recipe used. The defaults are those of the nano's last stage.

    Attributes
    ----------
    step_seconds, crop_seconds : float, tuple of float
        Speech per step [s]; lengths of crops [s], of which every step draws one.
    learning_rate, warmup_steps, decay, weight_decay : float
        Peak of AdamW's learning rate; steps in which it rises linearly; fraction of the run, at its end, in which it
        falls linearly to 0.
    mask_share, mask_frames : float, tuple of int
        Expected fraction of masked frames; lengths of masks, 20 ms each.
    codes : tuple of int
        k-means codes: one number, of spectrum and prosody together; two, of the spectrum and of prosody.
    unmasked_weight, regression_weight, noise, room : float
        Weights in the loss, see `Student`; fractions of crops that are corrupted, see `corrupt`.
    filters : bool
        Start a long first convolution as a mel-spaced filter bank (see `encoders.begin`) instead of random weights.
    teacher, teacher_layer : str or None, int or None
        Folder of an earlier checkpoint whose layer's codes are predicted; by default the middle one.
    start : str or None
        Encoder whose weights to start from: a folder, or wav2vec2-nano.
    checkpoint_seconds, checkpoint_steps, log_steps : float, int or None, int
        Time and steps after which a checkpoint is written; steps that a row of `log.csv` averages.
    model : dict
        Changes to `nano_config`.
    """

    step_seconds: float = 24.0
    crop_seconds: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    learning_rate: float = 1e-3
    warmup_steps: int = 500
    decay: float = 0.25
    weight_decay: float = 0.01
    mask_share: float = 0.5
    mask_frames: tuple[int, ...] = (10, 40)
    codes: tuple[int, ...] = (200, 100)
    unmasked_weight: float = 1.0
    regression_weight: float = 3.0
    noise: float = 0.4
    room: float = 0.15
    filters: bool = True
    teacher: str | None = None
    teacher_layer: int | None = None
    start: str | None = None
    checkpoint_seconds: float = 120.0
    checkpoint_steps: int | None = None
    log_steps: int = 100
    model: dict = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe from JSON: its fields, or the `training.json` of an encoder, which holds them as `recipe`.

        Raises
        ------
        SerError
            If the file cannot be read, or has a field that no recipe has.
        """
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
            given = given.get("recipe", given)
            given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
            return cls(**given)
        except (OSError, ValueError, AttributeError) as error:
            raise SerError(f"{path} is no recipe ({error}): give JSON with fields of pretraining.Recipe.") from error
        except TypeError as error:
            known = ", ".join(f.name for f in fields(cls))
            unknown = ", ".join(sorted(set(given) - {f.name for f in fields(cls)}))
            raise SerError(f"{path} has fields that no recipe has ({unknown}): known are {known}.") from error
