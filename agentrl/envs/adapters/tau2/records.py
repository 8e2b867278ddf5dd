"""What `inspect-evals` ships of tau2-bench: tasks, splits, policies, databases, and tools with their schemas."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from agentrl.envs.tasks.shared import splits
from agentrl.envs.tool import ToolSpec
from agentrl.named import check_name

try:
  from inspect_ai.tool import ToolDef
  from inspect_evals.tau2.airline.data_model import FlightDB
  from inspect_evals.tau2.airline.tools import all_airline_tools
  from inspect_evals.tau2.retail.data_model import RetailDB
  from inspect_evals.tau2.retail.tools import all_retail_tools
  from inspect_evals.tau2.telecom.tools import all_telecom_agent_tools
  from inspect_evals.tau2.telecom.user_tools import all_telecom_user_tools
  from inspect_evals.tau2.utils import TAU2_DATA_DIR
except ModuleNotFoundError as error:
  # Not ModuleNotFoundError, for which the loader would name the extra alone: none can leave dependencies out.
  raise ImportError(
    f"tau2 needs {error.name}. Of inspect-evals' dependencies it needs few: "
    "pip install 'agentrl[tau2]', or in a clone pip install -e '.[tau2]', and then pip install --no-deps inspect-evals"
  ) from error

_TOOLS = {
  "telecom": (*all_telecom_agent_tools, *all_telecom_user_tools),
  "airline": tuple(all_airline_tools),
  "retail": tuple(all_retail_tools),
}
DOMAINS = tuple(_TOOLS)
_TASKS = {"telecom": "tasks.json.gz", "airline": "tasks.json", "retail": "tasks.json"}
_POLICIES = {
  "telecom": ("main_policy_solo.txt", "tech_support_workflow_solo.txt"),
  "airline": ("policy.txt",),
  "retail": ("policy.txt",),
}


@functools.cache
def listed(domain: str, tasks: str, split: str, seed: int) -> Sequence[Mapping[str, Any]]:
  """The records of one side, in the order of a seed.

  Raises:
    ValueError: an unknown domain, list of tasks or split.
  """
  rng = splits.generator(split, ("tau2", domain, tasks, seed))
  check_name(DOMAINS, domain, kind="domain of tau2")
  known = ("base", "full") if domain == "telecom" else ("base",)
  if tasks not in known:
    raise ValueError(f"{domain} has no list of tasks called {tasks!r}; known: {', '.join(known)}")
  named = json.loads(_read(domain, "split_tasks.json"))
  held_out = set(named["test"])
  chosen = held_out if split == splits.HELD_OUT else set(named[tasks]) - held_out
  ours = [record for record in records(domain) if record["id"] in chosen]
  rng.shuffle(ours)
  return ours


@functools.cache
def records(domain: str) -> Sequence[Mapping[str, Any]]:
  """All tasks of a domain, as upstream writes them."""
  return json.loads(_read(domain, _TASKS[domain]))


@functools.cache
def policy(domain: str) -> str:
  """The text by which the policy is to serve."""
  return "\n\n".join(_read(domain, name).strip() for name in _POLICIES[domain])


@functools.cache
def tools(domain: str) -> Sequence[tuple[ToolSpec, Any]]:
  """Specs of a domain's tools, each with the coroutine function that runs it."""
  made = [ToolDef(make()) for make in _TOOLS[domain]]
  return [(_spec(tool), tool.tool) for tool in made]


@functools.cache
def database(domain: str) -> Any:
  """The airline's or the shop's database as upstream's model. All episodes share it: see `desk.py` for how.

  Upstream's own loader leaves a temporary file behind each time.
  """
  model = {"airline": FlightDB, "retail": RetailDB}[domain]
  return model.model_validate(json.loads(_read(domain, "db.json.gz")))


def _spec(tool: ToolDef) -> ToolSpec:
  name = tool.name.rsplit("/", 1)[-1]  # a registered tool may bear the name of its package
  schema = tool.parameters.model_dump(exclude_none=True, by_alias=True)
  return ToolSpec(name, " ".join(tool.description.split()), schema)


def _read(domain: str, name: str) -> str:
  data = (pathlib.Path(TAU2_DATA_DIR) / "domains" / domain / name).read_bytes()
  return (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8")
