"""PDEBench's family of random 1D initial conditions: superposed sines, sometimes folded, windowed or reversed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def random_sines(rng: np.random.Generator, slots: int = 4, window: float = 0.1) -> Callable[[np.ndarray], np.ndarray]:
    """A random function of period 1, float64 in and out; draws are independent, unlike in the reference.

    u0(x) = s w(x) |sum_i A_i sin(2 pi n_i x + phi_i)|: two of the `slots` are drawn with replacement, slot i has
    wavenumber i times the number of its draws (a slot not drawn adds a constant); A ~ U(0, 1), phi ~ U(0, 2 pi);
    s = +-1; the absolute value is taken with probability 0.1, the tanh window w with probability `window`.
    Source: PDEBench (Takamoto et al. 2022), appendix D, and its generator.
    """
    drawn = np.bincount(rng.integers(0, slots, 2), minlength=slots) * np.arange(1, slots + 1)
    amplitude, phase = rng.uniform(0, 1, slots), rng.uniform(0, 2 * np.pi, slots)
    sign, folded, windowed = rng.choice([-1.0, 1.0]), rng.random() < 0.1, rng.random() < window
    left, right = rng.uniform(0.1, 0.45), rng.uniform(0.55, 0.9)

    def u0(x: np.ndarray) -> np.ndarray:
        x = np.mod(x, 1.0)
        u = (amplitude * np.sin(2 * np.pi * drawn * x[..., None] + phase)).sum(axis=-1)
        u = sign * (np.abs(u) if folded else u)
        return u * 0.5 * (np.tanh((x - left) / 0.01) - np.tanh((x - right) / 0.01)) if windowed else u

    return u0
