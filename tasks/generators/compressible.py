"""Compressible Navier-Stokes on a periodic grid in one or two dimensions, many samples at once.

Finite volumes: MUSCL with the monotonised central limiter on primitive variables, HLLC fluxes (Toro, Riemann Solvers,
ch. 10), viscous fluxes by central differences, Heun's method. Everything is a flux difference, so mass, momentum and
energy are conserved to rounding. Float64.

State `q` has shape (2 + d, B, *space): density, momentum per axis, energy; `w` the same with velocity and pressure.
"""

from __future__ import annotations

import numpy as np

GAMMA = 5.0 / 3.0
COURANT = 0.5


def conserved(w: np.ndarray) -> np.ndarray:
    """(density, velocity..., pressure) -> (density, momentum..., energy)."""
    rho, v, p = w[0], w[1:-1], w[-1]
    return np.concatenate([rho[None], rho * v, (p / (GAMMA - 1) + 0.5 * rho * (v**2).sum(axis=0))[None]])


def primitive(q: np.ndarray) -> np.ndarray:
    """(density, momentum..., energy) -> (density, velocity..., pressure)."""
    v = q[1:-1] / q[0]
    return np.concatenate([q[:1], v, ((GAMMA - 1) * (q[-1] - 0.5 * q[0] * (v**2).sum(axis=0)))[None]])


def _wrap(a: np.ndarray) -> np.ndarray:
    """Two periodic ghost cells at either end of the last axis."""
    return np.concatenate([a[..., -2:], a, a[..., :2]], axis=-1)


def limited(a: np.ndarray) -> np.ndarray:
    """Half the limited (monotonised central) difference per inner cell of the last axis."""
    back, forth = a[..., 1:-1] - a[..., :-2], a[..., 2:] - a[..., 1:-1]
    centre = 0.5 * (back + forth)
    slope = np.minimum(np.minimum(2 * np.abs(back), 2 * np.abs(forth)), np.abs(centre))
    return 0.5 * np.where(back * forth > 0, np.copysign(slope, centre), 0.0)


def _faces(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Limited states left and right of the n + 1 faces of the last axis."""
    padded = _wrap(w)
    half, inner = limited(padded), padded[..., 1:-1]
    return (inner + half)[..., :-1], (inner - half)[..., 1:]


def _flux(w: np.ndarray, q: np.ndarray, n: int) -> np.ndarray:
    """The Euler flux along the axis whose velocity is component `n`."""
    f = q * w[n]
    f[n] += w[-1]
    f[-1] += w[-1] * w[n]
    return f


def hllc(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """The HLLC flux between primitive states, along the axis whose velocity is component `n`."""
    sound = [np.sqrt(GAMMA * w[-1] / w[0]) for w in (left, right)]
    slow = np.minimum(left[n] - sound[0], right[n] - sound[1])
    fast = np.maximum(left[n] + sound[0], right[n] + sound[1])
    mass = left[0] * (slow - left[n]), right[0] * (fast - right[n])
    contact = (right[-1] - left[-1] + left[n] * mass[0] - right[n] * mass[1]) / (mass[0] - mass[1])
    fluxes = []
    for w, s, m in ((left, slow, mass[0]), (right, fast, mass[1])):
        q = conserved(w)
        star = w.copy()
        star[0] = 1.0
        star[n] = contact
        star[-1] = q[-1] / w[0] + (contact - w[n]) * (contact + w[-1] / m)
        f = _flux(w, q, n)
        fluxes += [f, f + s * (star * (m / (s - contact)) - q)]
    middle = np.where(contact >= 0, fluxes[1], fluxes[3])
    return np.where(slow >= 0, fluxes[0], np.where(fast <= 0, fluxes[2], middle))


def _viscous(w: np.ndarray, axis: int, dx: float, eta: float, zeta: float) -> np.ndarray:
    """Viscous flux (stress and its work) through the n + 1 faces of `axis`, that axis last; viscosity is rho eta."""
    d = w.shape[0] - 2

    def face(a: np.ndarray) -> np.ndarray:
        periodic = _wrap(np.moveaxis(a, 1 + axis, -1))[..., 1:-1]
        return 0.5 * (periodic[..., :-1] + periodic[..., 1:])

    def gradient(component: np.ndarray, along: int) -> np.ndarray:
        if along == axis:
            periodic = _wrap(np.moveaxis(component, 1 + axis, -1))[..., 1:-1]
            return np.diff(periodic, axis=-1) / dx
        return face((np.roll(component, -1, 1 + along) - np.roll(component, 1, 1 + along)) / (2 * dx))

    rho, v = face(w[0]), [face(w[1 + j]) for j in range(d)]
    divergence = sum(gradient(w[1 + j], j) for j in range(d))
    stress = [eta * (gradient(w[1 + j], axis) + gradient(w[1 + axis], j)) for j in range(d)]
    stress[axis] = stress[axis] + (zeta - 2 * eta / 3) * divergence
    stress = [rho * s for s in stress]
    return np.stack([np.zeros_like(rho), *stress, sum(a * b for a, b in zip(v, stress, strict=True))])


def rate(q: np.ndarray, dx: float, eta: float, zeta: float) -> np.ndarray:
    """dq/dt."""
    w, out = primitive(q), np.zeros_like(q)
    for axis in range(w.shape[0] - 2):
        flux = hllc(*_faces(np.ascontiguousarray(np.moveaxis(w, 2 + axis, -1))), 1 + axis)
        if eta or zeta:
            flux = flux - _viscous(w, axis, dx, eta, zeta)
        out -= np.moveaxis(np.diff(flux, axis=-1), -1, 2 + axis) / dx
    return out


def step_size(w: np.ndarray, dx: float, eta: float, zeta: float) -> float:
    """The largest stable time step of all samples together."""
    d = w.shape[0] - 2
    speed = (np.abs(w[1:-1]).sum(axis=0) + d * np.sqrt(GAMMA * w[-1] / w[0])).max()
    return 1.0 / (speed / (COURANT * dx) + 2 * d * (zeta + 4 * eta / 3) / (0.9 * dx**2))


def solve(w0: np.ndarray, t: np.ndarray, dx: float, eta: float, zeta: float) -> np.ndarray:
    """Primitive states at times `t`, (B, len(t), 2 + d, *space), from (2 + d, B, *space) at t[0].

    ArithmeticError where density or pressure stop being positive.
    """
    q, now, out = conserved(w0), t[0], [w0]
    for target in t[1:]:
        while now < target:
            w = primitive(q)
            if not (w[0].min() > 0 and w[-1].min() > 0):
                raise ArithmeticError(f"compressible flow: density or pressure not positive at t = {now:.3g}")
            h = step_size(w, dx, eta, zeta)
            h = target - now if now + 1.001 * h >= target else min(h, 0.5 * (target - now) + 0.5 * h)
            first = q + h * rate(q, dx, eta, zeta)
            q = 0.5 * (q + first + h * rate(first, dx, eta, zeta))
            now = target if h == target - now else now + h
        out.append(primitive(q))
    return np.moveaxis(np.stack(out), 2, 0)
