"""What a section of a config is: a frozen dataclass whose fields are settings, declared once, where they are read.

  @dataclasses.dataclass(frozen=True)
  class TrainSettings:
    steps: int = setting(100, "updates of a run", at_least(0))

Such a field says its default, what it means and which numbers it takes. From them come the defaults of a config
(`defaults_of`), what `agentrl config --explain` prints (`settings_in`), and the checks of numbers (`ranges_of`). A
field that is no `setting` is none of the config's: whoever builds the object gives it.

Imports nothing of ours and no JAX.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import itertools
import math
import re
import tokenize
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from ml_collections import ConfigDict

T = TypeVar("T")


class Range(NamedTuple):
  """An interval of finite numbers.

  Attributes:
    low: its lower end; infinite where it has none.
    high: its upper end; infinite where it has none.
    above_low: whether the lower end itself lies outside.
    below_high: whether the upper end itself lies outside.
    hint: what to tell whoever leaves it; may be empty.
  """

  low: float = -math.inf
  high: float = math.inf
  above_low: bool = False
  below_high: bool = False
  hint: str = ""

  def holds(self, value: float) -> bool:
    """Whether the number lies inside; NaN and infinity never do."""
    over = value > self.low if self.above_low else value >= self.low
    under = value < self.high if self.below_high else value <= self.high
    return math.isfinite(value) and over and under

  def __str__(self) -> str:
    low = f"{'above' if self.above_low else 'at least'} {self.low:.15g}" if math.isfinite(self.low) else ""
    high = f"{'below' if self.below_high else 'at most'} {self.high:.15g}" if math.isfinite(self.high) else ""
    return " and ".join(part for part in (low, high) if part) or "a finite number"


FINITE = Range()


def at_least(low: float, hint: str = "") -> Range:
  """From `low` on."""
  return Range(low, hint=hint)


def above(low: float, hint: str = "") -> Range:
  """Everything that exceeds `low`."""
  return Range(low, above_low=True, hint=hint)


def between(low: float, high: float, *, above_low: bool = False, below_high: bool = False) -> Range:
  """From `low` to `high`; either end may be left out."""
  return Range(low, high, above_low, below_high)


class Setting(NamedTuple):
  """One key of a config.

  Attributes:
    key: dotted.
    default: a JSON value; a mapping for a section whose keys are free.
    told: what it means.
    allowed: the numbers that it takes; None where it is no number.
  """

  key: str
  default: Any
  told: str
  allowed: Range | None = None


def setting(default: Any, told: str, allowed: Range | None = None) -> Any:
  """A field of a dataclass that is a key of a config.

  Args:
    default: a JSON value; a mapping makes a section whose keys are free.
    told: what it means.
    allowed: the numbers that it takes.

  Raises:
    TypeError: a number without a range.
  """
  if isinstance(default, int | float) and not isinstance(default, bool) and allowed is None:
    raise TypeError(f"the setting {told!r} is a number: say which ones it takes, FINITE where any does")
  metadata = {"told": told, "allowed": allowed}
  if isinstance(default, Mapping):
    return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


def section(kind: type) -> Any:
  """A field of a dataclass that is a section of a config: the settings of another dataclass."""
  return dataclasses.field(default_factory=kind, metadata={"section": kind})


def settings_in(kind: type, prefix: str = "") -> list[Setting]:
  """The settings of a dataclass and of its sections, in the order of the fields; `prefix` comes before every key."""
  found = []
  for field in dataclasses.fields(kind):
    if "section" in field.metadata:
      found += settings_in(field.metadata["section"], f"{prefix}{field.name}.")
    elif "told" in field.metadata:
      found.append(Setting(f"{prefix}{field.name}", _default(field), field.metadata["told"], field.metadata["allowed"]))
  return found


def defaults_of(kind: type) -> dict[str, Any]:
  """The defaults of a dataclass's settings, nested as its sections are."""
  values = {}
  for field in dataclasses.fields(kind):
    if "section" in field.metadata:
      values[field.name] = defaults_of(field.metadata["section"])
    elif "told" in field.metadata:
      values[field.name] = _default(field)
  return values


def ranges_of(settings: Collection[Setting]) -> dict[str, Range]:
  """The ranges of those that are numbers, by key."""
  return {setting.key: setting.allowed for setting in settings if setting.allowed is not None}


