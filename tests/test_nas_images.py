"""Spherical's projection, CIFAR-100's augmentation, Cosmic's crops and sky, against slow or independent code."""

import shutil

import numpy as np
import pytest
import torch

from tasks.contract import DataError, Request
from tasks.files import augment
from tasks.files.cosmic import GALAXY_FIELDS, read_stack, resolve, write_lists
from tasks.generators import spherical
from tests.nas_helpers import read, stand_in, task, whole


def project_slowly(image, rotation):
    """The documented procedure, one grid point and one neighbour at a time."""
    width = len(image)
    out = np.zeros((60, 60))
    for j in range(60):
        for k in range(60):
            beta, alpha = np.pi * j / 60, np.pi * k / 30
            point = np.array([np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha), np.cos(beta)])
            x, y, z = rotation @ point
            t = 2.001 / (2.001 - (z + 1))
            rx, ry = (x * t + 1.5) / 3 * width, (y * t + 1.5) / 3 * width
            ix, iy = int(rx), int(ry)

            def pixel(a, b):
                return image[a, b] if 0 <= a < width and 0 <= b < width else 0.0

            low = (ix + 1 - rx) * pixel(ix - 1, iy - 1) + (rx - (ix - 1)) * pixel(ix + 1, iy - 1)
            high = (ix + 1 - rx) * pixel(ix - 1, iy + 1) + (rx - (ix - 1)) * pixel(ix + 1, iy + 1)
            out[j, k] = (iy + 1 - ry) * low + (ry - (iy - 1)) * high
    return ((out - out.min()) / (out.max() - out.min()) * 255).astype(np.uint8)


def test_projection_equals_the_documented_procedure():
    rng = np.random.default_rng(0)
    image, rotation = rng.uniform(0, 255, (28, 28)), spherical.random_rotation(rng)
    found = spherical.project(image[None, None], rotation)[0, 0].astype(int)
    assert abs(found - project_slowly(image, rotation)).max() <= 1  # truncation at a rounding edge


def test_rotations_are_rotations_and_uniform_at_full_noise():
    rng = np.random.default_rng(0)
    drawn = np.stack([spherical.random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(drawn @ drawn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), drawn.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(drawn), 1)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.05)
    np.testing.assert_allclose((drawn**2).mean(0), 1 / 3, atol=0.03)
    np.testing.assert_allclose(spherical.random_rotation(rng, 0.0), np.diag([-1.0, -1.0, 1.0]), atol=1e-12)


def test_the_image_covers_the_documented_part_of_the_sphere():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(20):
        points = spherical.plane_points(spherical.random_rotation(rng))
        covered.append((abs(points) < 1.5).all(0).mean())
    assert 0.40 < np.mean(covered) < 0.48  # documented: 43 to 45 % of the pixels


def test_a_constant_image_does_not_divide_by_zero():
    assert not spherical.project(np.zeros((1, 1, 32, 32)), np.eye(3)).any()


def test_consecutive_images_share_a_rotation_per_chunk():
    made = spherical.sphere_digits("spherical", 8, 4, 1.0, held_out=False)["images"]
    images, _ = spherical.digits(held_out=False)
    from tasks.generators.seeds import sample_rng

    rotations = [spherical.random_rotation(sample_rng("spherical", c)) for c in range(2)]
    for i in range(8):
        np.testing.assert_array_equal(made[i, :1], spherical.project(images[i : i + 1], rotations[i // 4])[0])


def test_spherical_gives_out_values_between_0_and_1(shared_data):
    x = whole(read(shared_data, "spherical").train).x
    assert x.min() == 0 and x.max() == 1


def crop_flip_slowly(x, top, left, mirrored, fill, pad=4):
    out = np.empty_like(x)
    for b in range(len(x)):
        padded = np.broadcast_to(fill, (x.shape[1], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad)).copy()
        padded[:, pad:-pad, pad:-pad] = x[b]
        piece = padded[:, top[b] : top[b] + x.shape[2], left[b] : left[b] + x.shape[3]]
        out[b] = piece[:, :, ::-1] if mirrored[b] else piece
    return out


def test_crop_and_flip_equal_loops():
    x = torch.randn(12, 3, 10, 8, generator=torch.Generator().manual_seed(0))
    fill = np.array([-1.0, -2.0, -3.0], np.float32).reshape(3, 1, 1)
    found = augment.crop_flip(x, torch.Generator().manual_seed(5), torch.as_tensor(fill))
    g = torch.Generator().manual_seed(5)
    top, left = (torch.randint(0, 9, (12, 1, 1), generator=g).flatten().tolist() for _ in range(2))
    mirrored = torch.randint(0, 2, (12, 1, 1), generator=g).flatten().tolist()
    assert 0 < sum(mirrored) < 12
    np.testing.assert_array_equal(found.numpy(), crop_flip_slowly(x.numpy(), top, left, mirrored, fill))


def test_cutout_zeroes_one_square_cut_at_the_border():
    x = torch.ones(200, 3, 32, 32)
    found = augment.cut_out(x, torch.Generator().manual_seed(0), 16)
    holes = (found == 0).all(1)
    sizes = holes.sum((1, 2))
    assert sizes.max() == 256 and sizes.min() >= 64 and len(sizes.unique()) > 20
    rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
    torch.testing.assert_close(rows * columns, sizes)


def test_cifar_is_normalised_as_torchvision_would_and_augmented_by_protocol(shared_data):
    strict, paper = read(shared_data, "cifar100"), read(shared_data, "cifar100", "paper")
    raw = torch.from_numpy(strict.train.x[:5]).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)))
    x = torch.from_numpy(strict.train.batch(np.arange(5), None).x)
    torch.testing.assert_close(x, (raw - mean) / std, atol=1e-5, rtol=1e-5)
    assert strict.val.augment is None and strict.test.augment is None
    holes = []
    for data in (strict, paper):
        out = data.train.augment(torch.ones(64, 3, 32, 32), torch.Generator().manual_seed(0))
        assert out.shape == (64, 3, 32, 32)
        holes.append(bool((out == 0).any()))
    assert holes == [True, False]


