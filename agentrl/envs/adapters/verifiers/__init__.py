"""Tasksets of verifiers (https://github.com/PrimeIntellect-ai/verifiers, MIT licence): tasks, rewards and tools.

The option `taskset` is the id of an installed taskset, or a module that exports one. Its tasks become tasks, its
`@reward` and `@metric` functions become reward parts, and its toolsets, which run in this process, become tools.

What cannot be played here is refused when the source is made: tasks or rewards that need a container, an environment
that plays the user's part, and toolsets that run elsewhere. Rewards that ask a judge need that judge's API.

Made for verifiers 0.4; importing it takes seconds.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import verifiers.v1 as vf
from verifiers.v1.state import state_cls
from verifiers.v1.types import content_text
from verifiers.v1.utils.decorators import invoke

from agentrl.envs import output
from agentrl.envs.adapters.verifiers import tasksets
from agentrl.envs.adapters.verifiers.tools import EventLoop, close_toolset, open_toolset, tools_of
from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tool import Tool, ToolRunner, ToolSpec
from agentrl.types import Action, EnvironmentFailed, Message, Observation, Task, TurnKind

_SHARE = 0.8  # of a call's deadline, after which a tool's coroutine is cancelled
_SCORE_SECONDS = 30.0  # of setting a task up, and of scoring it


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  taskset: str = "",
  settings: Mapping[str, Any] | None = None,
  held_out: Mapping[str, Any] | None = None,
  limit: int = 1000,
  success_reward: float = 1.0,
) -> Task:
  """One task of a taskset; it starts over behind its end.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1; what is hard, a taskset is told by its settings.
    seed: another order of the tasks.
    taskset: its id, or its module.
    settings: of its config, beside the id.
    held_out: settings of the held-out tasks, for a taskset with splits of its own. None: an eighth of the tasks are
      held out.
    limit: tasks that are read at most; a taskset may be endless.
    success_reward: an episode is solved whose weighted rewards sum to this or more.

  Raises:
    ValueError: an unknown taskset, wrong settings, something that cannot be played here, or an empty split.
  """
  if difficulty != 1:
    raise ValueError(f"verifiers tasks have difficulty 1 alone, not {difficulty!r}; tell the taskset by its settings")
  own = held_out is not None and split == splits.HELD_OUT
  chosen = json.dumps(held_out if own else (settings or {}), sort_keys=True)
  rows = tasksets.rows(taskset, chosen, limit, split, seed, held_out is None)
  row = rows[index % len(rows)]
  data = {"taskset": taskset, "settings": json.loads(chosen), "limit": limit, "row": row, "success": success_reward}
  question = tasksets.load(taskset, chosen, limit).tasks[row].data.prompt_text
  name = f"verifiers-{taskset}"
  return Task(splits.task_id(name, split, difficulty, index, seed), "verifiers", question, None, difficulty, data)


def environment(setting: Setting) -> TasksetEpisode:
  """A fresh one, for one trajectory."""
  return TasksetEpisode(setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """None: tasksets tell no solutions.

  Raises:
    ValueError: there is a tool.
  """
  if tool:
    raise ValueError(f"verifiers takes no tool, not even {tool!r}; task {task.id} has those of its taskset")
  return []


class TasksetEpisode:
  """One task of a taskset: tool calls, then an answer, which is scored.

  Parts: "correct", 1 where the weighted rewards sum to `success_reward` or more; "rubric", that sum; and each reward
  and metric by its name, unweighted. They come at the end alone. What fails in the taskset's own code, its tools
  apart, is the environment's failure.

  Args:
    setting: system message (empty for the task's own), examples, and limits of the tools.
  """

  def __init__(self, setting: Setting | None = None):
    self._setting = Setting() if setting is None else setting
    self._runner = ToolRunner({}, self._setting.limits)
    self._toolsets: list[vf.Toolset] = []
    self._loop: EventLoop | None = None
    self._open = False

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """Those of the task, once an episode has begun."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Sets the task up; what is random in a taskset is its own affair.

    Raises:
      EnvironmentFailed: the taskset's own code broke.
      ValueError: the task is not one of this family's.
    """
    del seed
    if not {"taskset", "settings", "limit", "row"} <= set(task.data):
      raise ValueError(f"task {task.id} of family {task.family!r} names no taskset of verifiers")
    self.close()
    loaded = tasksets.load(task.data["taskset"], json.dumps(task.data["settings"], sort_keys=True), task.data["limit"])
    self._success, self._vf_task = task.data["success"], loaded.tasks[task.data["row"]]
    self._trace = _new_trace(self._vf_task)
    self._loop = EventLoop()
    self._ask(self._setup(loaded.taskset), "its setup")
    tools = self._ask(self._collect(), "its toolsets")
    self._runner = ToolRunner({tool.spec.name: tool for tool in tools}, self._setting.limits)
    messages = self._opening()
    self._open = True
    return messages

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      EnvironmentFailed: the taskset's own code broke.
      NoEpisode: none is open.
    """
    if not self._open:
      raise NoEpisode()
    self._record(_assistant(action, len(self._trace.nodes)), sampled=True)
    if action.kind is TurnKind.ANSWER:
      return self._finish(Observation(""), "agent_completed")
    if action.kind is TurnKind.TOOL_CALL:
      observation = self._runner.run(action.calls)
      calls = self._trace.assistant_messages[-1].tool_calls
      for call, result in zip(calls, observation.results, strict=True):
        self._record(vf.ToolMessage(tool_call_id=call.id, content=result.text, name=call.name))
    else:
      observation = self._runner.refuse(action)
      self._record(vf.UserMessage(content=observation.text))
    stop = self._ask(self._stopped(), "its stop conditions")
    return self._finish(observation, stop) if stop else observation

  def close(self) -> None:
    """Ends the episode, its toolsets and its event loop.

    Raises:
      EnvironmentFailed: a toolset does not close.
    """
    self._open = False
    if self._loop is None:
      return
    try:
      while self._toolsets:
        self._ask(close_toolset(self._toolsets.pop()), "closing a toolset")
    finally:
      self._loop.close()
      self._loop = None

  def _opening(self) -> list[Message]:
    data = self._vf_task.data
    prompt = [vf.UserMessage(content=data.prompt)] if isinstance(data.prompt, str) else list(data.prompt)
    if data.system_prompt:
      prompt.insert(0, vf.SystemMessage(content=data.system_prompt))
    if self._setting.system:
      prompt = [vf.SystemMessage(content=self._setting.system), *(m for m in prompt if m.role != "system")]
    for message in prompt:
      self._record(message)
    told = [_told(message) for message in prompt]
    return [*(m for m in told if m.role == "system"), *self._setting.examples, *(m for m in told if m.role != "system")]

  def _record(self, message: Any, *, sampled: bool = False) -> None:
    last = len(self._trace.nodes) - 1
    self._trace.nodes.append(vf.MessageNode(parent=last if last >= 0 else None, message=message, sampled=sampled))

  async def _setup(self, taskset: vf.Taskset) -> None:
    await invoke(self._vf_task.setup, {"trace": self._trace, "runtime": None})
    self._toolsets = tasksets.toolsets(taskset, self._vf_task)

  async def _collect(self) -> list[Tool]:
    own, tools = len(self._vf_task.toolsets(self._vf_task.config)), []
    for number, toolset in enumerate(self._toolsets):
      server = await open_toolset(toolset, self._trace, self._vf_task.data if number < own else None)
      tools += await tools_of(toolset, server, self._loop, _SHARE * self._setting.limits.call_seconds)
    return tools

  async def _stopped(self) -> str:
    """The first stop condition that holds, or nothing."""
    for stop in self._vf_task.hooks("stop"):
      holds = invoke(stop, {vf.Trace: self._trace})
      if await holds if inspect.isawaitable(holds) else holds:
        return stop.__name__
    return ""

  async def _score(self) -> None:
    await invoke(self._vf_task.finalize, {"trace": self._trace, "runtime": None})
    await self._vf_task.score(self._trace)

  def _finish(self, observation: Observation, condition: str) -> Observation:
    self._open = False
    self._trace.stop(condition)
    self._trace.ok = True
    self._ask(self._score(), "scoring")
    rewards = {name: reward.score for name, reward in self._trace.rewards.items() if reward is not None}
    metrics = {name: value for name, value in self._trace.metrics.items() if value is not None}
    total = self._trace.reward
    parts = {**metrics, **rewards, "rubric": total, "correct": float(total >= self._success)}
    return dataclasses.replace(observation, text="", done=True, parts=parts)

  def _ask(self, coroutine: Coroutine[Any, Any, Any], what: str) -> Any:
    try:
      return self._loop.run(coroutine, _SCORE_SECONDS)
    except Exception as error:
      cause = error.__cause__ or error
      raise EnvironmentFailed(f"verifiers task {self._vf_task.data.idx}: {what}: {output.error_line(cause)}") from error


def _new_trace(task: vf.Task) -> vf.Trace:
  record = vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash)
  return vf.Trace(task=record, state=state_cls(type(task))(), agent=vf.AgentInfo(config=vf.AgentConfig()))


def _assistant(action: Action, number: int) -> vf.AssistantMessage:
  """A turn as the package's rewards read it: an answer's text is the answer."""
  calls = [
    vf.ToolCall(id=f"call-{number}-{place}", name=call.name, arguments=json.dumps(dict(call.arguments)))
    for place, call in enumerate(action.calls)
  ]
  text = action.answer if action.kind is TurnKind.ANSWER else action.text
  return vf.AssistantMessage(content=text, tool_calls=calls or None)


def _told(message: Any) -> Message:
  """A message of a prompt.

  Raises:
    ValueError: one with tool calls, which prompts here cannot show.
  """
  if message.role not in ("system", "user", "assistant") or (message.role == "assistant" and message.tool_calls):
    raise ValueError(f"a prompt with a {message.role} message that calls or answers a tool cannot be shown")
  text = content_text(message.content)
  return (
    Message("assistant", action=traces.answer(text)) if message.role == "assistant" else Message(message.role, text)
  )