def from_function(
  function: Callable[..., Any], name: str, *, ranges: Mapping[str, Range], given: Mapping[str, Any]
) -> type:
  """The section that a function reads: its keys are arguments of the function, which stay where they are declared.

  Args:
    function: its signature gives the defaults, and `Args:` of its docstring says what the arguments mean.
    name: of the dataclass.
    ranges: of the arguments that are numbers.
    given: defaults of arguments that have none in the signature, or None there. Of the others every one with a number,
      a string or a boolean as default is a key.
  """
  parameters = inspect.signature(function).parameters.values()
  defaults = dict(given)
  for parameter in parameters:
    if isinstance(parameter.default, bool | int | float | str):
      defaults.setdefault(parameter.name, parameter.default)
  told = _told_by(function)
  fields = [(key, type(default), setting(default, told[key], ranges.get(key))) for key, default in defaults.items()]
  return dataclasses.make_dataclass(name, fields, frozen=True)


def check_ranges(settings: Mapping[str, Any], ranges: Mapping[str, Range], *, section: str = "") -> None:
  """Raises ValueError for the first number outside its range; names key, value and what is allowed.

  Args:
    settings: values by dotted key. A number whose key has no range must be finite; what is no number may be anything.
    ranges: by the same keys; those that `settings` lacks are not looked at.
    section: of the config that the keys stand in, for the message.
  """
  for key, value in settings.items():
    if isinstance(value, bool) or not isinstance(value, int | float):
      continue
    allowed = ranges.get(key, FINITE)
    if not allowed.holds(value):
      name = f"{section}.{key}" if section else key
      raise ValueError(f"{name}={value} must be {allowed}" + (f": {allowed.hint}" if allowed.hint else ""))


def check_fields(instance: Any, *, section: str) -> None:
  """`check_ranges` of a dataclass's own settings, for its `__post_init__`."""
  settings = settings_in(type(instance))
  check_ranges(
    {s.key: getattr(instance, s.key) for s in settings if "." not in s.key}, ranges_of(settings), section=section
  )


class DefaultsOf:
  """A module's `default_config` whose keys are the settings of a dataclass: called, it gives their defaults.

  Args:
    kind: see `setting`, and `from_function` for the settings of a function.
  """

  def __init__(self, kind: type):
    self.settings = settings_in(kind)

  def __call__(self) -> ConfigDict:
    return ConfigDict({setting.key: setting.default for setting in self.settings})


def told_of(default_config: Callable[[], ConfigDict]) -> dict[str, str]:
  """What the keys of a module's `default_config` mean, by dotted key: its dataclass says it, or the comments in it."""
  if isinstance(default_config, DefaultsOf):
    return {setting.key: setting.told for setting in default_config.settings}
  return comments_in(default_config)


def _default(field: dataclasses.Field) -> Any:
  return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _told_by(function: Callable[..., Any]) -> dict[str, str]:
  """What the docstring of a function says of its arguments, by name, in one line each."""
  told, name = {}, ""
  for line in (inspect.getdoc(function) or "").partition("Args:\n")[2].splitlines():
    if not line.startswith("  "):
      break
    if argument := re.match(r"  (\w+): (.*)", line):
      name, told[argument[1]] = argument[1], argument[2]
    else:
      told[name] += f" {line.strip()}"
  return told


def comments_in(function: Callable[..., Any]) -> dict[str, str]:
  """What the comments in the source of a `default_config()` say of its keys, by dotted key.

  A comment belongs to the key on its line; one that has lines to itself, to the key below it.
  """
  told, path, above_key, key = {}, [], [], ""
  tokens = list(tokenize.generate_tokens(io.StringIO(inspect.getsource(function)).readline))
  for token, after in itertools.pairwise(tokens):
    if token.type == tokenize.STRING and after.string == ":":
      key = ".".join([*path, ast.literal_eval(token.string)])
      told[key] = " ".join(above_key)
      above_key = []
    elif token.type == tokenize.COMMENT and token.string.startswith("# fmt:"):
      continue
    elif token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
      above_key.append(token.string.lstrip("# "))
    elif token.type == tokenize.COMMENT and key:
      told[key] = f"{told[key]} {token.string.lstrip('# ')}".strip()
    elif token.string == "{" and key:
      path.append(key.rpartition(".")[2])
    elif token.string == "}" and path:
      path.pop()
  return told
