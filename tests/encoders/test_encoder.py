"""Encoders: every family, chosen layers, batches, and what is said when there is nothing to load."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from small_encoders import make_model, save_encoder

from ser_utils import SerError, encoders


def lowest_cosine(a, b):
    return ((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).min()


def noise(batch, samples, seed=0):
    loudness = np.arange(1, batch + 1)[:, None] * 0.02
    return (np.random.default_rng(seed).normal(0.01, 1, (batch, samples)) * loudness).astype(np.float32)


FRONT_ENDS = [
    ("wav2vec2", "group", False),
    ("wav2vec2", "layer", True),  # XLSR
    ("hubert", "group", False),
    ("hubert", "layer", True),
    ("wavlm", "group", False),
    ("wavlm", "layer", True),
    ("data2vec-audio", "layer", False),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("tiny"), make_model("wav2vec2"))


@pytest.fixture(scope="module")
def tiny(folder):
    return encoders.load(folder, device="cpu", precision="fp32")


@pytest.mark.parametrize("family, norm, stable", FRONT_ENDS)
def test_layers_are_those_of_transformers_for_every_family(tmp_path, family, norm, stable):
    from transformers import AutoFeatureExtractor

    model = make_model(family, norm, stable)
    mask = norm == "layer"
    encoder = encoders.load(
        save_encoder(tmp_path, model, do_normalize=mask, return_attention_mask=mask), device="cpu", precision="fp32"
    )
    waves = noise(3, 4000)
    inputs = AutoFeatureExtractor.from_pretrained(tmp_path)(list(waves), sampling_rate=16_000, return_tensors="pt")
    assert ("attention_mask" in inputs) == mask
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    frames = encoder.encode(waves, layers=range(encoder.n_layers + 1))
    assert frames.shape == (3, 4, encoder.frames(4000), 32) and frames.dtype == np.float32
    for k, state in enumerate(states):
        np.testing.assert_allclose(frames[:, k], state.numpy(), atol=1e-5)
    # A layer asked for alone, or out of order, is the same layer.
    np.testing.assert_allclose(encoder.encode(waves, layers=(2, 0)), frames[:, [2, 0]], atol=1e-6)


@pytest.mark.parametrize("family, norm, stable", FRONT_ENDS)
def test_a_batch_gives_the_frames_of_its_members(tmp_path, family, norm, stable):
    encoder = encoders.load(save_encoder(tmp_path, make_model(family, norm, stable)), device="cpu", precision="fp32")
    waves = noise(5, 5000)
    together = encoder.encode(waves, layers=(0, 2))
    for wave, frames in zip(waves, together, strict=True):
        np.testing.assert_allclose(encoder.encode(wave[None], layers=(0, 2))[0], frames, atol=1e-5)


def test_layers_above_the_last_wanted_one_are_never_run(folder):
    encoder = encoders.load(folder, device="cpu", precision="fp32")
    run = []
    for k, layer in enumerate(encoder._model.encoder.layers, start=1):
        layer.register_forward_pre_hook(lambda *_, k=k: run.append(k))
    encoder.encode(noise(1, 1000), layers=(0, 1))
    assert run == [1]


def test_long_batches_go_through_in_pieces_with_the_same_result(folder):
    encoder = encoders.load(folder, device="cpu", precision="fp32")
    waves = noise(7, 2000)
    whole = encoder.encode(waves)
    encoder.batch_seconds = 0.25  # two waveforms
    np.testing.assert_allclose(encoder.encode(waves), whole, atol=1e-5)


@pytest.mark.parametrize(("waveforms", "pieces"), [(2, [2]), (10, [10]), (13, [7, 6]), (16, [8, 8]), (0, [])])
def test_pieces_of_a_batch_are_about_equal(folder, monkeypatch, waveforms, pieces):
    encoder, seen = encoders.load(folder, device="cpu", precision="fp32"), []
    encoder.batch_seconds = 1.0  # eight waveforms
    states = encoder._states
    monkeypatch.setattr(encoder, "_states", lambda waves, layers: seen.append(len(waves)) or states(waves, layers))
    assert len(encoder.encode(noise(waveforms, 2000))) == waveforms
    assert seen == pieces


def test_threads_encode_side_by_side_without_mixing_their_layers(tiny):
    waves = noise(2, 3000)
    expected = {k: tiny.encode(waves, layers=(k,)) for k in range(4)}

    def work(k):
        return all(np.allclose(tiny.encode(waves, layers=(k,)), expected[k], atol=1e-5) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4


@pytest.mark.parametrize("samples", [400, 719, 720, 4000, 16_000])
def test_frames_counts_what_encode_gives(tiny, samples):
    assert tiny.encode(noise(1, samples)).shape[2] == tiny.frames(samples)


def test_the_receptive_field_is_the_shortest_input(tiny):
    assert (tiny.min_samples, tiny.stride) == (400, 320)
    assert tiny.frames(399) == 0 and tiny.frames(400) == 1 and tiny.frames(16_000) == 49
    with pytest.raises(SerError, match=r"399 samples .* needs 400"):
        tiny.encode(noise(1, 399))


def test_a_single_waveform_without_batch_axis_is_refused(tiny):
    with pytest.raises(SerError, match=r"\(batch, samples\)"):
        tiny.encode(noise(1, 1000)[0])


@pytest.mark.parametrize("layers", [(4,), (-1,), ()])
def test_layers_that_do_not_exist_are_refused(tiny, layers):
    with pytest.raises(SerError, match="has layers 0 to 3"):
        tiny.encode(noise(1, 1000), layers=layers)


def test_silence_stays_finite(tiny):
    assert np.isfinite(tiny.encode(np.zeros((1, 2000), np.float32), layers=(0, 3))).all()


def test_the_recommended_layer_is_read_beside_the_weights_else_the_middle(tmp_path, tiny):
    assert tiny.recommended_layer == 2 and tiny.check_layers(None) == (2,)
    save_encoder(tmp_path, make_model("wav2vec2"))
    (tmp_path / "training.json").write_text(json.dumps({"layer": 3}))
    assert encoders.load(tmp_path, device="cpu").recommended_layer == 3


def test_the_fingerprint_follows_weights_and_preprocessing_but_not_the_name(tmp_path, tiny):
    model = make_model("wav2vec2")
    same = encoders.load(save_encoder(tmp_path / "same", model), device="cpu")
    other_input = encoders.load(save_encoder(tmp_path / "raw", model, do_normalize=False), device="cpu")
    with torch.no_grad():
        model.encoder.layers[1].final_layer_norm.bias[0] += 1e-3
    other_weights = encoders.load(save_encoder(tmp_path / "moved", model), device="cpu")
    assert same.fingerprint == tiny.fingerprint
    assert len({tiny.fingerprint, other_input.fingerprint, other_weights.fingerprint}) == 3


def test_half_precision_weights_are_computed_in_single_precision(tmp_path):
    encoder = encoders.load(save_encoder(tmp_path, make_model("wav2vec2").half()), device="cpu", precision="fp32")
    assert {parameter.dtype for parameter in encoder._model.parameters()} == {torch.float32}


def test_bf16_stays_close_to_fp32(folder, tiny):
    waves = noise(2, 8000)
    half = encoders.load(folder, device="cpu", precision="bf16").encode(waves)
    single = tiny.encode(waves)
    assert lowest_cosine(half, single) > 0.999 and not np.array_equal(half, single)


@pytest.mark.parametrize("family, norm, stable", FRONT_ENDS)
def test_bf16_is_what_autocast_would_compute_although_weights_are_cast_once(tmp_path, family, norm, stable):
    model = make_model(family, norm, stable)
    encoder = encoders.load(save_encoder(tmp_path, model, do_normalize=False), device="cpu", precision="bf16")
    products = [m for m in encoder._model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv1d, encoders.AlongWidth))]
    assert products and {module.weight.dtype for module in products} == {torch.bfloat16}
    waves = noise(2, 6000)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = model(torch.from_numpy(waves), output_hidden_states=True).hidden_states[2].float().numpy()
    frames = encoder.encode(waves, layers=(2,))[:, 0]
    assert frames.dtype == np.float32 and lowest_cosine(frames, expected) > 0.9995


def test_convolutions_for_a_few_waveforms_at_a_time_give_the_same_frames(tiny, monkeypatch):
    waves, seen = noise(7, 8000), []
    whole = tiny.encode(waves)
    pieces = tiny._model.feature_extractor
    bytes_each = 8000 * pieces.values_per_sample * 4
    monkeypatch.setattr("ser_utils.encoders.precision._PIECE_BYTES", 3.5 * bytes_each)
    hook = pieces.convolutions.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    np.testing.assert_allclose(tiny.encode(waves), whole, atol=1e-5)
    hook.remove()
    assert seen == [4, 3]


def test_auto_precision_takes_bf16_only_from_a_processor_that_has_it(tiny):
    flags = torch.cpu.get_capabilities()
    has_it = flags.get("amx_bf16", False) or flags.get("avx512_bf16", False)
    assert encoders.choose("auto", torch.device("cpu")) == ("bf16" if has_it else "fp32")
    with pytest.raises(SerError, match="auto, fp32, bf16"):
        encoders.choose("fp8", torch.device("cpu"))


def test_a_random_twin_is_the_same_network_with_the_same_random_weights_each_time(folder, tiny):
    torch.manual_seed(123)
    state = torch.get_rng_state()
    first = encoders.load(f"{folder}-random", device="cpu")
    second = encoders.load(f"{folder}-random-0", device="cpu")
    third = encoders.load(f"{folder}-random-1", device="cpu")
    assert torch.equal(state, torch.get_rng_state()), "the caller's random state moved"
    assert first.fingerprint == second.fingerprint
    assert len({first.fingerprint, third.fingerprint, tiny.fingerprint}) == 3
    assert (first.dims, first.n_layers, first.recommended_layer) == (tiny.dims, tiny.n_layers, 2)
    assert first.name.endswith("-random")
    assert pickle.loads(pickle.dumps(third)).fingerprint == third.fingerprint


def test_the_start_of_the_nano_is_a_filter_bank_before_random_layers():
    start, nano, noise_first = (
        encoders.load(f"wav2vec2-nano{end}", device="cpu", precision="fp32") for end in ("-start", "", "-random")
    )
    assert len({start.fingerprint, nano.fingerprint, noise_first.fingerprint}) == 3
    first, trained, other = (e._model.state_dict() for e in (start, nano, noise_first))
    changed = [k for k in first if not torch.equal(first[k], other[k])]
    assert changed == [k for k in first if ".conv_layers.0.conv." in k or ".conv_layers.0.convolutions" in k]
    # Training moved the filters, but most are still those they began as.
    filters, moved = (w[changed[0]].flatten(1) for w in (first, trained))
    cosine = torch.nn.functional.cosine_similarity(filters, moved)
    assert cosine.median() > 0.8


def test_an_encoder_whose_beginning_is_not_known_has_no_start(folder):
    with pytest.raises(SerError, match="no training.json of `ser pretrain`"):
        encoders.load(f"{folder}-start")


def test_old_names_of_weight_normalised_kernels_load_equal(folder, tiny, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    old = tmp_path / "old"
    shutil.copytree(folder, old)
    weights = load_file(old / "model.safetensors")
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for key, value in weights.items():
        for new, former in names.items():
            key = key.replace(new, former)
        renamed[key] = value
    assert sum(key.endswith(("weight_g", "weight_v")) for key in renamed) == 2
    save_file(renamed, old / "model.safetensors", metadata={"format": "pt"})
    again = encoders.load(old, device="cpu", precision="fp32")
    assert again.fingerprint == tiny.fingerprint
    assert np.array_equal(again.encode(noise(2, 8000)), tiny.encode(noise(2, 8000)))


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """A hub at a closed port of this machine, and an empty hub cache."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_a_hub_id_without_a_network_says_in_one_line_how_to_get_it(no_network):
    with pytest.raises(SerError) as caught:
        encoders.load("facebook/wav2vec2-base")
    message = str(caught.value)
    assert "hf download facebook/wav2vec2-base --local-dir wav2vec2-base" in message and "\n" not in message


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not a JSON object"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "of type bert"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cut off"), "cannot be loaded"),
    ],
)
def test_a_folder_that_is_no_encoder_gets_one_line(folder, tmp_path, break_it, message):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    break_it(broken)
    with pytest.raises(SerError, match=message) as caught:
        encoders.load(broken, device="cpu")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["", "."])
