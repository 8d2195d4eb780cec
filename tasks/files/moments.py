"""What channels are standardised by."""

from __future__ import annotations

import numpy as np


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel, (C, 1, ...) float32, for values (n, C, *space); no zero deviation."""
    axes = (0, *range(2, values.ndim))
    mean, std = (f(axis=axes, dtype=np.float64, keepdims=True)[0] for f in (values.mean, values.std))
    std = np.where(std > 1e-12 * np.maximum(1, abs(mean)), std, 1.0)
    return mean.astype(np.float32), std.astype(np.float32)
