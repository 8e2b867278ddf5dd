"""What is written down of a run's config and command: no credentials, see `envs/credentials.py`.

The run itself has them. Its folder, its report and its tracker get what is made here, and a run goes on under the same
config whatever the values were that are left out: a token may be changed meanwhile.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from agentrl.envs import credentials
from agentrl.training import config_values


def redacted_config(config: ConfigDict) -> ConfigDict:
  """The config without the credentials in its open sections, which go to tools, families and rewards; locked."""
  values = config.to_dict()
  for key in config_values.OPEN_SECTIONS:
    *parents, name = key.split(".")
    section: Any = values
    for parent in parents:
      section = section.get(parent, {})
    if name in section:
      section[name] = credentials.without(section[name])
  return config_values.from_json(config_values.to_json(values))


def differences_shown(old: ConfigDict, new: ConfigDict) -> list[config_values.Difference]:
  """What differs between two configs, as it may be shown: credentials count as equal, whatever their values are."""
  return config_values.differences(redacted_config(old), redacted_config(new))


def redacted_command(argv: Sequence[str]) -> list[str]:
  """A command line without the credentials in its overrides and flags."""
  shown = []
  for before, argument in zip(["", *argv], argv, strict=False):
    key, equals, text = argument.partition("=")
    if argument.startswith(config_values.PREFIX) and equals:
      shown.append(f"{key}={_redacted_value(key, text)}")
    elif before.startswith(config_values.PREFIX) and "=" not in before:
      shown.append(_redacted_value(before, argument))
    else:
      shown.append(credentials.without([before, argument])[1])
  return shown


def _redacted_value(key: str, text: str) -> str:
  """The text of an override; unchanged where it holds no credential."""
  names = key.removeprefix(config_values.PREFIX).split(".")
  value = _parsed(text)
  for name in reversed(names):  # as it stands in the config
    value = {name: value}
  if not any(f"{'.'.join(names)}.".startswith(f"{section}.") for section in config_values.OPEN_SECTIONS):
    return text
  kept = credentials.without(value)
  if kept == value:
    return text
  for name in names:
    kept = kept[name]
  return kept if isinstance(kept, str) else json.dumps(kept)


def _parsed(text: str) -> Any:
  for parse in (json.loads, ast.literal_eval):
    try:
      return parse(text)
    except (ValueError, SyntaxError):
      continue
  return text
