"""How figures look and are saved: SVG that can be read in greyscale and in the dark, with the data that made it."""

from __future__ import annotations

import colorsys
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from bench.csvs import inert
from bench.report.frame import Panel

INK, GRID, PAPER, MUTED = "#1f2328", "#d8dee4", "#ffffff", "#6e7781"
COLOURS = {
    "ridge": "#5a5a00",
    "scratch": "#7f7f7f",
    "small_supervised": "#a05a2c",
    "fno": "#4d9221",
    "linear": "#56b4e9",
    "frozen": "#e69f00",
    "vanilla": "#0072b2",
    "embedder_warmup": "#009e73",
    "lp_ft": "#c8b400",
    "orca": "#d55e00",
    "mona": "#9b3f8f",
    "lora": "#3b4cc0",
    "mmd_joint": "#66a61e",
    "pare": "#cc79a7",
    "recraft": "#b2182b",
}
"""Of the methods that come with the project: Okabe and Ito's palette for the colour-blind, with more earth and grey."""
MARKERS = ("v", "s", "D", "o", "^", "*", "P", "X", "<", ">", "p", "h", "d", "8", "H")
DOTS, DASHES, MIXED, SHORT = (0, (1, 1.2)), (0, (4, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (2, 1))
LINES: tuple[Any, ...] = (DOTS, DASHES, MIXED, "solid", SHORT, "solid", "dashed", "dotted")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "text.parse_math": False,  # a name with a dollar sign is no formula
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.markersize": 6,
    "lines.linewidth": 1.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What no XML file may hold, and a record's text may."""


@dataclass(frozen=True)
class Look:
    """How an arm is drawn: three things that differ, so that colour is never needed."""

    colour: str
    marker: str
    line: Any

    @property
    def line2d(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        size = 7.5 if self.marker in "PX*" else 6  # they cover less of their box than the others
        edge = {"markeredgecolor": PAPER, "mew": 0.4, "ms": size}
        return {"color": self.colour, "ls": self.line, "marker": self.marker, **edge}


def colour_of(method: str, settings: str = "") -> str:
    """The colour of an arm (see `Panel.arms`), which depends on nothing else, so that it is the same on every page.

    Known methods have theirs of `COLOURS`. A variant has a shade of its method's, a plug-in any hue, by a hash.
    """
    hue_share, light_share = (byte / 255 for byte in _digest(method, settings)[:2])
    if method not in COLOURS:
        return to_hex(colorsys.hls_to_rgb(hue_share, 0.3 + 0.3 * light_share, 0.6))
    plain = COLOURS[method]
    if not settings:
        return plain
    hue, _, saturation = colorsys.rgb_to_hls(*to_rgb(plain))
    return to_hex(colorsys.hls_to_rgb((hue + 0.12 * (hue_share - 0.5)) % 1, 0.25 + 0.45 * light_share, saturation))


def looks(panel: Panel) -> dict[str, Look]:
    """The look of every row of a panel. No two have the same marker and line, nor the same marker while there are others."""
    out: dict[str, Look] = {}
    for row, arm in sorted(panel.arms.items(), key=lambda item: (not _known(item[1]), panel.rows.index(item[0]))):
        first = list(COLOURS).index(arm[0]) if _known(arm) else int.from_bytes(_digest(*arm)[2:4])
        used = Counter(look.marker for look in out.values())
        marker = min(MARKERS, key=lambda m: (used[m], (MARKERS.index(m) - first) % len(MARKERS)))
        lines = [LINES[(first + k) % len(LINES)] for k in range(len(LINES))]
        taken = [look.line for look in out.values() if look.marker == marker]
        out[row] = Look(colour_of(*arm), marker, next((line for line in lines if line not in taken), lines[0]))
    return out


def _known(arm: tuple[str, str]) -> bool:
    return arm[0] in COLOURS and not arm[1]


def _digest(*words: str) -> bytes:
    return hashlib.blake2s("\n".join(words).encode("utf-8", "backslashreplace")).digest()


@dataclass(frozen=True)
class Drawing:
    """A figure, and the table that it shows."""

    name: str
    """File name without suffix."""
    title: str
    caption: str
    data: pd.DataFrame
    """Every point that is drawn, with the ids of its records in the column `record` or `records`."""
    draw: Callable[[], Figure]

    def svg(self) -> str:
        """The figure as SVG text; the same data give the same bytes."""
        with mpl.rc_context(STYLE):
            figure = self.draw()
            FigureCanvasSVG(figure)
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None})
        return NO_XML.sub("\ufffd", out.getvalue())

    def save(self, folder: Path, svg: str | None = None) -> None:
        """Write NAME.svg and NAME.csv; `svg` if it was drawn already."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.svg").write_text(svg or self.svg(), encoding="utf-8")
        self.data.map(inert).to_csv(folder / f"{self.name}.csv", index=False, lineterminator="\n")


def inline(svg: str, name: str, title: str) -> str:
    """SVG text for use inside a page: ids made unique, colours of ink, grid and paper left to the page's style."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour, variable in ((INK, "ink"), (GRID, "line"), (PAPER, "paper"), (MUTED, "muted")):
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return body.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def drawing_of(
    panel: Panel, kind: str, title: str, caption: str, data: pd.DataFrame, draw: Callable[[Panel, pd.DataFrame], Figure]
) -> Drawing | None:
    """The figure of some points of a panel; None without points."""
    return None if data.empty else Drawing(f"{kind}_{panel.name}", title, caption, data, lambda: draw(panel, data))


def title_of(what: str, panel: Panel) -> str:
    """`Linear probe, suite quick (quick, strict, generated)`."""
    return f"{what}, suite {panel.suite} ({panel.profile}, {panel.protocol}, {panel.origin})"
