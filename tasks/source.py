"""The source code behind a plug-in or a cached copy, as a hash: its module and all that this imports, transitively.

Imports are read from the syntax tree and nothing is imported, so asking is quick and never loads torch. Followed are
the packages `tasks` and `methods` and the plug-in's own one; other packages go by their versions (in the record).
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGES = ("methods", "tasks")
GENERATORS = "tasks.generators"
"""They make stand-ins and read nothing: a record of official data does not depend on them."""
DOTTED = re.compile(r"\w+(\.\w+)+", re.ASCII)


def digest(*roots: str, generators: bool = True) -> str:
    """SHA-256 (first 16 hex digits) over the sources of the modules `roots` and of what they import.

    Without `generators` the modules of `tasks.generators`, and what only they import, are left out.
    """
    return _hash({name: path for root in roots for name, path in modules(root, generators).items()})


def digest_of_generators(root: str) -> str:
    """The same over what `root` may make stand-ins with: the generators that it imports, and its own package."""
    found = modules(root).items()
    return _hash({n: path for n, path in found if n.startswith(GENERATORS) or _top(n) not in PACKAGES})


@functools.cache
def modules(root: str, generators: bool = True) -> Mapping[str, Path]:
    """Module name -> source file: `root`, what it imports from the followed packages, and the packages around them."""
    followed = {*PACKAGES, _top(root)}
    found: dict[str, Path] = {}
    todo, seen = [root], set[str]()
    while todo:
        name = todo.pop()
        if name in seen or _top(name) not in followed or (name.startswith(GENERATORS) and not generators):
            continue
        seen.add(name)
        todo += [name.rpartition(".")[0]] if "." in name else []
        if (path := _file(name)) is not None:  # else the name of something inside of a module
            found[name] = path
            todo += imports(path, name)
    return found


@functools.cache
def imports(path: Path, name: str) -> tuple[str, ...]:
    """What the module `name` in `path` imports anywhere in it, functions included, by absolute name.

    `from a import b` gives both `a` and `a.b`, for b may be a module. A string that is a dotted name counts, too: so
    are modules named that are imported when they are needed. A file that is no Python imports nothing.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return ()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(dict.fromkeys(_names(tree, package)))


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            yield node.value


def _top(name: str) -> str:
    return name.partition(".")[0]


def _file(name: str) -> Path | None:
    """The source file of a module, or None where there is none of that name."""
    top, *parts = name.split(".")
    for place in places(top):
        path = place.joinpath(*parts)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    return None


@functools.cache
def places(top: str) -> tuple[Path, ...]:
    """The folders of a top-level package, or the path without suffix of a module that is one file; () if unknown."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # `__main__`, which has none
        spec = None
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(map(Path, spec.submodule_search_locations))
    return (Path(spec.origin).with_suffix(""),) if spec.origin else ()


def _hash(files: Mapping[str, Path]) -> str:
    total = hashlib.sha256()
    for name, path in sorted(files.items()):
        total.update(f"{name} {_file_hash(path)}\n".encode())
    return total.hexdigest()[:16]


@functools.cache
def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
