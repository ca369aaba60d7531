"""Finds every guard, the one place in the code that refuses something with its code, and switches it off at run time.

A guard is a use of a row of a `*refusals.py`: in `raise Refusal(refusals.X, ...)`, as the `otherwise` of a check, or in
a helper that makes the refusal, whose calls are guards then. `install()` has all modules of medvouch compiled with
their guards named; while `State.off` names one, what it refuses passes: its `raise`, `yield` or `return` does nothing,
nor does a call that is there to hand the refusal on.
"""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, ClassVar, TypeVar

from medvouch.errors import Refusal, RefusalKind

AGENT = Path(__file__).resolve().parents[1] / "agent"
TABLES = (
    "attestation", "crypto", "ledger", "assurance", "update", "release", "daemon", "lifecycle", "messages", "collector",
)  # fmt: skip
"""Packages whose refusals are held to this."""

_RUNTIME = "_guards_"
_T = TypeVar("_T")


# --- at run time -----------------------------------------------------------------------------------------------------


class State:
    """Which guard is off, and which have refused something since `fired` was emptied."""

    off: ClassVar[str | None] = None
    fired: ClassVar[set[str]] = set()


class _NamedKind(RefusalKind):
    """A row that knows the guard it stands in."""

    guard: str
    row: RefusalKind


class _Guarded(Refusal):
    """How `Refusal` is initialised where guards are named: it keeps the guard, and the row itself as its kind."""

    _plain = Refusal.__init__

    def __init__(self, kind: RefusalKind, detail: str, *, place: str = "") -> None:
        _Guarded._plain(self, kind, detail, place=place)
        if isinstance(kind, _NamedKind):
            self.kind, self.guard = kind.row, kind.guard


def named(guard: str, kind: RefusalKind) -> RefusalKind:
    """The row, as this guard uses it."""
    made = _NamedKind(*kind)
    made.guard, made.row = guard, getattr(kind, "row", kind)
    return made


def renamed(guard: str, refused: _T) -> _T:
    """A refusal that a helper made for this guard."""
    if isinstance(refused, Refusal):
        refused.guard = guard  # type: ignore[attr-defined]
    return refused


def stands(refused: object) -> bool:
    """Whether to go on and refuse; what is no refusal always stands, but for None, which is one taken back."""
    guard = getattr(refused, "guard", None)
    if not isinstance(refused, Refusal) or guard is None:
        return refused is not None
    State.fired.add(guard)
    return bool(guard != State.off)


def standing(refused: _T) -> _T | None:
    """What a function returns instead of a refusal that is taken back."""
    return refused if stands(refused) else None


# --- in the source ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """A guard: `key` is module, function and code, with a number from the second of its kind in a function on."""

    key: str
    code: str
    table: str
    """The package whose row it is."""
    line: int

    @property
    def module(self) -> str:
        """The module it stands in."""
        return self.key.partition(":")[0]


@cache
def _rows(path: Path) -> Mapping[str, str]:
    """The codes of a `*refusals.py` by the names of their rows."""
    rows = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Name("RefusalKind"), [ast.Constant(str(code)), *_])):
                rows[name] = code
    return rows


def _table(module: str) -> Mapping[str, str] | None:
    """The rows of medvouch.PACKAGE.WHATrefusals, or None for another module."""
    path = AGENT.joinpath(*module.split(".")).with_suffix(".py")
    return _rows(path) if module.startswith("medvouch.") and module.endswith("refusals") and path.exists() else None