def test_cosmic_keeps_the_central_crop(tmp_path):
    stack = np.zeros((3, 256, 256), np.float32)
    stack[0] = np.arange(256 * 256).reshape(256, 256)
    stack[1, 100, 70] = stack[2, 64, 191] = 1
    np.save(tmp_path / "1_x.npy", stack)
    image, mask, ignore = read_stack(tmp_path / "1_x.npy")
    np.testing.assert_array_equal(image, stack[0, 64:192, 64:192])
    assert mask.sum() == 1 and mask[36, 6] and ignore.sum() == 1 and ignore[0, 127]
    np.save(tmp_path / "1_x.npy", stack[:2])
    assert not read_stack(tmp_path / "1_x.npy")[2].any()


def test_cosmic_sky_is_added_in_training_only_and_in_its_range(shared_data):
    data = read(shared_data, "cosmic")
    index = np.arange(len(data.train))
    plain, drawn = data.train.batch(index, None), data.train.batch(index, np.random.default_rng(0))
    added = (drawn.x - plain.x)[:, 0]
    assert np.ptp(added, axis=(1, 2)).max() < 1e-2
    multiple = added.mean((1, 2)) / data.train.sky
    assert multiple.min() > -0.9 and multiple.max() < 3 and multiple.std() > 0.3
    assert (data.train.sky > 0).all()


def test_cosmic_under_paper_adds_sky_to_the_test_images_too_once_and_for_all(shared_data):
    root = stand_in(shared_data, "cosmic")
    strict, paper = (task("cosmic").read(Request(root, protocol)) for protocol in ("strict", "paper"))
    plain, published = whole(strict.test), whole(paper.test)
    multiple = (published.x - plain.x)[:, 0].mean((1, 2)) / strict.test.sky
    assert (multiple > -0.9).all() and (multiple < 3).all() and multiple.std() > 0.3
    np.testing.assert_array_equal(whole(paper.test).x, published.x)
    last = paper.test.batch(np.array([len(paper.test) - 1]), None).x
    np.testing.assert_array_equal(last[0], published.x[-1]), "a sample's sky does not depend on its batch"
    np.testing.assert_array_equal(plain.y, published.y)


def test_cosmic_order_does_not_depend_on_the_list(shared_data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(stand_in(shared_data, "cosmic"), root)
    path = root / "cosmic/train_dirs.npy"
    np.save(path, np.array(["./cosmic/" + str(s) for s in np.load(path)[::-1]]))
    there, here = task("cosmic").read(Request(root)), read(shared_data, "cosmic")
    np.testing.assert_array_equal(whole(there.train).x, whole(here.train).x)


def test_cosmic_lists_hold_the_galaxy_fields_in_sorted_order(tmp_path):
    assert len(GALAXY_FIELDS) == 27
    names = ("npy_{}/f435w/12058/6/2_a.npy", "npy_{}/f435w/10760/2/1_a.npy", "npy_{}/f435w/10760/2/sky.npy",
             "npy_{}/f435w/10595/2/1_a.npy", "npy_{}/f606w/10760/2/1_a.npy")  # fmt: skip
    with pytest.raises(DataError, match="deepCR"):
        write_lists(tmp_path)
    for part in ("train", "test"):
        for name in names:
            path = tmp_path / name.format(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.zeros(1))
    assert write_lists(tmp_path) == {"train": 2, "test": 2}
    listed = np.load(tmp_path / "test_dirs.npy").tolist()
    assert listed == ["npy_test/f435w/10760/2/1_a.npy", "npy_test/f435w/12058/6/2_a.npy"]
    assert resolve("/far/away/cosmic/" + listed[0], tmp_path) == tmp_path / listed[0]
