"""Encoders of every family with random weights, small enough for a test."""

import torch

SIZES = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=48,
    conv_dim=(16, 16, 16, 16, 16, 16, 24),
    num_conv_pos_embedding_groups=4,
)


def make_model(family, norm="group", stable=False, sizes=SIZES):
    import transformers

    kinds = {
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
        "hubert": (transformers.HubertConfig, transformers.HubertModel),
        "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
        "data2vec-audio": (transformers.Data2VecAudioConfig, transformers.Data2VecAudioModel),
    }
    config, model = kinds[family]
    sizes = dict(sizes)
    if family == "data2vec-audio":  # always layer norm; five small position convolutions
        sizes |= dict(conv_pos_kernel_size=7, num_conv_pos_embeddings=2)
    else:
        sizes |= dict(num_conv_pos_embeddings=16, feat_extract_norm=norm, do_stable_layer_norm=stable)
    torch.manual_seed(0)
    model = model(config(**sizes)).eval()
    # Fresh norms and biases are all ones and zeros, which would hide a norm that is skipped.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def save_encoder(folder, model, *, do_normalize=True, return_attention_mask=False):
    from transformers import Wav2Vec2FeatureExtractor

    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=do_normalize, return_attention_mask=return_attention_mask).save_pretrained(
        folder
    )
    return folder
