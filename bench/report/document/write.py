"""A report on disk: README.md, tables/, figures/ and, if asked, index.html."""

from __future__ import annotations

from pathlib import Path

from bench.report.document import table as render
from bench.report.document.html import to_html
from bench.report.document.latex import latex
from bench.report.document.markdown import markdown
from bench.report.document.page import Page

UTF_8 = {"encoding": "utf-8", "errors": "backslashreplace"}
"""A path of the command line need not be text: what of it is none is shown as an escape."""


def write(page: Page, folder: Path, html: bool = False) -> list[Path]:
    """Write README.md, tables/, figures/ and, if asked, index.html below `folder`; returns the files to open.

    Tables and figures of an earlier report there are removed, so that the folder holds one report.
    """
    for sub in ("tables", "figures"):
        for old in (folder / sub).glob("*") if (folder / sub).is_dir() else ():
            if old.suffix in (".csv", ".tex", ".svg"):
                old.unlink()
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for block in page.tables():
        (folder / "tables" / f"{block.name}.csv").write_text(render.to_csv(block), **UTF_8)
        (folder / "tables" / f"{block.name}.tex").write_text(latex(block), **UTF_8)
    drawn = {d.name: d.svg() for d in page.drawings()}
    for drawing in page.drawings():
        drawing.save(folder / "figures", drawn[drawing.name])
    (folder / "README.md").write_text(markdown(page), **UTF_8)
    out = [folder / "README.md"]
    if html:
        (folder / "index.html").write_text(to_html(page, drawn), **UTF_8)
        out.append(folder / "index.html")
    return out
