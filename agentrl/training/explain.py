"""Prints a config, or what its keys mean.

agentrl config configs/quickstart.py --config.seed=3        the config with every key, as JSON, once that it is checked
agentrl config --explain                                    every key: its default, the numbers it takes, its meaning
agentrl config --explain rollout                            the keys of a section, or one key
agentrl config --explain algo --config.algorithm=ppo        the settings of an algorithm
agentrl config --explain cold_start.algo --config.cold_start.algorithm=ppo      those of the cold start's
agentrl config --explain strategy --config.rollout.strategy=branching      those of a strategy
agentrl config configs/archer_sixteen.py --explain algo     those of a config, with the values that it gives them
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from agentrl.command_line import run_command
from agentrl.credit import CREDIT
from agentrl.named import by_name, by_path, required_of, settings_of
from agentrl.ops.corrections import CORRECTIONS
from agentrl.ops.losses import POLICY_LOSSES
from agentrl.ops.reduce import REDUCTIONS
from agentrl.settings import Range, Setting, settings_in, told_of
from agentrl.training import config as config_lib
from agentrl.training import config_values
from agentrl.training.build.choices import check_choices
from agentrl.training.build.sections import RunSettings
from agentrl.training.command_line import settings_of as settings_of_file
from agentrl.training.config_keys import entry, unknown_key
from agentrl.training.curriculum import CURRICULA
from agentrl.training.defaults import base_config
from agentrl.training.sources import SOURCES, SourceKind

# Sections of keyword arguments: the key that names the function, and where it is found.
CHOSEN = {
  "curriculum.options": ("curriculum.name", CURRICULA),
  "train.source_options": ("train.source", SOURCES),
}
CHOSEN_BY_ALGO = {
  "loss": ("policy_loss", POLICY_LOSSES),
  "credit_options": ("credit", CREDIT),
  "correction_options": ("correction", CORRECTIONS),
  "reduction_options": ("reduction", REDUCTIONS),
}
_WIDTH = 110  # characters of a line of meaning


def main(argv: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  overrides, rest = config_values.split_argv(argv)
  parser = argparse.ArgumentParser(
    prog="agentrl config", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("file", nargs="?", help="a file under configs/; the defaults unless given")
  parser.add_argument(
    "--explain", nargs="?", const="", metavar="SECTION", help="say what the keys mean, of one section or of all"
  )
  parser.add_argument("--smoke", action="store_true", help="the config's variant of two steps")
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(rest)
  return run_command(
    lambda: run(arguments, overrides), traceback=arguments.traceback, interrupted="Nothing was written."
  )


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
  """Prints what the arguments ask for."""
  if arguments.file is None:
    config = config_values.override(base_config(), overrides, where="the defaults")
  else:
    config = config_lib.load(arguments.file, overrides, smoke=arguments.smoke)
  if arguments.explain is None:
    if arguments.file is not None:
      with settings_of_file(arguments.file):
        check_choices(config)
    print(json.dumps(_with_dots(config.to_dict()), indent=2))
  else:
    print("\n".join(explained(config, arguments.explain)))


def _with_dots(section: Mapping[str, Any]) -> dict[str, Any]:
  """The section, and those within it, with import paths among the keys as they are written."""
  inner = {key: _with_dots(value) if isinstance(value, Mapping) else value for key, value in section.items()}
  return by_path(inner)


def explained(config: ConfigDict, section: str = "") -> list[str]:
  """Lines about the keys of a section.

  Args:
    config: whose values are shown, and whose algorithm and strategy the keys of `algo` and `strategy` belong to.
    section: dotted key of a section or of a single key; empty: everything.

  Raises:
    ConfigError: there is no such key; names the nearest.
  """
  settings = settings_of_run(config)
  chosen = [s for s in settings if not section or f"{s.key}.".startswith(f"{section}.")]
  if not chosen:
    raise config_values.ConfigError(unknown_key(section, config, "--explain"))
  lines = []
  for setting in chosen:
    lines.append(_line(setting, entry(config, setting.key)))
    lines += _wrapped(setting.told)
    lines += _wrapped(_taken(config, setting.key))
  return lines


def _wrapped(text: str) -> list[str]:
  return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")


def _taken(config: ConfigDict, key: str) -> str:
  """What a section of keyword arguments may hold: the settings of the function that the config chooses."""
  prefix, _, last = key.rpartition(".")
  by_algo = CHOSEN_BY_ALGO if prefix in config_values.ALGOS else {}
  name, table = CHOSEN.get(key) or by_algo.get(last) or ("", {})
  if not name:
    return ""
  name = name if key in CHOSEN else f"{prefix}.{name}"
  function = entry(config, name)
  chosen = by_name(table, function, kind=name)
  made_by = chosen.make if isinstance(chosen, SourceKind) else chosen
  settings = [f"{key} (required)" for key in required_of(made_by)]
  settings += [f"{key}={_plain(default)!r}" for key, default in settings_of(made_by).items()]
  return f"{name}={function!r} takes " + (", ".join(settings) or "no settings")


def _plain(default: Any) -> Any:
  """A default as a config writes it."""
  return dict(default) if isinstance(default, Mapping) else default


def settings_of_run(config: ConfigDict) -> list[Setting]:
  """Every setting of a config, those of its algorithm and of its strategy among them."""
  own = {section.name: _settings_of(section, name) for section, name in _modules_of(config)}
  return [s for setting in settings_in(RunSettings) for s in own.get(setting.key) or [setting]]


def _modules_of(config: ConfigDict) -> list[tuple[config_values.SectionOfModule, str]]:
  """The sections whose settings are a module's, and the name of each module."""
  return [(section, entry(config, key)) for key, section in config_values.SECTIONS_OF_MODULES.items()]


def _settings_of(section: config_values.SectionOfModule, name: str) -> list[Setting]:
  """The settings of a module."""
  module = section.load(name)
  told = told_of(module.default_config)
  return [
    Setting(f"{section.name}.{key}", default, told.get(key, ""), module.RANGES.get(key))
    for key, default in config_values.flatten(module.default_config()).items()
  ]


def _line(setting: Setting, value: Any) -> str:
  """Such as: rollout.groups = 16   at least 1; default 8."""
  value = value.to_dict() if isinstance(value, ConfigDict) else value
  notes = [str(setting.allowed)] if isinstance(setting.allowed, Range) else []
  notes += [f"default {setting.default!r}"] if value != setting.default else []
  return f"{setting.key} = {value!r}" + (f"   {'; '.join(notes)}" if notes else "")
