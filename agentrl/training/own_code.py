"""What the modules of one's own that a config names say: a hash of each, so that a run which goes on notices a change.

Ours are told by the commit in run.json. A module that such a module imports is not looked at, unless the config names
it too.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from agentrl.algorithms import ALGORITHMS
from agentrl.envs.families import FAMILIES
from agentrl.named import by_path
from agentrl.rollout.strategies import STRATEGIES
from agentrl.training.config import flatten

_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")
# Keys whose value is the import path of a module where it is no name of ours.
_MODULES = {
  "algorithm": ALGORITHMS,
  "cold_start.algorithm": ALGORITHMS,
  "rollout.strategy": STRATEGIES,
  "task.family": FAMILIES,
}
_DIGITS = 16


def hashes(config: ConfigDict) -> dict[str, str]:
  """A hash of the source of each module that a config names and that is none of ours, by its import path."""
  found = {}
  for name in sorted(_modules(config)):
    file = _source(name)
    if name.partition(".")[0] != "agentrl" and file is not None:
      found[name] = hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]
  return found


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


def _source(name: str) -> pathlib.Path | None:
  """The file of a module; None where there is no such module, or it has none."""
  try:
    spec = importlib.util.find_spec(name)
  except (ImportError, ValueError):
    return None
  return pathlib.Path(spec.origin) if spec is not None and spec.has_location else None
