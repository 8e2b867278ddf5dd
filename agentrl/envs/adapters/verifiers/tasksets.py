"""Tasksets of verifiers: read once, checked for what cannot be played here, and split."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import json
from collections.abc import Sequence

import verifiers.v1 as vf
from verifiers.v1.session import hook_boundary

from agentrl.envs import output
from agentrl.envs.tasks.shared import splits


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A taskset, its tasks, and for each what makes it the same as another."""

  taskset: vf.Taskset
  tasks: Sequence[vf.Task]
  contents: Sequence[str]


@functools.cache
def load(taskset: str, settings: str, limit: int) -> Loaded:
  """Reads a taskset once per process.

  Args:
    settings: JSON of its config.

  Raises:
    ValueError: unknown, wrong settings, without tasks, or not to be played here.
  """
  if not taskset:
    raise ValueError("verifiers tasks need the option taskset, the id of an installed taskset")
  try:
    config = vf.taskset_config_type(taskset).model_validate({**json.loads(settings), "id": taskset})
    found = vf.load_taskset(config)
    tasks = list(itertools.islice(found, limit))
  except Exception as error:
    raise ValueError(f"taskset {taskset!r} with {settings}: {output.error_line(error)}") from error
  if not tasks:
    raise ValueError(f"taskset {taskset!r} with {settings} has no tasks")
  _refuse(taskset, found, tasks)
  return Loaded(found, tasks, [_content(task) for task in tasks])


def _refuse(name: str, taskset: vf.Taskset, tasks: Sequence[vf.Task]) -> None:
  """Raises ValueError for what cannot be played in this process."""
  if vf.environment_class(name) is not vf.SingleAgentEnv:
    raise ValueError(f"taskset {name!r} brings an environment that plays a part of its own; only single agents can act")
  first = tasks[0]
  judges = [judge.score for judge in first.plugged_judges()]
  for function in (*first.hooks("reward"), *first.hooks("metric"), *judges):
    runtime = inspect.signature(function).parameters.get("runtime")
    if runtime is not None and runtime.default is runtime.empty:
      raise ValueError(f"taskset {name!r}: {function.__name__} needs a container, and there is none here")
  if first.NEEDS_CONTAINER or any(task.data.image for task in tasks):
    raise ValueError(f"the tasks of taskset {name!r} need a container, and there is none here")
  for stop in first.hooks("stop"):
    if hook_boundary(stop, allow_trace=True) is not vf.Trace:
      raise ValueError(
        f"taskset {name!r}: the stop {stop.__name__} watches an API that is not there; only traces can be"
      )
  for toolset in toolsets(taskset, first):
    if getattr(toolset.config, "url", None):
      raise ValueError(
        f"taskset {name!r}: the toolset {type(toolset).__name__} runs at a url; only local ones can be used"
      )
  if any(task.data.prompt is None for task in tasks):
    raise ValueError(f"taskset {name!r} has tasks without a prompt, which a user would begin; there is none")


def toolsets(taskset: vf.Taskset, task: vf.Task) -> list[vf.Toolset]:
  """The task's own, then the taskset's."""
  return [*task.toolsets(task.config), *taskset.toolsets(taskset.config)]


def _content(task: vf.Task) -> str:
  data = task.data.model_dump(mode="json", exclude={"idx"}, exclude_none=True)
  return json.dumps(data, sort_keys=True)


@functools.cache
def rows(taskset: str, settings: str, limit: int, split: str, seed: int, shared: bool) -> Sequence[int]:
  """Places of a split's tasks in the taskset, in the seed's order.

  Args:
    shared: both splits are from these tasks, an eighth of which is held out.

  Raises:
    ValueError: there are none.
  """
  order = splits.generator(split, ("verifiers", taskset, seed))
  contents = load(taskset, settings, limit).contents
  chosen = [row for row, content in enumerate(contents) if not shared or splits.belongs(content, split)]
  if not chosen:
    raise ValueError(f"of the {len(contents)} tasks of taskset {taskset!r} none is in the split {split}; raise limit")
  order.shuffle(chosen)
  return chosen
