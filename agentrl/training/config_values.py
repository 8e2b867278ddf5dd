"""Configs: override, check, compare, and write as JSON.

Sequences become tuples, so that a locked config cannot change and equals itself after a trip through JSON.
"""

import ast
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict, config_dict

from agentrl import algorithms
from agentrl.named import naming
from agentrl.rollout import strategies
from agentrl.training.config_keys import has_section, is_section, set_section, unknown_key

PREFIX = "--config."
ALGOS = ("algo", "cold_start.algo", "tuning.algo")  # sections with the settings of an algorithm
# Keyword arguments and weights by name: any key is welcome in them, also where a config has set others.
OPEN_SECTIONS = (
  "task.options", "task.tool_options", "task.mixture", "curriculum.options", "train.source_options", "reward",
  "reward_options", "filter_options", "cold_start.mix", "tuning.mix",
  *(f"{algo}.{name}" for algo in ALGOS
    for name in ("terms", "credit_options", "loss", "correction_options", "reduction_options", "masked_options")),
)  # fmt: skip
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # of a function
_WRITTEN = {bool: "true", int: "3", float: "0.5 or 1e-3", tuple: "\"('a', 'b')\""}  # in an override, by type


class SectionOfModule(NamedTuple):
  """A section that holds the settings of a module which another key names.

  Attributes:
    name: dotted key of the section.
    load: loads a module by its name.
  """

  name: str
  load: Callable[[str], ModuleType]


def _algorithm_of(stage: str, name: str) -> ModuleType:
  with naming(f"{stage}.algorithm"):
    return algorithms.load(name)


# By the key that names the module. Another module's settings would not fit: the section changes with the name.
SECTIONS_OF_MODULES = {
  "algorithm": SectionOfModule("algo", algorithms.load),
  "cold_start.algorithm": SectionOfModule("cold_start.algo", lambda name: _algorithm_of("cold_start", name)),
  "tuning.algorithm": SectionOfModule("tuning.algo", lambda name: _algorithm_of("tuning", name)),
  "rollout.strategy": SectionOfModule("strategy", strategies.load),
}

# By the key that chooses a function, the section with its settings, which would not fit another one either: where the
# choice changes, the section begins empty, and what is set in it is the new choice's.
SETTINGS_OF_CHOICES = {
  "task.family": "task.options",
  "task.tool": "task.tool_options",
  "curriculum.name": "curriculum.options", "train.source": "train.source_options",
  **{f"{algo}.{key}": f"{algo}.{section}" for algo in ALGOS
     for key, section in {"credit": "credit_options", "policy_loss": "loss", "correction": "correction_options",
                          "reduction": "reduction_options"}.items()},
}  # fmt: skip


class ConfigError(ValueError):
  """A config, or an override of it, is wrong; the message names the file, the key and what to write instead."""


class Difference(NamedTuple):
  """One key on which two configs differ; `old` or `new` is `ABSENT` where one of them lacks it."""

  key: str
  old: Any
  new: Any


ABSENT = "(absent)"


def override(config: ConfigDict, overrides: Sequence[str], *, where: str, sections: Sequence[str] = ()) -> ConfigDict:
  """Applies `--config.a.b=value` strings, see `load`; a new, locked `ConfigDict`.

  Keys that choose come first, whatever their order: what they choose brings its defaults, and the other keys set those.

  Args:
    where: what to call the config in an error. sections: those that may be changed; empty: all.

  Raises:
    ConfigError: a wrong override, or one of another section.
  """
  assignments = []
  for text in overrides:
    assignments.append(_split_assignment(text))
    key = assignments[-1][0]
    if sections and key.split(".")[0] not in sections:
      welcome = " and ".join(f"{PREFIX}{name}.*" for name in sections)
      raise ConfigError(f"{text} goes with --config; of a run, which has its own config, {welcome} may be changed")
  for key, value_text in _choices_first(assignments):
    config = resolve(config, {key: _parse(config, key, value_text, where)}, where=where)
  return config.lock()


