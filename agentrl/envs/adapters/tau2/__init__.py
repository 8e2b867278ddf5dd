"""Customer service by tau2-bench: an operator of telephones, an airline and a shop.

Barres et al., 2025 (https://arxiv.org/abs/2506.07982), with the data and the toolkits that the package `inspect-evals`
ships. The option `domain` says which tasks:

  telecom: solo mode. The policy reads a ticket and uses the tools of the service desk and those on the customer's
      phone; there is nobody to talk to, and an answer closes the ticket. 114 tasks, or all 2,285 with `tasks="full"`.
  airline, retail: 50 and 114 dialogues with a customer. The policy calls tools and speaks in plain text. The customer
      is scripted; what that leaves out is told in `customer.py`.

The split is upstream's: "held_out" is its test split, which "full" leaves out of the train split too.

The toolkits are in order beside each other and in any thread: each episode has its own `Store` in its own context.
They touch no files and no working directory. The one random number, the id of a new bill, is replaced.
"""

from __future__ import annotations

from typing import Any

from agentrl.envs.adapters.by_kind import ByKind, KindOfEpisode
from agentrl.envs.adapters.tau2 import records, service, solo
from agentrl.envs.base import Environment, Setting
from agentrl.types import Action, Task


def generate(
  index: int, *, split: str, difficulty: int = 1, seed: int = 0, domain: str = "telecom", tasks: str = "base"
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: behind the end of the list it starts over.
    split: "train" or "held_out".
    difficulty: 1.
    seed: of the order of the list.
    domain: "telecom", "airline" or "retail".
    tasks: "base", or in telecom "full".

  Raises:
    ValueError: an unknown split, difficulty, domain or list of tasks.
  """
  if difficulty != 1:
    raise ValueError(f"tau2 has difficulty 1 alone, not {difficulty}; see its options domain and tasks")
  listed = records.listed(domain, tasks, split, seed)
  record = listed[index % len(listed)]
  kind = solo if domain == "telecom" else service
  data: dict[str, Any] = {"domain": domain, "record": record}
  return Task(f"tau2-{split}-{domain}-{record['id']}", "tau2", kind.request(record), difficulty=difficulty, data=data)


def environment(setting: Setting) -> Environment:
  """A fresh one, for one trajectory."""
  return ByKind(setting, _start)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """Gold's calls, and what there is to say.

  Raises:
    ValueError: a tool was asked for.
  """
  if tool:
    raise ValueError(f"tau2 brings its own tools, and cannot be solved with the tool {tool!r}")
  return _kind_of(task).oracle(task.data["record"])


def _start(task: Task, setting: Setting) -> KindOfEpisode:
  return _kind_of(task).Episode(task.data["domain"], task.data["record"], setting)


def _kind_of(task: Task) -> Any:
  if not {"domain", "record"} <= set(task.data):
    raise ValueError(f"task {task.id} of family {task.family!r} is none of tau2: it has no domain and no record")
  return solo if task.data["domain"] == "telecom" else service
