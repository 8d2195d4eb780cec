"""Mel features against torch.stft, transformers' filter bank and a direct Fourier sum; FSD50K's manifests and clips."""

import csv

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from transformers.audio_utils import mel_filter_bank

from tasks.contract import Request, targets_of
from tasks.files import audio
from tasks.files.fsd50k import Clips, training_view
from tests.nas_helpers import read, stand_in, task, whole


def waves(count=2, seconds=1.0):
    rng = np.random.default_rng(0)
    t = np.arange(int(seconds * audio.RATE)) / audio.RATE
    tones = np.sin(2 * np.pi * rng.uniform(100, 8000, (count, 1)) * t)
    return (0.5 * tones + 0.01 * rng.standard_normal((count, len(t)))).astype(np.float32)


def test_power_spectrogram_equals_torch_stft():
    x = waves()
    window = torch.hann_window(audio.WINDOW, dtype=torch.float64)
    expected = torch.stft(
        torch.from_numpy(x).double(), audio.N_FFT, audio.HOP, audio.WINDOW, window, center=True, pad_mode="reflect",
        return_complex=True,
    ).abs().square().transpose(1, 2).numpy()  # fmt: skip
    found = audio.power_spectrogram(x.astype(np.float64))
    assert found.shape == expected.shape == (2, 101, 961)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_one_frame_equals_the_direct_fourier_sum():
    x = waves(1).astype(np.float64)
    frame, bins = 40, np.array([0, 17, 500, 960])
    centre = frame * audio.HOP
    n = np.arange(-audio.N_FFT // 2, audio.N_FFT // 2)
    hann = np.where((n >= -331) & (n < 330), 0.5 - 0.5 * np.cos(2 * np.pi * (n + 331) / audio.WINDOW), 0)
    phase = np.exp(-2j * np.pi * bins[:, None] * n / audio.N_FFT)
    expected = abs((phase * hann * x[0, centre + n]).sum(1)) ** 2
    np.testing.assert_allclose(audio.power_spectrogram(x)[0, frame, bins], expected, rtol=1e-8)


def test_mel_filters_equal_transformers_htk_bank():
    expected = mel_filter_bank(961, 96, 0.0, audio.RATE / 2, audio.RATE, norm=None, mel_scale="htk")
    np.testing.assert_allclose(audio.mel_filters(), expected, atol=1e-12)


def test_log_mel_is_decibel_with_a_floor_minus_the_mean():
    x = waves()
    mel = np.einsum("btf,fm->bmt", audio.power_spectrogram(x.astype(np.float64)), audio.mel_filters())
    decibel = 10 * np.log10(np.maximum(mel, 1e-10))
    decibel = np.maximum(decibel, decibel.max((1, 2), keepdims=True) - 80)
    expected = decibel - decibel.mean((1, 2), keepdims=True)
    found = audio.log_mel(x)
    assert found.shape == (2, 96, 101) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert np.ptp(found, axis=(1, 2)).max() <= 80.001


def test_a_short_sound_is_repeated_and_a_long_one_cut():
    np.testing.assert_array_equal(audio.one_second(np.arange(3.0), 7), [0, 1, 2, 0, 1, 2, 0])
    np.testing.assert_array_equal(audio.one_second(np.arange(9.0), 7), np.arange(7.0))


def test_samples_are_a_share_of_full_scale_and_the_record_says_what_decoded_them(tmp_path, shared_data):
    raw = (waves(1)[0] * 32767).astype(np.int16)
    wavfile.write(tmp_path / "a.wav", audio.RATE, raw)
    np.testing.assert_array_equal(audio.read_wav(tmp_path / "a.wav"), raw / np.float32(32768))
    assert read(shared_data, "fsd50k").notes["audio_library"].startswith("soundfile ")


def test_paper_has_102_frames_with_a_zero_column(shared_data):
    strict, paper = (whole(read(shared_data, "fsd50k", p).test).x for p in ("strict", "paper"))
    assert paper.shape[-1] == 102 and strict.shape[-1] == 101
    np.testing.assert_array_equal(paper[..., :101], strict)
    assert not paper[..., 101].any()


def test_manifests_from_another_machine_are_read(shared_data, tmp_path):
    import shutil

    root = tmp_path / "data"
    shutil.copytree(stand_in(shared_data, "fsd50k"), root)
    folder = root / "audio/data/chunks"
    for name in ("tr", "val", "eval"):
        with (folder / f"{name}.csv").open(newline="") as f:
            head, *rows = list(csv.reader(f))
        with (folder / f"{name}.csv").open("w", newline="") as f:
            csv.writer(f).writerows([head, *(["/mnt/cluster/" + r[0], *r[1:]] for r in reversed(rows))])
    there, here = task("fsd50k").read(Request(root)), read(shared_data, "fsd50k")
    np.testing.assert_array_equal(whole(there.test).x, whole(here.test).x)
    np.testing.assert_array_equal(whole(there.train).y, whole(here.train).y)


def test_training_draws_a_chunk_of_the_same_clip_and_augments_it(shared_data):
    data = read(shared_data, "fsd50k")
    train: Clips = data.train
    assert len(train) == len(np.unique(train.table.clip)) and train.count.max() > 1
    index = np.arange(len(train))
    plain, one, two = (train.batch(index, r) for r in (None, np.random.default_rng(0), np.random.default_rng(1)))
    again = train.batch(index, np.random.default_rng(0))
    np.testing.assert_array_equal(one.x, again.x)
    np.testing.assert_array_equal(one.y, plain.y)
    assert not np.array_equal(one.x, two.x) and not np.array_equal(one.x, plain.x)


def test_specaugment_fills_with_the_smallest_value_before_noise_is_mixed_in():
    mel = np.random.default_rng(0).normal(size=(96, 101)).astype(np.float32)
    views = [training_view(mel, np.random.default_rng(seed)) for seed in range(40)]
    whole_bands = [(view == mel.min()).all(1).any() or (view == mel.min()).all(0).any() for view in views]
    assert 0.2 < np.mean(whole_bands) < 0.8
    assert all(view.min() == mel.min() and ((view == mel) | (view == mel.min())).all() for view in views)

    class Half:
        """Draws that mix everything half and half and mask nothing."""

        random = staticmethod(lambda: 0.7)
        uniform = staticmethod(lambda low, high: high)
        integers = staticmethod(lambda high: high - 1)

    noise = np.arange(96 * 150, dtype=np.float32).reshape(96, 150)
    clips = Clips(None, 102, np.array([0]), np.array([1]), (noise,))
    np.testing.assert_allclose(clips._augmented(mel, Half()), mel / 2 + noise[:, -101:] / 2, rtol=1e-6)


def test_paper_draws_a_clips_chunk_once_for_all_epochs(shared_data):
    train = read(shared_data, "fsd50k", "paper").train
    index = np.arange(6)
    one, two = (train.batch(index, np.random.default_rng(seed)).x for seed in (0, 1))
    np.testing.assert_array_equal(one, two)


def test_evaluation_covers_every_chunk_of_every_clip(shared_data):
    test = read(shared_data, "fsd50k").test
    batch = whole(test)
    for c in np.unique(batch.extra["clip"]):
        own = batch.y[batch.extra["clip"] == c]
        assert (own == own[0]).all()
    assert len(np.unique(batch.extra["clip"])) == 6


@pytest.mark.parametrize("part", ["train", "test"])
def test_targets_alone_are_those_of_the_samples_and_no_sound_is_read_for_them(shared_data, monkeypatch, part):
    split = getattr(read(shared_data, "fsd50k"), part)
    index = np.array([4, 0, 3])
    batch = split.batch(index, None)
    monkeypatch.setattr("tasks.files.fsd50k.read_wav", None)
    y, extra = targets_of(split, index)
    assert y.dtype == batch.y.dtype and np.array_equal(y, batch.y)
    assert extra.keys() == batch.extra.keys() and all(np.array_equal(extra[k], batch.extra[k]) for k in extra)


@pytest.mark.parametrize("length, pieces", [(10_000, 1), (22_050, 2), (40_000, 4)])
def test_chunks_every_half_second(length, pieces):
    from tasks.generators.fsd50k import chunks

    made = chunks(np.arange(length))
    assert len(made) == pieces and all(len(m) == 22_050 for m in made)
    assert made[-1][0] == (pieces - 1) * 11_025
