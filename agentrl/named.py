"""Choosing a function by the name that a config gives: an entry of a table, or the import path of one of yours.

Every choice of a run is made here, once, where its config is read. A function's keyword-only arguments with their
defaults are its settings: `settings_of` gives them, and `with_settings` puts values into them.

  by_name(POLICY_LOSSES, "ppo", kind="policy loss")                       ours
  by_name(POLICY_LOSSES, "my_project.losses:mine", kind="policy loss")    yours: a function of a module on PYTHONPATH
  module_by_name(ALGORITHMS, "my_project.mine", kind="algorithm")         yours: a module

Imports nothing of ours and no JAX.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.util
import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "None": type(None)}  # as annotations write them


def by_name(table: Mapping[str, T], name: str, *, kind: str, takes: Sequence[str] | None = None) -> T:
  """The entry of `table` called `name`, or what an import path "module:attribute" leads to.

  Args:
    table: such as `POLICY_LOSSES`.
    name: the name that the config gives.
    kind: what the table holds, for the error: "policy loss".
    takes: what the entries are called with, in order, where they are functions, see `check_takes`; None: anything.

  Raises:
    ValueError: no such name, or no such attribute of the module; says the nearest one. Or `check_takes` refuses it.
    ModuleNotFoundError: there is no such module; says where it is looked for.
  """
  if name in table:
    found = table[name]
  elif ":" in str(name):
    found = _attribute(name, kind)
  else:
    raise _unknown(table, name, kind, "module:function")
  if takes is not None:
    check_takes(found, takes, named=f"the {kind} {name!r}")
  return found


def check_takes(function: Any, due: Sequence[str], *, named: str) -> None:
  """Checks that a function can be called with these positional arguments, before anybody does.

  Args:
    function: whoever wrote it may call its arguments otherwise; one that is called as another of `due` is misplaced.
    due: what it is called with, in order; its settings come by keyword.
    named: the function, for the error.

  Raises:
    ValueError: it is no function, or takes more, fewer, or the same in another order; says what it takes and what it
      is called with.
  """
  if not callable(function):
    raise ValueError(f"{named} must be a function, not {type_told(function)}")
  try:
    parameters = inspect.signature(function).parameters.values()
  except ValueError:  # some functions that are written in C have none to look at
    return
  own = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
  needed = sum(p.default is p.empty for p in own)
  most = math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(own)
  misplaced = any(p.name in due and p.name != here for p, here in zip(own, due, strict=False))
  if needed > len(due) or most < len(due) or misplaced:
    takes = ", ".join(p.name for p in own) or "no positional argument"
    raise ValueError(f"{named} takes ({takes}), and is called with ({', '.join(due) or 'settings alone'})")


def module_by_name(
  table: Mapping[str, str] | Collection[str], name: str, *, kind: str, package: str = "", needs: Collection[str] = ()
) -> ModuleType:
  """The module called `name` in `table`, or the one that an import path leads to.

  Args:
    table: names of modules, and of a mapping the import path of each.
    name: the name that the config gives; an import path has a dot, or is a module of its own.
    kind: what the modules are, for the error: "algorithm".
    package: of the modules of a table without import paths.
    needs: attributes that such a module must have.

  Raises:
    ValueError: no such name; says the nearest one and lists all. Or the module lacks something that it needs.
    ModuleNotFoundError: there is no such module; says where it is looked for.
  """
  if name in table:
    return importlib.import_module(table[name] if isinstance(table, Mapping) else f"{package}.{name}")
  if "." not in str(name) and (not str(name).isidentifier() or importlib.util.find_spec(name) is None):
    raise _unknown(table, name, kind, "module")
  module = own_module(name, kind=kind)
  lacking = [attribute for attribute in needs if attribute not in vars(module)]
  if lacking:
    raise ValueError(f"the module {name!r} is no {kind}: it lacks {', '.join(lacking)}")
  return module


def by_path(section: Mapping[str, T]) -> dict[str, T]:
  """The entries of a section by name, import paths as they are written: a config keeps "/" for their dots."""
  return {name.replace("/", ".") if ":" in name else name: value for name, value in section.items()}


def check_name(known: Collection[str], name: str, *, kind: str) -> None:
  """Raises ValueError where `name` is not one of the known ones, as `by_name` does; import paths are none."""
  if name not in known:
    raise _unknown(known, name, kind, "")


def own_module(path: str, *, kind: str) -> ModuleType:
  """The module at an import path that a config gives.

  Raises:
    ModuleNotFoundError: there is none; says where it is looked for.
  """
  try:
    return importlib.import_module(path)
  except ModuleNotFoundError as error:
    if error.name is None or not f"{path}.".startswith(f"{error.name}."):
      raise  # something that the module itself imports
    raise ModuleNotFoundError(
      f"there is no module {error.name!r} for the {kind} {path!r}: is the folder that holds it on PYTHONPATH? "
      "(PYTHONPATH=. before the command for this folder)",
      name=error.name,
    ) from error


@contextlib.contextmanager
def naming(key: str) -> Iterator[None]:
  """A ValueError inside says which key, or section, of the config is wrong."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{key}: {error}") from error