class _Names:
    """What a module's imports say of refusals: aliases of whole tables, and rows by themselves."""

    def __init__(self, tree: ast.Module) -> None:
        self.tables: dict[str, tuple[str, Mapping[str, str]]] = {}
        self.rows: dict[str, tuple[str, str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("medvouch."):
                package = node.module.split(".")[1]
                here = _table(node.module)
                for alias in node.names:
                    name = alias.asname or alias.name
                    if (table := _table(f"{node.module}.{alias.name}")) is not None:
                        self.tables[name] = package, table
                    elif here is not None and alias.name in here:
                        self.rows[name] = package, here[alias.name]

    def row(self, node: ast.AST | None) -> tuple[str, str] | None:
        """(package, code) of a row that this expression names, or None."""
        match node:
            case ast.Attribute(ast.Name(table), name) if table in self.tables:
                package, rows = self.tables[table]
                return (package, rows[name]) if name in rows else None
            case ast.Name(name):
                return self.rows.get(name)
        return None


class _Instrument(ast.NodeTransformer):
    """Names the guards of one module and makes each of them one that can be off."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module, self.names = module, _Names(tree)
        self.guards: list[Found] = []
        self._scope: list[str] = []
        self._seen: Counter[str] = Counter()
        self._kept: list[dict[str, tuple[str, str]]] = [{}]
        """By function: local names that are one row throughout."""
        self._returns_refusals = False
        self.helpers = {
            node.name: made for node in tree.body if isinstance(node, ast.FunctionDef) and (made := self._made(node))
        }

    def _made(self, function: ast.FunctionDef) -> tuple[str, str] | None:
        """The row of the refusals that a helper returns, where it is one and always the same."""
        if not (isinstance(function.returns, ast.Name) and function.returns.id == "Refusal"):
            return None
        rows = {row for node in ast.walk(function) if (row := self.names.row(node))}
        return rows.pop() if len(rows) == 1 else None

    def _guard(self, row: tuple[str, str], line: int) -> ast.Constant:
        package, code = row
        key = f"{self.module}:{'.'.join(self._scope) or '<module>'}:{code}"
        self._seen[key] += 1
        if (number := self._seen[key]) > 1:
            key = f"{key}#{number}"
        self.guards.append(Found(key, code, package, line))
        return ast.Constant(key)

    def _row(self, node: ast.expr) -> tuple[str, str] | None:
        if not self._scope:
            return None  # tables say something of rows and refuse nothing
        kept = self._kept[-1].get(node.id) if isinstance(node, ast.Name) else None
        return kept or self.names.row(node)

    def _named(self, row: tuple[str, str], node: ast.expr) -> ast.expr:
        return _call("named", self._guard(row, node.lineno), node)

    # scopes

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._scope.append(node.name)
        made = self.generic_visit(node)
        self._scope.pop()
        return made

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if not self._scope and node.name in self.helpers:
            return node
        outer, self._returns_refusals = (
            self._returns_refusals,
            bool(node.returns) and "Refusal" in ast.unparse(node.returns or node),
        )
        self._scope.append(node.name)
        self._kept.append(dict(self._assigned(node)))
        made = self.generic_visit(node)
        self._kept.pop()
        self._scope.pop()
        self._returns_refusals = outer
        return made

    def _assigned(self, function: ast.AST) -> Iterator[tuple[str, tuple[str, str]]]:
        for node in ast.walk(function):
            match node:
                case ast.Assign([ast.Name(name)], value) if row := self.names.row(value):
                    yield name, row
                case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)):
                    for target, value in zip(targets, values, strict=True):
                        if isinstance(target, ast.Name) and (row := self.names.row(value)):
                            yield target.id, row

    # uses of rows

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        if self._scope and any(self.names.row(value) for value in values):
            return node  # the guards are where the name is used
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if self._row(node.value):
            return node  # its code or meaning alone
        if row := self._row(node):
            return self._named(row, node)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Load):
            return node
        row = self._row(node)
        return self._named(row, node) if row else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and (row := self.helpers.get(node.func.id)):
            return _call("renamed", self._guard(row, node.lineno), node)
        return node

    # what a guard that is off leaves out

    def visit_Raise(self, node: ast.Raise) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if node.exc is None:
            return node
        refused = ast.Name("_refused_", ast.Store())
        node.exc, made = ast.Name("_refused_", ast.Load()), node.exc
        test = _call("stands", ast.NamedExpr(refused, made))
        return ast.If(test, [node], [])

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Yield) and node.value.value is not None and self._returns_refusals:
            test = _call("stands", ast.NamedExpr(ast.Name("_refused_", ast.Store()), node.value.value))
            node.value.value = ast.Name("_refused_", ast.Load())
            return ast.If(test, [node], [])
        match node.value:
            case (ast.Call() as call) | ast.Await(ast.Call() as call):
                for place, argument in enumerate(call.args):
                    if isinstance(argument, ast.Call) and ast.unparse(argument.func) == "Refusal":
                        test = _call("stands", ast.NamedExpr(ast.Name("_refused_", ast.Store()), argument))
                        call.args[place] = ast.Name("_refused_", ast.Load())
                        return ast.If(test, [node], [])
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and self._returns_refusals:
            node.value = _call("standing", node.value)
        return node


def _call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name(_RUNTIME, ast.Load()), function, ast.Load()), list(arguments), [])


def _instrumented(module: str, source: bytes | str) -> tuple[ast.Module, Sequence[Found]]:
    tree = ast.parse(source)
    instrument = _Instrument(module.removeprefix("medvouch."), tree)
    instrument.visit(tree)
    return ast.fix_missing_locations(tree), instrument.guards


def guards() -> Sequence[Found]:
    """Every guard of a row of `TABLES`, by module and line."""
    found = []
    for path in sorted(AGENT.glob("medvouch/**/*.py")):
        module = ".".join(path.relative_to(AGENT).with_suffix("").parts)
        if not module.endswith("refusals"):
            found += [guard for guard in _instrumented(module, path.read_bytes())[1] if guard.table in TABLES]
    return found


def codes() -> set[str]:
    """All codes of `TABLES`."""
    paths = (path for table in TABLES for path in AGENT.glob(f"medvouch/{table}/*refusals.py"))
    return {code for path in paths for code in _rows(path).values()}


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        tree, _ = _instrumented(fullname, self.get_data(self.path))
        made: CodeType = compile(tree, self.path, "exec", dont_inherit=True)
        return made

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[_RUNTIME] = sys.modules[__name__]
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith("medvouch.") or fullname.endswith(("refusals", "medvouch.errors")):
            return None
        spec: Any = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec  # type: ignore[no-any-return]


def install() -> None:
    """From now on modules of medvouch are imported with their guards; none may be imported already."""
    loaded = {name for name in sys.modules if name.startswith("medvouch.")} - {"medvouch.errors"}
    if loaded:
        raise AssertionError(f"imported before their guards were named: {', '.join(sorted(loaded))}")
    Refusal.__init__ = _Guarded.__init__  # type: ignore[method-assign, assignment]
    sys.meta_path.insert(0, _Finder())
