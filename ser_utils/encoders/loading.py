"""Find an encoder by its name: one of the repository, a local folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ser_utils import SerError
from ser_utils.encoders.encoder import WEIGHTS, Encoder, _fingerprint, _line, _settings, quiet
from ser_utils.encoders.precision import choose, prepare
from ser_utils.encoders.start import begin, beginning, split_control

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PretrainedConfig, PreTrainedModel

# May be missing from weights: the vector that replaces masked frames in pre-training is not used here.
_UNUSED = {"masked_spec_embed"}


def load(name: str, *, device: str | None = None, precision: str = "fp32") -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    name : str
        "wav2vec2-nano", which comes with the repository; a folder written by `save_pretrained` (weights and
        `preprocessor_config.json`); or a model id of the Hugging Face hub, such as "facebook/wav2vec2-base". With
        "-start" at its end: the same network as it was before its first update, for encoders made by `ser pretrain`.
        With "-random", "-random-1", …: the same network with random weights of seed 0, 1, ….
    device : str, optional
        "cpu", "cuda", …; a GPU where there is one by default.
    precision : str
        See `choose`. Another precision changes scores by up to a point.

    Raises
    ------
    SerError
        If there is no such folder or device, it does not hold an encoder of a known family, or the hub cannot be reached.
    """
    name = str(name)
    folder, config, extractor, model = plain(name)
    model.eval().requires_grad_(False)
    fingerprint = _fingerprint(model, extractor)
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError):
        raise SerError(f"there is no device {device!r} on this machine: leave it out, or give 'cpu'.") from None
    computed_in = choose(precision, place)
    prepare(model, computed_in, place)
    model.to(place)  # type: ignore[arg-type]  # transformers wraps `to` so that its types are lost
    layer = _recommended_layer(folder, config.num_hidden_layers)
    settings = {"fingerprint": fingerprint, "recommended_layer": layer, "device": place, "precision": computed_in}
    return Encoder(name, model, extractor, **settings)


def plain(name: str) -> tuple[Path, PretrainedConfig, FeatureExtractionMixin, PreTrainedModel]:
    """Return the folder of an encoder, its settings, and its model as transformers makes it; raises SerError as `load`."""
    from transformers import AutoModel

    bare, seed, started = split_control(name)
    folder = find(bare, weights=seed is None and not started)
    with quiet():
        config, extractor = _settings(folder, name)
        if started:
            model = begin(config, **beginning(folder, name))
        elif seed is not None:
            model = begin(config, seed=seed, filters=False)
        else:
            try:
                # float32 whatever the file holds: half precision is for storage (the nano's weights are float16).
                model, found = AutoModel.from_pretrained(
                    folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
                )
            except Exception as error:  # noqa: BLE001 - damaged files raise as many types as there are formats
                held = any(any(folder.glob(names)) for names in ("*.safetensors", "*.bin"))
                cause = "their file is damaged, cut short, or does not fit config.json" if held else "there are none"
                raise SerError(f"the weights in {folder} cannot be loaded: {cause}; download or save the model again.") from error
            missing = sorted(set(found["missing_keys"]) - _UNUSED)
            if missing or found["mismatched_keys"]:
                missing = missing or [str(key) for key, *_ in found["mismatched_keys"]]
                lacking = f"{len(missing)} arrays are missing or of another shape, {missing[0]} among them"
                advice = "download or save the model again"
                raise SerError(f"the weights in {folder} do not fit its config.json: {lacking}; {advice}.")
    return folder, config, extractor, model


def find(name: str, *, weights: bool = True) -> Path:
    """Return the folder that holds an encoder, from the hub if need be.

    Parameters
    ----------
    name : str
        Of a shipped encoder, a local folder, or a Hugging Face id.
    weights : bool
        False: its settings are enough.

    Raises
    ------
    SerError
        If there is no such folder, and no such model that can be had from the hub.
    """
    shipped, folder = WEIGHTS / name, Path(name).expanduser()
    if "/" not in name and (shipped / "config.json").is_file():
        return shipped
    if folder.is_dir():
        return folder
    if name == "wav2vec2-nano":
        raise SerError(f"{name} is missing from this checkout ({shipped}): restore that folder with git.")
    # owner/model, or one of the few old ids without an owner
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise SerError(f"there is no folder {name}: give wav2vec2-nano, a folder with an encoder, or a hub id.")
    return _from_hub(name, weights=weights)


def _from_hub(name: str, *, weights: bool) -> Path:
    """Return the snapshot of a hub model, from the local cache if it is whole there."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        folder = Path(snapshot_download(name, local_files_only=True))
        held = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
        if (folder / "preprocessor_config.json").is_file() and (held or not weights):
            return folder
    try:
        # Asked first since it fails at once without a network, where a download retries for most of a minute.
        files = [file.rfilename for file in HfApi().model_info(name, timeout=10).siblings or ()]
        if not weights:
            wanted = []
        elif any(file.endswith(".safetensors") for file in files):
            wanted = ["*.safetensors", "*.safetensors.index.json"]
        else:
            wanted = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
        return Path(snapshot_download(name, allow_patterns=["*config.json", "training.json", *wanted]))
    except RepositoryNotFoundError as error:
        raise SerError(f"there is no folder {name} here, and no public model of that id on the hub.") from error
    except Exception as error:  # noqa: BLE001 - whatever the network, a proxy or a full disk says
        raise SerError(
            f"{name} is not on this machine and the hub cannot be reached ({_line(error, 80)}): on a connected machine "
            f"run `hf download {name} --local-dir {name.split('/')[-1]}`, copy that folder here, and give its path."
        ) from error


def _recommended_layer(folder: Path, n_layers: int) -> int:
    try:
        layer = int(json.loads((folder / "training.json").read_text(encoding="utf-8"))["layer"])
    except (OSError, ValueError, KeyError, TypeError):
        # Published encoders hold most of emotion near their middle (Pepino et al. 2021; Pasad et al. 2021).
        return (n_layers + 1) // 2
    return min(max(layer, 0), n_layers)
