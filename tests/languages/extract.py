"""Finds what the server says when it refuses: the texts of `Refused`, `invalid` and their kind, wherever they stand.

An f-string becomes a template: its holes are `{0}`, `{1}`, …. A text that is put together in another way cannot be
found and has to be named in `ELSEWHERE`, with where it is found instead.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "actors", "storage", "jobs", "server")

SPEAKERS = {"Refused": 1, "Refusal": 1, "Problem": 1, "invalid": 1, "FieldError": 1, "not_valid": 0}
"""Who is called to say something, and which argument is the text."""


class Said(NamedTuple):
    template: str
    where: str


class Opaque(NamedTuple):
    code: str
    where: str


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _argument(node: ast.Call) -> ast.expr | None:
    at = SPEAKERS[_called(node)]
    if len(node.args) > at:
        return node.args[at]
    return next((k.value for k in node.keywords if k.arg in ("detail", "message")), None)


def template_of(node: ast.JoinedStr) -> str:
    parts, holes = [], 0
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts.append(str(value.value))
        else:
            parts.append(f"{{{holes}}}")
            holes += 1
    return "".join(parts)


class _File:
    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.tree = tree
        self.scopes: dict[ast.AST, ast.AST] = {}
        self._place(tree, tree)

    def _place(self, node: ast.AST, scope: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            self.scopes[child] = scope
            inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
            self._place(child, inner)

    def texts(self, node: ast.expr | None, scope: ast.AST, depth: int = 0) -> Iterator[str | ast.expr]:
        """Templates, and the expressions that are none."""
        if node is None or depth > 3:
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value:
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield template_of(node)
        elif isinstance(node, ast.IfExp):
            yield from self.texts(node.body, scope, depth + 1)
            yield from self.texts(node.orelse, scope, depth + 1)
        elif isinstance(node, ast.Name) and (values := self._values(node.id, scope)):
            for value in values:
                yield from self.texts(value, scope, depth + 1)
        elif (table := self._table(node)) is not None:
            for value in table.values:
                yield from self.texts(value, scope, depth + 1)
        elif (function := self._function(node)) is not None:
            for inner in ast.walk(function):
                if isinstance(inner, ast.Return) and self.scopes[inner] is function:
                    yield from self.texts(inner.value, function, depth + 1)
        else:
            yield node

    def _values(self, name: str, scope: ast.AST) -> list[ast.expr]:
        """What is assigned to that name in the function, or else in the module."""
        for around in (scope, self.tree):
            found = [
                n.value
                for n in ast.walk(around)
                if isinstance(n, ast.Assign | ast.AnnAssign)
                and n.value is not None
                and any(
                    isinstance(t, ast.Name) and t.id == name
                    for t in (n.targets if isinstance(n, ast.Assign) else [n.target])
                )
                and self.scopes.get(n) in (around, None)
            ]
            if found:
                return found
        return []

    def _function(self, node: ast.expr) -> ast.FunctionDef | None:
        """What is called, if it stands in the module."""
        name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
        return next((f for f in self.tree.body if isinstance(f, ast.FunctionDef) and f.name == name), None)

    def _table(self, node: ast.expr) -> ast.Dict | None:
        """The dictionary of `TABLE[x]` and `TABLE.get(x, …)`."""
        name = None
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            name = node.value.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            name = getattr(node.func.value, "id", None)
        values = self._values(name, self.tree) if name else []
        return next((v for v in values if isinstance(v, ast.Dict)), None)


def found_in(name: str, text: str) -> Iterator[Said | Opaque]:
    file = _File(name, ast.parse(text))
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Call) or _called(node) not in SPEAKERS:
            continue
        for said in file.texts(_argument(node), file.scopes[node]):
            if isinstance(said, str):
                yield Said(said, name)
            else:
                yield Opaque(ast.unparse(said), name)


def found() -> list[Said | Opaque]:
    everything: list[Said | Opaque] = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            everything += found_in(path.relative_to(ROOT).as_posix(), path.read_text())
    return everything
