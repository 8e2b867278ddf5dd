"""The suites of AgentDojo, loaded without the clients of model services, which no episode needs.

The `__init__` of `agentdojo.agent_pipeline` imports the clients of five services. The suites need other modules of that
package, so its `__init__` is passed over while they load, and of the module for Google's models one name is put in its
place. So it is enough to `pip install --no-deps agentdojo`, with deepdiff, docstring-parser, pydantic[email], pyyaml
and rich.
"""

from __future__ import annotations

import datetime
import functools
import sys
import types
from collections.abc import Mapping
from typing import Any

import yaml
from agentdojo import __path__ as _FOLDERS

from agentrl.named import by_name

VERSION = "v1.2.2"  # of the benchmark, the newest in the package
_NOW = datetime.datetime(2024, 5, 15, 9, 30)  # the day on which the suites are set
_PIPELINE, _GOOGLE = "agentdojo.agent_pipeline", "agentdojo.agent_pipeline.llms.google_llm"


@functools.cache
def load_suites() -> Mapping[str, Any]:
  """The four suites by name, upstream's `TaskSuite` each: "workspace", "travel", "banking", "slack"."""
  _import_without_clients()
  from agentdojo.task_suite.load_suites import get_suites

  found = get_suites(VERSION)
  for suite in found.values():
    suite.load_and_inject_default_environment = functools.partial(_world, suite)
  return found


def attack_on(suite: str, attack: str, user_task: str, injection_task: str) -> dict[str, str]:
  """The texts that an attack plants, by the place that holds them: all that the ground truth of the user task reads.

  Args:
    suite: its name.
    attack: see `attacks`.
    user_task: id of the request.
    injection_task: id of what is planted.
  """
  attacker, chosen = _attacker(suite, attack), load_suites()[suite]
  return attacker.attack(chosen.user_tasks[user_task], chosen.injection_tasks[injection_task])


@functools.cache
def attacks() -> Mapping[str, type]:
  """Upstream's attacks that tell a goal in a fixed text. The others ask a human, or only want the work to stop."""
  load_suites()
  import agentdojo.attacks as upstream
  from agentdojo.attacks.attack_registry import ATTACKS

  return {name: made for name, made in ATTACKS.items() if issubclass(made, upstream.FixedJailbreakAttack)}


@functools.cache
def _attacker(suite: str, attack: str) -> Any:
  made = by_name(attacks(), attack, kind="attack")
  return made(load_suites()[suite], types.SimpleNamespace(name="local"))  # it addresses its victim as "Local model"


def _world(suite: Any, injections: Mapping[str, str]) -> Any:
  """What upstream's method of the same arguments returns, read once, and by the YAML parser that is written in C."""
  return _read_world(suite, tuple(sorted(injections.items()))).model_copy(deep=True)


@functools.lru_cache(maxsize=128)
def _read_world(suite: Any, injections: tuple[tuple[str, str], ...]) -> Any:
  from agentdojo.task_suite.task_suite import read_suite_file

  text = read_suite_file(suite.name, "environment.yaml", suite.data_path)
  filled = text.format(**{**suite.get_injection_vector_defaults(), **dict(injections)})
  return suite.environment_type.model_validate(yaml.load(filled, Loader=yaml.CSafeLoader))


def _import_without_clients() -> None:
  """Imports the suites, then takes the stand-ins away again, so that others can import the real modules."""
  google = types.ModuleType(_GOOGLE)
  google.EMPTY_FUNCTION_NAME = "<empty-function-name>"  # only its loop over a model's calls compares with that
  pipeline = types.ModuleType(_PIPELINE)
  pipeline.__path__ = [f"{folder}/agent_pipeline" for folder in _FOLDERS]
  before = {name: sys.modules[name] for name in (_PIPELINE, _GOOGLE) if name in sys.modules}
  sys.modules.update({_PIPELINE: pipeline, _GOOGLE: google} | before)
  try:
    import agentdojo.attacks  # noqa: F401  imports the suites, and registers the attacks
    from agentdojo.default_suites.v1.slack import injection_tasks
    from agentdojo.default_suites.v1.tools import cloud_drive_client, email_client
    from agentdojo.default_suites.v1_1_2.workspace import user_tasks
  finally:
    for name in {_PIPELINE, _GOOGLE} - set(before):
      del sys.modules[name]
  for module in (cloud_drive_client, email_client):  # they ask for the time of day alone, and show it to the policy
    module.datetime = types.SimpleNamespace(datetime=types.SimpleNamespace(now=lambda: _NOW))
  for module in (injection_tasks, user_tasks):  # checks that tell on stdout what they miss
    module.print = lambda *words: None
