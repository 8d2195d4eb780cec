"""The stand-ins are checked physics: each solver against something it does not share code with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from tasks.generators import (
    advection,
    burgers,
    cfd_1d,
    cfd_2d,
    compressible,
    darcy_pdebench,
    diffusion_reaction_1d,
    diffusion_reaction_2d,
    diffusion_sorption,
    shallow_water,
)
from tasks.generators.layout import centres, saved_times
from tasks.generators.seeds import sample_rng
from tasks.generators.sines import random_sines
from tests.pde_helpers import shared_samples


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_advection_is_the_exact_shift():
    """beta t = 0.4 * 0.625 = 1/4: after that time every point holds what stood a quarter of the circle to its left."""
    x, t = centres(128), np.array([0.0, 0.625, 2.5])
    for i in range(20):
        u = advection.solve(sample_rng("advection", i), x, t)
        assert np.allclose(u[1], np.roll(u[0], 32), atol=1e-12)
        assert np.allclose(u[2], u[0], atol=1e-12), "a whole turn brings the state back"


def test_random_sines_have_the_published_spread():
    """Wavenumbers up to 8, amplitude at most 4, the tanh window and folded states at their rates."""
    x = centres(512)
    fields = np.stack([random_sines(np.random.default_rng(i))(x) for i in range(2000)])
    assert 3.0 < np.abs(fields).max() <= 4.0
    power = (np.abs(np.fft.rfft(fields)) ** 2).mean(axis=0)
    assert power[1:9].sum() > 50 * power[9:].sum(), "few samples are folded or windowed; the others end at wavenumber 8"
    windowed = (np.abs(fields[:, :10]).max(axis=1) < 1e-6).mean()
    assert 0.07 < windowed < 0.13
    one_sign = ((fields >= 0).all(axis=1) | (fields <= 0).all(axis=1)).mean()
    assert one_sign > 0.08


def cole_hopf(u0, antiderivative, x, t, nu):
    """The exact periodic solution by quadrature of the heat kernel: u = int (x-y)/t w dy / int w dy."""
    y = np.linspace(-3, 4, 14001)
    exponent = -(antiderivative(y)[None] + (x[:, None] - y[None]) ** 2 / (2 * t)) / (2 * nu)
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return ((x[:, None] - y[None]) / t * weight).sum(axis=1) / weight.sum(axis=1)


@pytest.mark.parametrize(("nu", "tolerance"), [(1.0, 1e-5), (0.1, 1e-5)])
def test_burgers_against_cole_hopf(nu, tolerance):
    x, t = centres(128), saved_times(11, 0.5)
    amplitudes, phases = np.array([0.7, 0.5]), np.array([0.3, 1.9])
    k = 2 * np.pi * np.array([1.0, 3.0])

    def u0(y):
        return (amplitudes * np.sin(np.multiply.outer(y, k) + phases)).sum(axis=-1)

    def antiderivative(y):
        return (-amplitudes / k * np.cos(np.multiply.outer(y, k) + phases)).sum(axis=-1)

    u = burgers.solve(u0(x)[None], t, nu)[0]
    for frame in (2, 5, 10):
        assert np.abs(u[frame] - cole_hopf(u0, antiderivative, x, t[frame], nu / np.pi)).max() < tolerance


def test_burgers_keeps_its_mean():
    x, t = centres(256), saved_times(5, 2.0)
    u0 = np.stack([random_sines(sample_rng("burgers", i))(x) for i in range(8)])
    u = burgers.solve(u0, t)
    assert np.allclose(u.mean(axis=-1), u0.mean(axis=-1)[:, None], atol=1e-12)


def test_diffusion_reaction_follows_the_logistic_curve_where_nothing_diffuses():
    t, start = saved_times(11, 1.0), np.array([0.1, 0.5, 0.9])
    u = diffusion_reaction_1d.solve(np.repeat(start[:, None], 64, axis=1), t)
    expected = 1 / (1 + (1 / start[:, None] - 1) * np.exp(-t))
    assert np.allclose(u, expected[:, :, None], atol=1e-12)


def test_diffusion_reaction_converges_in_its_step(monkeypatch):
    x, t = centres(128), saved_times(6, 1.0)
    u0 = np.stack([diffusion_reaction_1d.initial(sample_rng("diffusion_reaction_1d", i), x) for i in range(8)])
    u = diffusion_reaction_1d.solve(u0, t)
    monkeypatch.setattr(diffusion_reaction_1d, "STEP", 0.00025)
    assert relative(u, diffusion_reaction_1d.solve(u0, t)) < 5e-4
    assert u.min() >= 0 and u.max() <= 1
    assert 0.6 < u[:, -1].mean() < 0.8, "the equation gives about 0.73 at t = 1, the official files 0.5"


def test_diffusion_sorption_is_monotone_and_converged():
    t = saved_times(11, 500.0)
    from_zero, u = diffusion_sorption.solve(0.0, 64, t), diffusion_sorption.solve(0.1, 64, t)
    assert (np.diff(from_zero, axis=0) >= -1e-7).all(), "into an empty medium the front only rises"
    assert (np.diff(u[1:], axis=1) <= 1e-7).all(), "it falls away from the source, also towards the open right end"
    assert u.min() >= -1e-9 and u.max() <= 1
    assert 0.95 < u[-1, 0] < 1
    assert relative(u, diffusion_sorption.solve(0.1, 64, t, rtol=1e-10, atol=1e-12)) < 1e-5


def test_diffusion_sorption_matches_a_file_of_the_reference_within_its_own_error():
    import h5py

    with h5py.File(shared_samples() / "1D_diff-sorp_NA_NA.h5") as h5:
        official = h5["0003/data"][..., 0].astype(float)
    ours = diffusion_sorption.solve(official[0, 0], 1024, saved_times(101, 500.0))
    assert relative(ours[-1], official[-1]) < 0.03


def test_cfd_1d_conserves_mass_momentum_and_energy():
    x, t = centres(64, -1, 1), saved_times(3, 1.0)
    start = np.stack([cfd_1d.initial(sample_rng("cfd_1d", i), x) for i in range(8)], axis=1)
    w = compressible.solve(start, t, 2 / 64, cfd_1d.ETA, cfd_1d.ZETA)
    totals = np.stack([compressible.conserved(w[:, f].swapaxes(0, 1)).mean(axis=-1) for f in range(3)])
    scale = np.abs(compressible.conserved(start)).mean(axis=-1)
    assert (np.abs(totals - totals[0]) / scale).max() < 1e-12
    assert w[:, :, 0].min() > 0 and w[:, :, 2].min() > 0


def test_cfd_2d_conserves_mass_momentum_and_energy():
    x, t = centres(12), saved_times(2, 0.2)
    start = np.stack([cfd_2d.initial(sample_rng("cfd_2d", i), x) for i in range(4)], axis=1)
    w = compressible.solve(start, t, 1 / 12, cfd_2d.ETA, cfd_2d.ZETA)
    totals = np.stack([compressible.conserved(w[:, f].swapaxes(0, 1)).mean(axis=(-2, -1)) for f in range(2)])
    scale = np.abs(compressible.conserved(start)).mean(axis=(-2, -1))
    assert (np.abs(totals[1] - totals[0]) / scale).max() < 1e-12
    assert w.shape == (4, 2, 4, 12, 12) and np.abs(w[:, 1, 1:3]).max() > 0.1


def exact_riemann(left, right, s, gamma=5 / 3):
    """Density, velocity and pressure at x/t = s between two states at rest, `left` of higher pressure (Toro, ch. 4)."""
    (rl, pl), (rr, pr) = left, right
    cl = np.sqrt(gamma * pl / rl)

    def velocities(p):
        rare = 2 * cl / (gamma - 1) * (1 - (p / pl) ** ((gamma - 1) / (2 * gamma)))
        a, b = 2 / ((gamma + 1) * rr), (gamma - 1) / (gamma + 1) * pr
        return rare, (p - pr) * np.sqrt(a / (p + b))

    p = brentq(lambda p: velocities(p)[0] - velocities(p)[1], pr, pl)
    u = velocities(p)[0]
    star_l = rl * (p / pl) ** (1 / gamma)
    ratio, g = p / pr, (gamma - 1) / (gamma + 1)
    star_r = rr * (ratio + g) / (g * ratio + 1)
    shock = u * star_r / (star_r - rr)
    tail = u - cl * (p / pl) ** ((gamma - 1) / (2 * gamma))
    fan_u = 2 / (gamma + 1) * (cl + s)
    fan_c = np.maximum(cl - (gamma - 1) / 2 * fan_u, 0)
    fan_r = rl * (fan_c / cl) ** (2 / (gamma - 1))
    conditions = [s < -cl, s < tail, s < u, s < shock]
    return (
        np.select(conditions, [rl, fan_r, star_l, star_r], rr),
        np.select(conditions, [0, fan_u, u, u], 0.0),
        np.select(conditions, [pl, pl * (fan_c / cl) ** (2 * gamma / (gamma - 1)), p, p], pr),
    )


def test_inviscid_flow_against_the_exact_shock_tube():
    n, t = 800, 0.08
    x = centres(n, -1, 1)
    inside = np.abs(x) < 0.5  # periodic: two mirror-image tubes; the right one is looked at
    w0 = np.stack([np.where(inside, 1.0, 0.125), np.zeros(n), np.where(inside, 1.0, 0.1)])[:, None]
    w = compressible.solve(w0, np.array([0.0, t]), 2 / n, 0.0, 0.0)[0, 1]
    right = x > 0.2
    for ours, exact in zip(w, exact_riemann((1.0, 1.0), (0.125, 0.1), (x[right] - 0.5) / t), strict=True):
        assert np.abs(ours[right] - exact).mean() < 0.006


def test_viscosity_damps_a_shear_wave_at_the_exact_rate():
    """Vy = a sin(2 pi x) at uniform density decays as exp(-eta k^2 t); only shear viscosity acts on it."""
    n, eta, t = 32, 0.1, 0.05
    x = centres(n)
    wave = np.repeat(1e-4 * np.sin(2 * np.pi * x)[:, None], n, axis=1)
    w0 = np.stack([np.ones((n, n)), np.zeros((n, n)), wave, np.ones((n, n))])[:, None]
    w = compressible.solve(w0, np.array([0.0, t]), 1 / n, eta, 0.1)[0, 1]
    k = 2 * np.sin(np.pi / n) * n  # wavenumber of the discrete second difference
    assert relative(w[2], wave * np.exp(-eta * k**2 * t)) < 2e-3


def test_cfd_1d_fields_have_the_published_moments():
    """Density and pressure at t = 0 against the official means over all frames, 5.875 and 59.06."""
    x = centres(64, -1, 1)
    w = np.stack([cfd_1d.initial(sample_rng("cfd_1d", i), x) for i in range(2000)])
    assert w[:, 0].mean() == pytest.approx(5.875, rel=0.05)
    assert w[:, 2].mean() == pytest.approx(59.06, rel=0.05)
    assert abs(w[:, 1].mean()) < 0.05


def test_darcy_solves_its_equation_and_has_the_published_moments():
    pairs = [darcy_pdebench.solve(sample_rng("darcy_pdebench", i), 32, beta=100.0) for i in range(200)]
    a, u = (np.stack([p[k] for p in pairs]) for k in (0, 1))
    assert set(np.unique(a)) == {0.1, 1.0}
    assert u.mean() == pytest.approx(15.23, rel=0.1) and u.std() == pytest.approx(11.84, rel=0.1)
    for coefficient, solution in pairs[:5]:
        assert np.abs(residual(coefficient, solution) - 100).max() < 1e-6


def residual(a, u):
    """-div(a grad u) written out cell by cell, with u = 0 in the ghost cells."""
    n = len(a)
    out = np.zeros_like(u)
    for i in range(n):
        for j in range(n):
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                k, m = i + di, j + dj
                inside = 0 <= k < n and 0 <= m < n
                face = 0.5 * (a[i, j] + (a[k, m] if inside else a[i, j]))
                out[i, j] += face * (u[i, j] - (u[k, m] if inside else 0.0)) * n**2
    return out


def test_darcy_scales_with_beta_and_matches_the_reference_where_that_is_steady():
    import h5py

    one, ten = (darcy_pdebench.solve(sample_rng("darcy_pdebench", 0), 16, beta=b)[1] for b in (1.0, 10.0))
    assert np.allclose(10 * one, ten)
    with h5py.File(shared_samples() / "2D_DarcyFlow_beta0.1_Train.hdf5") as h5:
        nu, u = h5["nu"][2].astype(float), h5["tensor"][2, 0]
    right_side = np.full(nu.size, 0.1)
    ours = darcy_pdebench.spsolve(darcy_pdebench.operator(nu), right_side, permc_spec="MMD_AT_PLUS_A")
    assert relative(u, ours.reshape(nu.shape)) < 1e-4


def test_shallow_water_keeps_its_mass_and_its_symmetry():
    nx, t = 32, saved_times(5, 1.0)
    r = centres(256, 0, 2.5 * 2**0.5)
    h = shallow_water.solve(np.where(r < np.array([[0.4], [0.7]]), 2.0, 1.0), r, t)
    mass = (h * r).sum(axis=-1)
    assert np.allclose(mass, mass[:, :1], rtol=1e-12)
    square = shallow_water.onto_square(h, r, nx)
    assert np.allclose(square, square.swapaxes(-1, -2))
    assert np.allclose(square, square[..., ::-1, :]) and np.allclose(square, square[..., ::-1])
    total = square.mean(axis=(-1, -2))
    assert np.allclose(total, total[:, :1], rtol=2e-4), "the wave has not left the square by t = 1"
    assert (square[:, -1, 0] == 1.0).all(), "and has not met its edge"


def test_shallow_water_far_from_the_axis_is_stokers_dam_break():
    """At radius 10^6 the geometry drops out: compare with the exact planar solution for depths 2 and 1."""
    dr = 0.005
    r = 1e6 + dr * np.arange(800)
    dam = r[400]
    h = shallow_water.solve(np.where(r < dam, 2.0, 1.0)[None], r, np.array([0.0, 0.8]))[0, 1]
    c0 = np.sqrt(2.0)

    def jump(m):
        bore = np.sqrt(0.5 * m * (m + 1.0))
        return 2 * (c0 - np.sqrt(m)) - bore * (1 - 1.0 / m)

    m = brentq(jump, 1.0001, 1.9999)
    u = 2 * (c0 - np.sqrt(m))
    s = (r - dam + dr / 2) / 0.8
    fan = (2 * c0 - s) ** 2 / 9
    exact = np.select([s < -c0, s < u - np.sqrt(m), s < u * m / (m - 1.0)], [2.0, fan, m], 1.0)
    assert np.abs(h - exact).mean() < 2e-3


def test_diffusion_reaction_2d_mean_obeys_the_no_flux_equation():
    """Nothing crosses the walls: the mean of v moves by mean(u - v) alone, that of u by the mean reaction."""
    t = np.linspace(0, 0.4, 41)
    start = sample_rng("diffusion_reaction_2d", 0).standard_normal((2, 16, 16))
    w = diffusion_reaction_2d.solve(start, t, rtol=1e-8, atol=1e-10)
    u, v = w[..., 0], w[..., 1]
    rates = {"u": (u - u**3 - 5e-3 - v).mean(axis=(1, 2)), "v": (u - v).mean(axis=(1, 2))}
    for name, field in (("u", u), ("v", v)):
        mean, r = field.mean(axis=(1, 2)), rates[name]
        simpson = 0.01 / 3 * (r[:-2:2] + 4 * r[1:-1:2] + r[2::2]).sum()
        assert mean[-1] - mean[0] == pytest.approx(simpson, abs=2e-6)
    assert abs(diffusion_reaction_2d.laplacian(start, 0.1).sum()) < 1e-8


def test_diffusion_reaction_2d_is_accurate_at_its_tolerance():
    t, start = np.array([0.0, 5.0]), sample_rng("diffusion_reaction_2d", 1).standard_normal((2, 16, 16))
    ours, tight = diffusion_reaction_2d.solve(start, t), diffusion_reaction_2d.solve(start, t, rtol=1e-10, atol=1e-12)
    assert relative(ours[-1], tight[-1]) < 1e-4