def test_an_empty_name_does_not_lead_into_the_folder_of_shipped_weights(name):
    with pytest.raises(SerError, match="holds no config.json") as caught:
        encoders.load(name)
    assert "weights" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused_in_one_line(folder, device):
    with pytest.raises(SerError, match=f"there is no device '{device}' on this machine") as caught:
        encoders.load(folder, device=device)
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_part_are_refused_not_filled_with_noise(folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    del weights["encoder.layers.2.attention.k_proj.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SerError, match=r"1 arrays are missing .*k_proj"):
        encoders.load(broken, device="cpu")


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such/folder", "a/b/c", "with space"])
def test_an_unknown_folder_gets_one_line(name):
    with pytest.raises(SerError, match="there is no folder"):
        encoders.load(name)


def test_the_card_of_the_nano_says_what_the_files_beside_it_say():
    folder = encoders.find("wav2vec2-nano")
    card, facts = (folder / "README.md").read_text(encoding="utf-8"), json.loads((folder / "training.json").read_text())
    first, last = facts["stages"]
    for said in (
        f"{first['steps']} updates of {first['recipe']['batch']} crops of {first['recipe']['crop_seconds']:g} s",
        f"{last['steps']} updates of {last['recipe']['step_seconds']:g} s",
        *(f"{stage['hours_heard']:.1f} hours heard" for stage in (first, last, facts)),
        *(f"{stage['core_hours']:.2f} core-hours" for stage in (first, last, facts)),
        *(f"{stage['speech_hours']:.1f} hours of speech" for stage in (first, last)),
        f"{facts['parameters'] / 1e6:.1f} M parameters",
        f"`layer` in `training.json` is {facts['layer']}",
    ):
        assert said in card, said
    import probe_by_hours

    log = pd.read_csv(folder / "log.csv")
    assert [len(rows) for _, rows in log.groupby("stage")] == [345, 86] and log.hours.is_monotonic_increasing
    assert log.hours.iloc[-1] == pytest.approx(facts["hours_heard"], abs=0.02)
    assert probe_by_hours.card_table() in card, "run tools/probe_by_hours.py again"


@pytest.mark.slow  # two minutes: three quarters of an hour of speech, encoded three times
@pytest.mark.real
def test_fewer_bits_keep_the_scores_of_a_probe(shared_data, tmp_path):
    from ser_utils import audio, corpora, evaluation, features, models

    clips = corpora.load("nemo", shared_data / "nemo").iloc[::4].reset_index(drop=True)
    whole, folds = audio.cut_segments(clips, seconds=None), evaluation.folds(clips)

    def judged(precision):
        encoder = encoders.load("wav2vec2-nano", device="cpu", precision=precision)
        X = features.pooled(features.extract(clips, whole, encoder, bins=32, cache=tmp_path, progress=False))
        X = features.normalise_by_speaker(X, clips["speaker"])
        return evaluation.cross_validate(models.SVM(), X, whole, clips, folds=folds, system=precision, progress=False)

    exact = judged("fp32")
    for precision in ("bf16",):
        table = judged(precision)
        emotions = sorted(clips["emotion"].unique())
        assert not np.array_equal(table[emotions], exact[emotions])
        assert abs(evaluation.compare(table, exact, resamples=200)["difference"]) < 0.015


def test_an_encoder_computes_in_fp32_unless_another_precision_is_asked_for(folder):
    assert encoders.load(folder, device="cpu").precision == "fp32"
    frames = encoders.load(folder, device="cpu").encode(noise(2, 8000))
    assert np.array_equal(frames, encoders.load(folder, device="cpu", precision="fp32").encode(noise(2, 8000)))


@pytest.mark.parametrize("device, at_once", [("cpu", True), ("cuda", False)])
def test_threads_share_a_cpu_and_take_turns_on_a_gpu(tiny, device, at_once):
    """The plan for a GPU's memory is that of one batch; no GPU is needed to see the threads wait for each other."""
    import threading
    from types import SimpleNamespace

    inside, most, lock = [], [], threading.Lock()

    class Model(torch.nn.Module):
        config, encoder = tiny._model.config, SimpleNamespace(layers=torch.nn.ModuleList([torch.nn.Identity()]))

        def forward(self, inputs):
            with lock:
                inside.append(1)
                most.append(len(inside))
            threading.Event().wait(0.05)
            with lock:
                inside.pop()

    options = dict(fingerprint="", recommended_layer=0, precision="fp32")
    encoder = encoders.Encoder("x", Model(), tiny._extractor, device=torch.device("cpu"), **options)
    if device == "cuda":
        encoder._turn = encoders.turns(torch.device("cuda"))
    threads = [threading.Thread(target=encoder._states, args=(noise(1, 8000), ())) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (max(most) > 1) == at_once