def _choices_first(assignments: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
  """Assignments (key, text) in the order in which they apply; of several to a key that chooses, the last alone."""
  choosing = (*SECTIONS_OF_MODULES, *SETTINGS_OF_CHOICES)
  chosen = {key: text for key, text in assignments if key in choosing}
  first = [(key, chosen[key]) for key in choosing if key in chosen]
  return first + [(key, text) for key, text in assignments if key not in chosen]


def split_argv(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Splits a command line into config overrides (`--config.a=1` or `--config.a 1`) and everything else, in order."""
  overrides, rest, args = [], [], iter(argv)
  for arg in args:
    if not arg.startswith(PREFIX):
      rest.append(arg)
    elif "=" in arg:
      overrides.append(arg)
    else:
      overrides.append("=".join([arg, *itertools.islice(args, 1)]))
  return overrides, rest


def resolve(defaults: Mapping[str, Any], overrides: Mapping[str, Any], *, where: str) -> ConfigDict:
  """Lays `overrides` over `defaults`; every key must exist in the defaults, with a value of the same type.

  One rule for a config that is derived from another one, and for the command line:

  - a mapping for a section changes the keys that it names;
  - a mapping for one of `OPEN_SECTIONS` takes the place of all that is in it;
  - a dotted key changes the one entry that it leads to, {"task.options.seed": 3} in an open section too;
  - another `algorithm` puts that algorithm's defaults into `algo`, as another `cold_start.algorithm` does into
    `cold_start.algo` and another `tuning.algorithm` into `tuning.algo`, and another `rollout.strategy` that strategy's
    into `strategy`: the settings of one do not fit another;
  - another `algo.policy_loss`, or another choice of `SETTINGS_OF_CHOICES`, empties the section of its settings, so that
    those of the earlier choice do not pass to it: it has its defaults, and what `overrides` says beside the choice.

  An integer is welcome where the default is a float, anything where it is None, and any key in `OPEN_SECTIONS` and in
  a section that is empty in the defaults. A key that is the import path of a function, "my_project.rewards:mine", is
  kept with "/" for its dots, which part the keys of sections; `named.by_path` gives it back.

  Args:
    defaults: for example an algorithm's `default_config()`.
    overrides: mapping with some of the same keys, nested or dotted.
    where: what to call the source of the overrides in an error: a file or a section.

  Returns:
    A new, locked `ConfigDict`.

  Raises:
    ConfigError: an unknown key (the nearest known one is named) or a value of another type.
  """
  merged = ConfigDict(checked(defaults, where="the defaults"))
  known, leaves = flatten(merged), flatten(overrides)
  for key, section in SECTIONS_OF_MODULES.items():
    if key in known and leaves.get(key, known[key]) != known[key]:
      try:
        module = section.load(leaves[key])
      except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
      set_section(merged, section.name, module.default_config())
  for key, name in SETTINGS_OF_CHOICES.items():
    if has_section(merged, name) and key in known and leaves.get(key, known[key]) != known[key]:
      set_section(merged, name, ConfigDict())
  _merge(merged, overrides, root=merged, prefix="", where=where)
  return merged.lock()


def _kept(name: Any) -> Any:
  """How the name of an entry is kept: without the dots of an import path."""
  return name.replace(".", "/") if isinstance(name, str) and _IMPORT_PATH.fullmatch(name) else name


def to_json(config: Mapping[str, Any]) -> str:
  """The config as indented JSON."""
  return json.dumps(ConfigDict(config).to_dict(), indent=2, allow_nan=False) + "\n"


def from_json(text: str | bytes, *, where: str = "config.json") -> ConfigDict:
  """Inverse of `to_json`; locked.

  Args:
    where: the file, for errors.

  Raises:
    ConfigError: it is no config.
  """
  try:
    values = json.loads(text)
  except ValueError as error:
    raise ConfigError(f"{where} is damaged, it holds no JSON ({error}): put it back from a copy") from error
  if not isinstance(values, dict):
    raise ConfigError(f"{where} is damaged, it holds no config: put it back from a copy")
  return checked(values, where=where).lock()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
  """Keys whose values differ, in the order of `new`, then those that only `old` has."""
  old, new = flatten(old), flatten(new)
  keys = list(new) + [key for key in old if key not in new]
  pairs = [Difference(key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in keys]
  return [pair for pair in pairs if (pair.old, type(pair.old)) != (pair.new, type(pair.new))]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """`{"algo.loss.clip_high": 0.2, ...}`: leaves by dotted key; an empty section is a leaf."""
  leaves = {}
  for key, value in config.items():
    is_section = isinstance(value, Mapping | ConfigDict) and len(value) > 0
    value = dict(value) if isinstance(value, ConfigDict) and not len(value) else value
    leaves.update(flatten(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value})
  return leaves


# ---- reading ----------------------------------------------------------------------------------------------------


def checked(config: Mapping[str, Any], *, where: str, prefix: str = "") -> ConfigDict:
  """An unlocked copy whose leaves are JSON values, with tuples for sequences."""
  values = ConfigDict()
  for key, value in config.items():
    key = _kept(key)
    if not isinstance(key, str) or not key or "." in key:
      raise ConfigError(f"{where}: key {prefix}{key!r} must be a non-empty string without dots")
    values[key] = _checked_value(value, where=where, key=f"{prefix}{key}")
    declared = config.get_type(key) if isinstance(config, ConfigDict) else type(None)
    if value is None and declared is not type(None):
      values.update({key: config_dict.placeholder(declared)})
  return values


def _checked_value(value: Any, *, where: str, key: str) -> Any:
  if isinstance(value, Mapping | ConfigDict):
    return checked(value, where=where, prefix=f"{key}.")
  if isinstance(value, list | tuple):
    return tuple(_checked_value(v, where=where, key=f"{key}[{i}]") for i, v in enumerate(value))
  if isinstance(value, float) and not math.isfinite(value):
    raise ConfigError(f"{where}: {key} is {value}, which JSON cannot hold; use None for 'no limit'")
  if value is None or isinstance(value, bool | int | float | str):
    return value
  raise ConfigError(
    f"{where}: {key} is a {type(value).__name__}; a config holds only numbers, strings, booleans, "
    "None, sequences and sections"
  )


# ---- overriding -------------------------------------------------------------------------------------------------


def _merge(section: ConfigDict, overrides: Mapping[str, Any], *, root: ConfigDict, prefix: str, where: str) -> None:
  """Lays overrides over a section; see `resolve`."""
  takes_any = len(section) == 0 or _is_free(prefix)
  for name, value in overrides.items():
    name, rest = _parted(name, takes_any=takes_any)
    key = f"{prefix}{name}"
    if not takes_any and name not in section:
      raise ConfigError(unknown_key(f"{key}.{rest}" if rest else key, root, where))
    if rest:
      inner = _inner(section, name, f"{key}.{rest}", takes_any=takes_any, root=root, where=where)
      _merge(inner, {rest: value}, root=root, prefix=f"{key}.", where=where)
    elif takes_any:
      with section.ignore_type():
        section[name] = _checked_value(value, where=where, key=key)
    elif isinstance(section[name], ConfigDict):
      if not isinstance(value, Mapping | ConfigDict):
        raise ConfigError(is_section(key, section[name], where))
      if key in OPEN_SECTIONS:
        section[name] = ConfigDict()
      _merge(section[name], value, root=root, prefix=f"{key}.", where=where)
    else:
      coerced = _coerced(value, section[name], section.get_type(name), where=where, key=key)
      section[name] = _checked_value(coerced, where=where, key=key)


def _parted(name: str, *, takes_any: bool) -> tuple[str, str]:
  """The first name of a dotted key and what follows it; where any key is welcome, an import path is one name."""
  path = _IMPORT_PATH.match(name) if takes_any else None
  first, _, rest = (_kept(path[0]) + name[path.end() :] if path else name).partition(".")
  return first, rest


def _inner(section: ConfigDict, name: str, key: str, *, takes_any: bool, root: ConfigDict, where: str) -> ConfigDict:
  """The section that a dotted key leads through; made where any key is welcome."""
  if takes_any and not isinstance(section.get(name), ConfigDict):
    with section.ignore_type():
      section[name] = ConfigDict()
  if not isinstance(section[name], ConfigDict):
    raise ConfigError(unknown_key(key, root, where))
  return section[name]


def _is_free(prefix: str) -> bool:
  """Whether keys that begin so lie in one of `OPEN_SECTIONS`."""
  return any(prefix.startswith(f"{section}.") for section in OPEN_SECTIONS)


def _coerced(value: Any, default: Any, declared: type, *, where: str, key: str) -> Any:
  """`value` where its type is the declared one, with int -> float and list -> tuple."""
  if declared is type(None) or (value is None and default is None):
    return value
  if declared is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if declared is tuple and isinstance(value, list | tuple):
    return tuple(value)
  if type(value) is declared:
    return value
  raise ConfigError(
    f"{where}: {key} must be of type {declared.__name__} (default {default!r}), not {type(value).__name__} {value!r}"
  )


def _split_assignment(override: str) -> tuple[str, str]:
  key, equals, text = override.removeprefix(PREFIX).partition("=")
  if not equals or not key:
    raise ConfigError(f"override {override!r} is not of the form {PREFIX}section.key=value")
  return key, text


def _parse(config: ConfigDict, key: str, text: str, where: str) -> Any:
  """The value that `text` means for `key`: strings as they are, everything else as a Python (or JSON) literal."""
  if key in OPEN_SECTIONS:
    return _parse_section(key, text, where)
  section, *_, name = config, *key.split(".")
  for part in key.split(".")[:-1]:
    if part not in section and _is_free(key):
      section = ConfigDict()
      break
    if part not in section or not isinstance(section[part], ConfigDict):
      raise ConfigError(unknown_key(key, config, where))
    section = section[part]
  if len(section) and name not in section and not _is_free(key):
    raise ConfigError(unknown_key(key, config, where))
  declared = section.get_type(name) if name in section else type(None)
  if declared is ConfigDict:
    raise ConfigError(is_section(key, section[name], where))
  if declared is str and text != "None":
    return text
  try:
    return ast.literal_eval({"true": "True", "false": "False", "null": "None"}.get(text, text))
  except (ValueError, SyntaxError) as error:
    if declared is type(None):
      return text
    raise ConfigError(
      f"{where}: {key} must be of type {declared.__name__}, written as {_WRITTEN[declared]}, and {text!r} is not"
    ) from error


def _parse_section(key: str, text: str, where: str) -> Mapping[str, Any]:
  try:
    value = json.loads(text)
  except json.JSONDecodeError:
    value = None
  if not isinstance(value, Mapping):
    raise ConfigError(
      f"{where}: {key} is a section: set one of its keys, as {PREFIX}{key}.KEY=VALUE, or all of them, as "
      f"'{PREFIX}{key}={{\"KEY\": VALUE}}', not {text!r}"
    )
  return value