@contextlib.contextmanager
def noting(whose: str) -> Iterator[None]:
  """An error inside, of whatever kind, has a note that says whose code raised it."""
  try:
    yield
  except Exception as error:
    error.add_note(whose)
    raise


def settings_of(function: Callable[..., Any]) -> dict[str, Any]:
  """The settings of a function: its keyword-only arguments that have a default, by name."""
  parameters = inspect.signature(function).parameters.values()
  return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


def required_of(function: Callable[..., Any]) -> list[str]:
  """Names of the settings that a function must be given: its keyword-only arguments without a default."""
  parameters = inspect.signature(function).parameters.values()
  return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def with_settings(
  function: Callable[..., T], settings: Mapping[str, Any], *, section: str, called: str = ""
) -> Callable[..., T]:
  """The function with keyword arguments from a section of a config.

  Args:
    section: dotted key of the section, for the error.
    called: how the config calls the function, for the error; empty: as it calls itself.

  Raises:
    ValueError: it has no such keyword; names the nearest, and those it has. Or one that it needs is missing, or a value
      is of another type than the annotation or the default says; where neither says one, any is welcome.
  """
  parameters = inspect.signature(function).parameters
  keywords = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
  known, named = [p.name for p in keywords], called or getattr(function, "__name__", repr(function))
  for name in settings:
    if name in parameters and name not in known:
      raise ValueError(
        f"{section}.{name}: {name!r} is no setting of {named}, since it is no keyword-only argument; settings stand "
        f"behind a `*`: def {named}(..., *, {name}=...)"
      )
    if name not in known:
      near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
      hint = f"did you mean {near[0]!r}? " if near else ""
      raise ValueError(f"{section}.{name}: {hint}{named} takes {', '.join(known) or 'no settings'}")
  if missing := [p.name for p in keywords if p.default is p.empty and p.name not in settings]:
    raise ValueError(f"{section} lacks {', '.join(missing)}, which {named} needs")
  types = {p.name: _types_of(p) for p in keywords}
  return functools.partial(function, **{
    name: _of_type(value, types[name], f"{section}.{name}", named) for name, value in settings.items()
  })  # fmt: skip


def _types_of(parameter: inspect.Parameter) -> set[type]:
  """The types that an argument takes, of numbers, texts and booleans; empty where neither it nor its default says."""
  if parameter.annotation is not parameter.empty:
    written = inspect.formatannotation(parameter.annotation).strip("'\"").split("|")
    if all(name.strip() in _TYPES for name in written):
      return {_TYPES[name.strip()] for name in written}
  return {type(parameter.default)} & {bool, int, float, str}


def _of_type(value: Any, types: set[type], key: str, function: str) -> Any:
  """The value, an integer as a float where a float is due; raises ValueError where it is of none of the types."""
  if not types or type(value) in types:
    return value
  if float in types and type(value) is int:
    return float(value)
  due = " or ".join(sorted(kind.__name__ for kind in types)).replace("NoneType", "None")
  raise ValueError(f"{key} of {function} must be of type {due}, not {type(value).__name__}: {value!r}")


def type_told(value: Any) -> str:
  """What came where something else was due, in words that no value can break: "None", "a list"."""
  return "None" if value is None else f"a {type(value).__name__}"


def _attribute(path: str, kind: str) -> Any:
  """What stands at "module:attribute"."""
  where, _, attribute = path.partition(":")
  module = own_module(where, kind=kind)
  if attribute not in vars(module):
    near = difflib.get_close_matches(attribute, vars(module), n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"the module {where!r} has no {attribute!r}, which the {kind} {path!r} names{hint}")
  return vars(module)[attribute]


def _unknown(known: Collection[str], name: str, kind: str, form: str) -> ValueError:
  near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
  hint = f"did you mean {near[0]!r}? " if near else ""
  own = f"; one of yours is written as its import path, {form}" if form else ""
  return ValueError(f"no {kind} is called {name!r}: {hint}known: {', '.join(sorted(known))}{own}")
