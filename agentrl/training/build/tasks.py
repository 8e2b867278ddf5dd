"""From the sections `task` and `hosting` to tasks and environments."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from agentrl import envs
from agentrl.envs import families, mixture
from agentrl.envs.hosting import WORKERS, Hosting
from agentrl.named import by_name, naming
from agentrl.settings import above, at_least, check_ranges, defaults_of, from_function, ranges_of, setting, settings_in
from agentrl.training.config_values import ConfigError, flatten, resolve

_OneFamily = from_function(
  envs.make,
  "OneFamily",
  ranges={
    "difficulty": at_least(0),
    "examples": at_least(0),
    "call_seconds": above(0),
    "max_output_chars": at_least(1),
  },
  given={"family": "arithmetic", "tool": "calculator", "options": {}, "tool_options": {}},
)


@dataclasses.dataclass(frozen=True)
class TaskSettings(_OneFamily):
  """What is asked."""

  mixture: Mapping[str, Any] = setting(
    {},
    'families by weight: {"sums": {"weight": 2.0}, "puzzles": {"family": "countdown"}}. An entry has "weight", 1 where '
    "it says none, and keys of this section, whose values here are its defaults",
  )


@dataclasses.dataclass(frozen=True)
class EntrySettings(_OneFamily):
  """An entry of a mixture."""

  weight: float = setting(1.0, "how often it is asked, against the other entries", above(0))


_KEY_OF_TASK = re.compile(r"(?<![\w.])task\.(?!mixture\b)")


def open_tasks(task: ConfigDict, hosting: ConfigDict, *, environment_seconds: float) -> envs.TaskSource:
  """Tasks and environments as the config has them; whoever is done with them closes them.

  Args:
    task: section of a config.
    hosting: section of a config.
    environment_seconds: that one environment call may take.

  Raises:
    ValueError: a wrong setting; names the section.
  """
  hosted = Hosting(**hosting, call_seconds=environment_seconds)
  by_name(WORKERS, hosted.backend, kind="hosting.backend")  # also where nothing is hosted
  settings = {**task.to_dict(), "mixture": whole_entries(task)}
  try:
    return mixture.make(**settings, hosting=hosted)
  except ValueError as error:
    raise ValueError(f"task: {error}") from error


def check_tasks(task: ConfigDict) -> None:
  """Checks families, tools, and their options, of every entry of a mixture or of the one family.

  Of a family whose package is not installed here only the name is checked: what options it has, its module says.

  Args:
    task: section of a config.

  Raises:
    ValueError: there is no such family, tool or option; names the key of the section, and the nearest.
    ModuleNotFoundError: there is no module at an import path.
  """
  alone = {"task": {name: value for name, value in task.to_dict().items() if name != "mixture"}}
  entries = {f"task.mixture.{name}": entry for name, entry in whole_entries(task).items()}
  for where, entry in (entries or alone).items():
    chosen = {name: entry[name] for name in ("family", "tool", "options", "tool_options", "oracle_tool")}
    with naming(where):
      here = not families.find(entry["family"]).extra
      with contextlib.nullcontext() if here else contextlib.suppress(ModuleNotFoundError):
        envs.check_settings(**chosen)


def whole_entries(task: ConfigDict) -> dict[str, dict[str, Any]]:
  """The settings of every entry of `task.mixture` by its name: what the entry says, and for the rest what `task` says.

  Args:
    task: section of a config.

  Raises:
    ConfigError: an entry has a key that `EntrySettings` lacks, and names the nearest; or a value of another type.
    ValueError: a number is outside its range.
  """
  common = defaults_of(EntrySettings) | {name: value for name, value in task.to_dict().items() if name != "mixture"}
  ranges = ranges_of(settings_in(EntrySettings))
  entries = {}
  for name, own in task.mixture.items():
    try:
      whole = resolve({"task": common}, {"task": own}, where=f"task.mixture.{name}").task
    except ConfigError as error:  # keys of an entry are those of `task`, and the user wrote them elsewhere
      raise ConfigError(_KEY_OF_TASK.sub(f"task.mixture.{name}.", str(error))) from error
    check_ranges(flatten(whole), ranges, section=f"task.mixture.{name}")
    entries[name] = whole.to_dict()
  return entries
