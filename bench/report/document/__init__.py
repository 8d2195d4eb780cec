"""A report as a document: sections, tables, and how they are written as markdown, HTML, LaTeX and CSV."""
