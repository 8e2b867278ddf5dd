"""The config of a run from the settings that a config file gives. Config files start from here.

`agentrl config --explain` prints every key with its default and its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from agentrl.settings import defaults_of
from agentrl.training import config_values
from agentrl.training.config_keys import entry, set_section


def run_config(settings: Mapping[str, Any], *, where: str, base: ConfigDict | None = None) -> ConfigDict:
  """The config of a run: defaults, those of its algorithms and its strategy among them, and the settings over all.

  Args:
    settings: see `config_values.resolve`; every key must exist.
    where: the file that says so, for errors.
    base: another run's config to start from instead of the defaults.
  """
  start = base_config() if base is None else base
  return config_values.resolve(start, settings, where=where)


def base_config() -> ConfigDict:
  """Defaults of a run; `configs/*.py` override what they need."""
  from agentrl.training.build.sections import RunSettings  # imports JAX: a launcher that is asked for help need not

  config = ConfigDict(defaults_of(RunSettings))
  for key, section in config_values.SECTIONS_OF_MODULES.items():
    set_section(config, section.name, section.load(entry(config, key)).default_config())
  return config
