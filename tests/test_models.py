"""Embedders, predictors and the target model: shapes, starting weights, determinism."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bench.backbones import BACKBONES
from bench.errors import UsageError
from bench.models import embedders, predictors
from bench.models.embedders import patch_length
from bench.models.source import load_source_model
from bench.models.target import build_target, randomise
from bench.settings import ModelSettings
from tests.tiny_models import SMALL, source, target

# Shapes


@pytest.mark.parametrize("kind", ["classes", "multilabel"])
@pytest.mark.parametrize(("name", "shape"), [("minilm", (3, 40)), ("swin_micro", (5, 28, 24))])
def test_classes_and_labels_come_out_as_one_logit_per_class(name, shape, kind):
    model = build_target(source(name), kind, shape, (7,), ModelSettings(), 0)
    assert model(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("head", ["linear", "pooled"])
@pytest.mark.parametrize(
    ("length", "most", "out"), [(64, 16, 64), (61, 16, 61), (64, 16, 100), (1042, 512, 1042), (13, 512, 13)]
)
def test_dense_1d_output_has_the_targets_length(length, most, out, head):
    options = ModelSettings(dense_head=head, target_seq_len=most)
    model = build_target(source("minilm"), "dense", (2, length), (3, out), options, 0)
    assert model(torch.randn(2, 2, length)).shape == (2, 3, out)


@pytest.mark.parametrize("head", ["linear", "pooled"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(32, 32), (21, 17), (85, 64)])
def test_dense_2d_output_has_the_targets_size(size, channels, head):
    model = build_target(
        source("swin_micro"), "dense", (2, *size), (channels, *size), ModelSettings(dense_head=head), 0
    )
    assert model(torch.randn(2, 2, *size)).shape == (2, channels, *size)


def test_the_published_dense_2d_head_has_the_published_size():
    head = predictors.Dense2D(1024, grid=7, stride=32, output_shape=(1, 85, 85), head="pooled")
    assert head.linear.weight.shape == (3072, 1024)


def test_four_planes_of_the_pooled_head_have_rank_three_and_of_the_linear_head_four():
    features = torch.randn(64, 4, 16, generator=torch.Generator().manual_seed(0))
    for head, rank in (("pooled", 3), ("linear", 4)):
        model = predictors.Dense2D(16, grid=2, stride=4, output_shape=(4, 8, 8), head=head)
        predictors.initialise(model, torch.Generator().manual_seed(1))
        planes = model(features).detach().transpose(0, 1).flatten(1)
        assert torch.linalg.matrix_rank(planes, rtol=1e-4) == rank


def test_the_pooled_dense_1d_head_learns_nothing_and_is_constant_for_one_value_per_layernormed_token():
    head = predictors.Dense1D(16, tokens=8, patch=1, output_shape=(1, 8), head="pooled")
    assert not list(head.parameters())
    assert head(F.layer_norm(torch.randn(2, 8, 16), (16,))).abs().max() < 1e-6


def test_the_linear_dense_1d_head_lays_the_patches_of_a_token_side_by_side():
    head = predictors.Dense1D(6, tokens=3, patch=2, output_shape=(3, 6), head="linear")
    nn.init.eye_(head.linear.weight)
    nn.init.zeros_(head.linear.bias)
    signal = torch.arange(18.0).reshape(1, 3, 6)
    tokens = signal.unflatten(-1, (3, 2)).transpose(1, 2).flatten(2)
    assert torch.equal(head(tokens), signal)


@pytest.mark.parametrize(("size_in", "size_out"), [(224, 85), (16, 16), (7, 20), (3, 4), (768, 24), (10, 3)])
def test_the_pooling_matrix_equals_adaptive_average_pooling(size_in, size_out):
    x = torch.randn(2, 3, size_in)
    expected = F.adaptive_avg_pool1d(x, size_out)
    torch.testing.assert_close(x @ predictors.pooling_matrix(size_in, size_out).T, expected)


# The divisor rule


@pytest.mark.parametrize(
    ("length", "most", "patch"),
    [
        (1024, 256, 4),
        (3072, 128, 24),
        (1024, 32, 32),
        (46, 64, 1),
        (1000, 512, 2),
        (1000, 64, 20),
        (120, 32, 4),
        (61, 16, 4),
    ],
)
def test_patch_lengths_are_the_published_ones_and_those_of_the_rule(length, most, patch):
    assert patch_length(length, most) == patch


@given(length=st.integers(1, 5000), most=st.integers(1, 600))
def test_patches_are_the_smallest_divisor_or_else_pad_and_never_collapse(length, most):
    patch, shortest = patch_length(length, most), -(-length // most)
    tokens, possible = -(-length // patch), -(-length // shortest)
    divisor = next(p for p in range(1, length + 1) if length % p == 0 and length / p <= most)
    assert possible / 2 <= tokens <= possible <= most
    assert patch == (divisor if divisor <= 2 * shortest else shortest)


@settings(max_examples=20)
@given(length=st.integers(1, 300), most=st.integers(1, 64))
def test_every_length_is_embedded_and_padding_is_zeros_at_the_end(length, most):
    embedder = embedders.Embedder1D(2, length, 8, most)
    x = torch.randn(3, 2, length)
    tokens = embedder(x)
    assert tokens.shape == (3, embedder.tokens, 8)
    padded = embedders.Embedder1D(2, embedder.tokens * embedder.patch, 8, most)
    if padded.patch == embedder.patch:
        padded.load_state_dict(embedder.state_dict())
        torch.testing.assert_close(padded(F.pad(x, (0, embedder.padding))), tokens)


def test_a_prime_length_is_padded_not_collapsed():
    embedder = embedders.Embedder1D(1, 1021, 8, 512)
    assert (embedder.patch, embedder.tokens, embedder.padding) == (2, 511, 1)


def test_no_more_tokens_than_the_backbone_has_positions():
    model = build_target(source("minilm"), "classes", (1, 2048), (2,), ModelSettings(target_seq_len=2048), 0)
    assert model.embedder.tokens == 512


# Starting weights


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_source_start_tiles_the_patch_kernel_and_scales_it_by_three_over_c(channels):
    body = source("swin_micro")
    model = build_target(body, "classes", (channels, 32, 32), (2,), ModelSettings(), 0)
    kernel = body.embedder.proj.weight
    for c in range(channels):
        torch.testing.assert_close(model.embedder.proj.weight[:, c], kernel[:, c % 3] * 3 / channels)
    assert torch.equal(model.embedder.proj.bias, body.embedder.proj.bias)
    assert torch.equal(model.embedder.norm.weight, body.embedder.norm.weight)


@pytest.mark.parametrize("channels", [3, 6, 12])
def test_source_start_keeps_the_activations_of_the_source_on_repeated_channels(channels):
    body = source("swin_micro")
    model = build_target(body, "classes", (channels, 32, 32), (2,), ModelSettings(), 0)
    image = torch.randn(2, 3, 32, 32)
    expected = body.embedder(image)
    torch.testing.assert_close(model.embedder(image.repeat(1, channels // 3, 1, 1)), expected, rtol=1e-4, atol=1e-4)


def test_source_start_of_a_1d_embedder_takes_layernorm_and_positions():
    body = source("minilm")
    model = build_target(body, "classes", (2, 40), (2,), ModelSettings(), 0)
    assert torch.equal(model.embedder.norm.weight, body.embedder.norm.weight)
    assert torch.equal(model.embedder.positions, body.embedder.embeddings.position_embeddings.weight[:40])
    bound = (6 / (2 + 384)) ** 0.5
    assert 0.95 * bound < model.embedder.proj.weight.abs().max() <= bound


@pytest.mark.parametrize("channels", [1, 4, 57])
def test_the_published_start_tiles_the_kernel_unscaled_as_public_code_repeats_and_cuts_it(channels):
    body = source("swin_micro")
    model = build_target(body, "classes", (channels, 32, 32), (2,), ModelSettings(embedder_init="published"), 0)
    repeated = torch.cat([body.embedder.proj.weight] * (channels // 3 + 1), 1)[:, :channels]
    assert torch.equal(model.embedder.proj.weight, repeated)
    assert torch.equal(model.embedder.proj.bias, body.embedder.proj.bias)
    assert torch.equal(model.embedder.norm.weight, body.embedder.norm.weight)


@pytest.mark.parametrize("how", ["published", "published_untrained"])
def test_the_published_start_of_a_1d_embedder_is_xavier_over_the_fans_of_a_convolution(how):
    body = source("minilm")
    model = build_target(body, "classes", (2, 400), (2,), ModelSettings(embedder_init=how, target_seq_len=40), 0)
    convolution = torch.nn.Conv1d(2, 384, kernel_size=10, stride=10)
    torch.nn.init.xavier_uniform_(convolution.weight, gain=2**0.5)
    assert model.embedder.proj.weight.std().item() == pytest.approx(convolution.weight.std().item(), rel=0.05)
    assert torch.equal(model.embedder.positions, body.embedder.embeddings.position_embeddings.weight[:40])
    assert torch.equal(model.embedder.norm.weight, body.embedder.norm.weight) == (how == "published")


def test_without_a_stage_1_published_code_starts_the_2d_embedder_from_a_normal_of_two_hundredths():
    model, _ = target("swin_micro", embedder_init="published_untrained")
    weight = model.embedder.proj.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05) and weight.abs().max() > 0.04
    assert torch.equal(model.embedder.norm.weight, torch.ones_like(model.embedder.norm.weight))


@pytest.mark.parametrize("name", SMALL)
def test_random_start_is_a_truncated_normal_of_two_hundredths(name):
    model, _ = target(name, embedder_init="random")
    weight = model.embedder.proj.weight
    assert weight.abs().max() <= 0.04
    assert weight.std().item() == pytest.approx(0.0176, rel=0.1)  # the closed form for truncation at two sigma
    assert torch.equal(model.embedder.norm.weight, torch.ones_like(model.embedder.norm.weight))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", ["classes", "dense"])
@pytest.mark.parametrize("init", ["source", "random"])
def test_the_seed_decides_the_weights_and_the_global_random_state_is_left_alone(name, kind, init):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, _ = target(name, kind, seed=7, embedder_init=init)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(5)
    same, other = target(name, kind, seed=7, embedder_init=init)[0], target(name, kind, seed=8, embedder_init=init)[0]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters()))
    assert not torch.equal(first.predictor.linear.weight, other.predictor.linear.weight)


@pytest.mark.parametrize("name", SMALL)
def test_the_encoder_is_a_trainable_copy_and_the_source_stays_frozen_and_untouched(name):
    model, x = target(name)
    before = [p.clone() for p in source(name).parameters()]
    assert all(p.requires_grad for p in model.parameters())
    assert not any(p.requires_grad for p in source(name).parameters())
    optimiser = torch.optim.SGD(model.parameters(), 1.0)
    model(x).square().mean().backward()
    optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(before, source(name).parameters()))
    assert any(not torch.equal(a, b) for a, b in zip(model.encoder.parameters(), source(name).encoder.parameters()))


@pytest.mark.parametrize("name", SMALL)
def test_randomise_draws_as_the_library_does(name):
    model, _ = target(name)
    randomise(model.encoder, 0)
    library = load_source_model(BACKBONES[name], random_weights=True, seed=9).encoder
    for (key, ours), (_, theirs) in zip(model.encoder.named_parameters(), library.named_parameters()):
        assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=4e-3), key
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.2, abs=1e-7), key


def test_randomise_repeats_by_seed():
    first, second = target("swin_micro")[0].encoder, target("swin_micro", seed=5)[0].encoder
    randomise(first, 3)
    randomise(second, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    randomise(second, 4)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))


@pytest.mark.parametrize(
    ("name", "kind", "shape", "out", "message"),
    [
        ("minilm", "classes", (1, 8, 8), (2,), "use a vision backbone"),
        ("swin_micro", "classes", (1, 8), (2,), "use a text backbone"),
        ("minilm", "dense", (1, 8), (2,), r"dense with \(K, L\)"),
        ("swin_micro", "regression", (1, 8, 8), (2,), "expected classes or multilabel"),
    ],
)
def test_shapes_that_do_not_fit_the_backbone_end_with_what_would(name, kind, shape, out, message):
    with pytest.raises(UsageError, match=message):
        build_target(source(name), kind, shape, out, ModelSettings(), 0)


def test_images_are_resized_with_antialiasing():
    stripes = torch.from_numpy(np.indices((128, 128)).sum(0) % 2).float()[None, None]
    embedder = embedders.Embedder2D(1, 8, 32, 4)
    constant = torch.full_like(stripes, 0.5)
    torch.testing.assert_close(embedder(stripes)[:, 9], embedder(constant)[:, 9], rtol=1e-2, atol=1e-2)
    published = embedders.Embedder2D(1, 8, 32, 4, antialias=False)
    published.load_state_dict(embedder.state_dict())
    tall = torch.nn.functional.interpolate(stripes, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(published(stripes), published(tall))
