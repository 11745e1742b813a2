"""What a notebook accepts, and refusing the rest before TensorFlow is imported.

The cell after the `parameters` cell calls `check`, so every route (papermill, Jupyter, Colab,
nbval, a plain script) meets the same sentence. papermill itself checks neither types nor names: an
unknown name only prints a line, and the run goes on with the default.
"""

import ast
import linecache
import os
import re
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from types import SimpleNamespace
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidationError

from helpers import data

_CALL = re.compile(r"\bcheck\(\s*globals\(\)")


class ParameterError(ValueError):
    """A parameter that a page does not accept; the message is one sentence."""

    def _render_traceback_(self):  # IPython shows this in place of the traceback
        return [f"ParameterError: {self}"]


@dataclass(frozen=True)
class Declaration:
    """A type with a range for pydantic, and the same in words."""

    annotation: Any
    allowed: str

    @cached_property
    def _adapter(self):
        return TypeAdapter(self.annotation)

    def accepts(self, value):
        """Whether `value` is allowed."""
        try:
            self._adapter.validate_python(value, strict=True)
        except ValidationError:
            return False
        return True

    def validate(self, name, value):
        """The validated value; ParameterError with one sentence otherwise."""
        try:
            return self._adapter.validate_python(value, strict=True)
        except ValidationError as error:
            place = error.errors(include_url=False)[0]["loc"]
        inside = bool(place) and isinstance(value, list)
        shown = f"{name}[{place[0]}] is {_short(value[place[0]])}" if inside else f"{name} is {_short(value)}"
        raise ParameterError(f"{shown}; allowed is {self.allowed}{self._hint(name, value)}")

    def _hint(self, name, value):
        """What was probably meant, and the end of the sentence."""
        if not isinstance(value, str):
            return "."
        try:
            meant = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            meant = None
        if meant is not None and self.accepts(meant):
            return f"; it came as text, so pass it with papermill -y '{name}: {meant}'."
        choices = get_args(self.annotation) if get_origin(self.annotation) is Literal else ()
        near = get_close_matches(value.lower(), choices, 1)
        return f"; did you mean {near[0]!r}?" if near else "."


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _bounds(ge, le, gt=None, lt=None):
    if ge is not None and le is not None:
        return f" from {ge} to {le}"
    words = {"at least": ge, "above": gt, "at most": le, "below": lt}
    limits = [f"{word} {limit}" for word, limit in words.items() if limit is not None]
    return f", {' and '.join(limits)}" if limits else ""


def Int(ge=None, le=None):
    """Whole number from `ge` to `le`, both allowed; no bool."""
    return Declaration(Annotated[int, Field(ge=ge, le=le)], f"a whole number{_bounds(ge, le)}")


def Float(ge=None, le=None, gt=None, lt=None):
    """Finite number within the bounds (`ge`, `le` included, `gt`, `lt` not); an int will do, no bool."""
    kind = Field(allow_inf_nan=False, ge=ge, le=le, gt=gt, lt=lt)
    return Declaration(Annotated[float, kind], f"a finite number{_bounds(ge, le, gt, lt)}")


def Bool():
    """True or False; no 0, 1 or text."""
    return Declaration(bool, "True or False")


def OneOf(*choices):
    """One of the given texts."""
    return Declaration(Literal[choices], f"one of {', '.join(map(repr, choices))}")


def ListOf(item):
    """List with at least one entry, each accepted by the declaration `item`."""
    entries = Annotated[list[item.annotation], Field(min_length=1)]
    return Declaration(entries, f"a list of at least one entry, each {item.allowed}")


COMMON = {
    "dataset": OneOf("digits", "mnist"),
    "seeds": Int(3, 32),
    "epoch_scale": Float(ge=0.1, le=3),
    "alpha": Float(gt=0, le=0.2),
}
"""Parameters that mean the same on every page; a page declares those that it uses."""


def check(namespace, **declared):
    """Validate a page's parameters; raise on the first that is unknown, missing or not allowed.

    Parameters
    ----------
    namespace : dict
        ``globals()`` of the notebook or script.
    **declared : Declaration
        Parameter name → `Int`, `Float`, `Bool`, `OneOf` or `ListOf`.

    Returns
    -------
    types.SimpleNamespace
        The validated values, in the order declared.

    Raises
    ------
    ParameterError
        One sentence with the parameter, its value and what is allowed; for an unknown name the
        nearest right one; for ``dataset`` also when the data cannot be had now.
    """
    caller = sys._getframe(1)
    for name in _assigned(namespace, set(declared), caller.f_code.co_filename, caller.f_lineno):
        if name not in declared:
            near = get_close_matches(name.lower(), declared, 1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(declared)}."
            raise ParameterError(f"{name} is not a parameter of this page: {hint}")
    for name, declaration in declared.items():
        if name not in namespace:
            raise ParameterError(f"{name} is missing: it has to be {declaration.allowed}.")
    values = {name: d.validate(name, namespace[name]) for name, d in declared.items()}
    if "dataset" in values:
        try:
            data.check_available(values["dataset"])
        except data.DataError as error:
            raise ParameterError(f"dataset is {values['dataset']!r}: {error}") from None
    return SimpleNamespace(**values)


def _assigned(namespace, declared, filename, lineno):
    """Names that the reader, papermill or the page set as parameters, in the order of assignment."""
    history = _cells(namespace, filename)
    if history:
        cells = [_parse(cell) for cell in history]
        names = [_targets(tree.body) for tree in cells]
        # the parameters cell as it was last run: a typo that was put right is history
        set_here = [declared & set(n) if _literals_only(c.body) else () for n, c in zip(names, cells, strict=True)]
        start = max((i for i, n in enumerate(set_here) if 2 * len(n) >= len(declared)), default=0)
        calls = (i for i, cell in enumerate(history) if i > start and _CALL.search(cell))
        end = next(calls, len(history))
        later = [i for i in range(end + 1, len(history)) if set_here[i]]
        found = [name for i in [*range(start, end), *later] for name in names[i]]
    else:  # a script: its annotated assignments, and all that stand before it imports the helpers
        body = [s for s in _parse("".join(linecache.getlines(filename))).body if s.lineno < lineno]
        imports = [s.lineno for s in body if isinstance(s, ast.ImportFrom) and s.module == "helpers"]
        first = min(imports, default=lineno)
        found = _targets([s for s in body if isinstance(s, ast.AnnAssign) or s.lineno < first])
    return [name for name in dict.fromkeys(found) if not name.startswith("_")]


def _cells(namespace, filename):
    """Sources of the cells run so far, the one that calls `check` last; empty in a script."""
    history = namespace.get("In")
    if isinstance(history, list) and history and _CALL.search(history[-1]):
        return history
    folder = os.path.dirname(filename)
    if "ipykernel_" not in folder:
        return []
    # nbval runs cells without history; the kernel's record for tracebacks has them in order, once each
    return ["".join(linecache.getlines(f)) for f in list(linecache.cache) if os.path.dirname(f) == folder]


def _parse(source):
    try:
        return ast.parse(source)
    except SyntaxError:  # a cell that failed, or one in another language
        return ast.Module([], [])


def _targets(body):
    """Names assigned by the top-level statements."""
    names = []
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            targets = getattr(statement, "targets", None) or [statement.target]
            names += [node.id for t in targets for node in ast.walk(t)
                      if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return names


def _literals_only(body):
    """Whether a cell does nothing but set names to written-out values, as a parameters cell does."""
    try:
        for statement in body:
            ast.literal_eval(statement.value)
    except (AttributeError, ValueError, TypeError):
        return False
    return True
