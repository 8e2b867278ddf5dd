"""Dotted keys of a config: what stands at one, and what to tell whoever gives one that there is not."""

import difflib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict


def entry(root: ConfigDict, key: str) -> Any:
  """What stands at a dotted key; the root itself where the key is empty."""
  for part in filter(None, key.split(".")):
    root = root[part]
  return root


def has_section(root: ConfigDict, key: str) -> bool:
  """Whether a section stands at a dotted key."""
  name, _, rest = key.partition(".")
  inner = root.get(name)
  return isinstance(inner, ConfigDict) and (not rest or has_section(inner, rest))


def set_section(config: ConfigDict, key: str, section: ConfigDict) -> None:
  """Puts a section in the place of the one at a dotted key."""
  *parents, name = key.split(".")
  entry(config, ".".join(parents))[name] = section


def unknown_key(key: str, root: ConfigDict, where: str) -> str:
  """What to tell whoever gave a key that there is not: the nearest one. `where` is the file that gave it."""
  near = _nearest_key(key, root)
  hint = f"the nearest valid one is {near!r}" if near else f"there are {', '.join(root.keys())}"
  section = entry(root, near) if key.startswith(f"{near}.") else None
  if isinstance(section, ConfigDict):  # nothing in it is like the key
    hint = f"{near!r} has {', '.join(section)}"
  return f"{where}: unknown config key {key!r}; {hint}"


def is_section(key: str, section: ConfigDict, where: str) -> str:
  """What to tell whoever gave a value for a section. `where` is the file that gave it."""
  names = ", ".join(section.keys()) or "(it has none)"
  return f"{where}: {key} is a section; set one of its keys instead: {names}"


def nearest(word: str, candidates: Sequence[str], cutoff: float = 0.6) -> str:
  """The candidate most like a word; empty where none is as like it as `cutoff` asks, from 0 to 1."""
  close = difflib.get_close_matches(word, candidates, n=1, cutoff=cutoff)
  return close[0] if close else ""


def _nearest_key(key: str, root: ConfigDict) -> str:
  """The known key most like this one: the same name elsewhere, a sibling, any; empty where none is like it."""
  known = _all_keys(root)
  name = key.rpartition(".")[2]
  same_name = [k for k in known if k.rpartition(".")[2] == name]
  if same_name:
    return nearest(key, same_name, cutoff=0.0)
  siblings = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0]}
  close = difflib.get_close_matches(name, siblings, n=1)
  return siblings[close[0]] if close else nearest(key, known)


def _all_keys(section: ConfigDict, prefix: str = "") -> list[str]:
  keys = []
  for name, value in section.items():
    keys.append(f"{prefix}{name}")
    if isinstance(value, ConfigDict):
      keys += _all_keys(value, f"{prefix}{name}.")
  return keys
