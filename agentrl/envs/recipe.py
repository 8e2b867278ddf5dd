"""What an environment is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from agentrl.envs import families
from agentrl.envs.base import Environment, Setting, ToolEnvironment
from agentrl.envs.tools import TOOLS
from agentrl.named import by_name


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What an environment is made from; plain data, so that another process can make it.

  Attributes:
    family: see `families.find`.
    tool: key of `TOOLS`, or the import path of a function of yours; "" for a family of `families.WORLDS`.
    setting: system message, examples and limits.
    tool_options: keyword arguments of what `tool` names.
  """

  family: str
  tool: str
  setting: Setting
  tool_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def environment(self) -> Environment:
    """A fresh one, for one trajectory."""
    module = families.load(self.family)
    if not self.tool:
      return module.environment(self.setting)
    make_tools = by_name(TOOLS, self.tool, kind="tool")
    return ToolEnvironment(make_tools(self.setting.limits, **self.tool_options), module.check, self.setting)
