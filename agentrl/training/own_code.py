"""What the modules of one's own that a config names say: a hash of each, so that a run which goes on notices a change.

Ours are told by the commit in run.json. What such a module imports is looked at too, as far as it is of the same
top-level package or lies beside it, in the folder that holds the package: code that changes with it. Imports are read
from the source; a module that is imported by a name made at run time is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

from ml_collections import ConfigDict

from agentrl.algorithms import ALGORITHMS
from agentrl.envs.families import FAMILIES
from agentrl.named import by_path
from agentrl.rollout.strategies import STRATEGIES
from agentrl.training.config_values import flatten

_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")
# Keys whose value is the import path of a module where it is no name of ours.
_MODULES = {
  "algorithm": ALGORITHMS,
  "cold_start.algorithm": ALGORITHMS,
  "tuning.algorithm": ALGORITHMS,
  "rollout.strategy": STRATEGIES,
  "task.family": FAMILIES,
}
_DIGITS = 16
_INSTALLED = {"site-packages", "dist-packages"}


def hashes(config: ConfigDict) -> dict[str, str]:
  """A hash of the source of each module that a config names and that is none of ours, by its import path.

  So too of what these import, as far as it belongs to them; see the head of this file.
  """
  found: dict[str, str] = {}
  waiting = list(_modules(config))
  while waiting:
    name = waiting.pop()
    file = None if name in found or _top(name) == "agentrl" else _source(name)
    if file is not None:
      content = file.read_bytes()
      found[name] = hashlib.sha256(content).hexdigest()[:_DIGITS]
      waiting += [other for other in _imported(name, file, content) if _belongs(other, name)]
  return dict(sorted(found.items()))


def changed(starts: Sequence[Mapping[str, Any]], now: Mapping[str, str]) -> list[str]:
  """The modules whose source was another one at some start of a run; runs of before hashes were kept have none.

  Args:
    starts: of run.json. now: `hashes` of the same config.
  """
  before = [start["modules"] for start in starts if "modules" in start]
  return sorted({name for seen in before for name in seen if seen[name] != now.get(name)})


def _modules(config: ConfigDict) -> Iterator[str]:
  """What may be the import path of a module: as a value, or before a function in a value or the name of an entry."""
  for key, value in flatten(config).items():
    kind = _family_key(key)
    if kind in _MODULES and value not in _MODULES[kind]:
      yield value
  for text in _texts(config.to_dict()):
    if function := _FUNCTION.fullmatch(text):
      yield function[1]


def _family_key(key: str) -> str:
  """The key itself, of the family of an entry of a mixture that of a family alone."""
  return "task.family" if re.fullmatch(r"task\.mixture\..+\.family", key) else key


def _texts(value: Any) -> Iterator[str]:
  """All texts in a config: values, and names of entries as import paths are written."""
  if isinstance(value, str):
    yield value
  elif isinstance(value, Mapping):
    for name, inner in by_path(value).items():
      yield name
      yield from _texts(inner)
  elif isinstance(value, list | tuple):
    for inner in value:
      yield from _texts(inner)


def _imported(name: str, file: pathlib.Path, content: bytes) -> Iterator[str]:
  """What a module may import: the packages around it, and what its import statements name, functions among them."""
  yield from _packages_around(name)
  try:
    nodes = list(ast.walk(ast.parse(content))) if file.suffix == ".py" else []
  except (SyntaxError, ValueError):  # whoever imports it is told
    nodes = []
  package = name if file.name == "__init__.py" else name.rpartition(".")[0]
  for node in nodes:
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield alias.name
        yield from _packages_around(alias.name)
    elif isinstance(node, ast.ImportFrom):
      whole = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
      base = ".".join([*whole, *([node.module] if node.module else [])])
      yield from (base, *_packages_around(base), *(f"{base}.{alias.name}" for alias in node.names))


def _packages_around(name: str) -> Iterator[str]:
  """The packages that are imported before a module is."""
  while name := name.rpartition(".")[0]:
    yield name


def _belongs(other: str, name: str) -> bool:
  """Whether a module is of the same top-level package as another one, or of one beside it that nobody installed."""
  if not other or _top(other) == _top(name):
    return bool(other)
  home = _home(name)
  return home is not None and home == _home(other) and not _INSTALLED & set(home.parts)


def _top(name: str) -> str:
  return name.partition(".")[0]


def _home(name: str) -> pathlib.Path | None:
  """The folder that holds the top-level package, or module, of a module; imports nothing."""
  spec = _spec(_top(name))
  if spec is None:
    return None
  folders = list(spec.submodule_search_locations or ())
  if folders:
    return pathlib.Path(folders[0]).parent
  return pathlib.Path(spec.origin).parent if spec.has_location else None


def _source(name: str) -> pathlib.Path | None:
  """The file of a module; None where there is no such module, or it has none."""
  spec = _spec(name)
  return pathlib.Path(spec.origin) if spec is not None and spec.has_location else None


def _spec(name: str) -> ModuleSpec | None:
  try:
    return importlib.util.find_spec(name)
  except (ImportError, ValueError):
    return None
