"""Environments behind an OpenEnv server (https://github.com/meta-pytorch/OpenEnv, BSD-3 licence), over its WebSocket.

The option `url` names a running server; each trajectory has a session of its own, so the server must allow as many
sessions as there are trajectories at a time (`max_concurrent_envs`). How the policy acts:

- with the option `field`, every turn is an utterance that becomes that field of the server's action;
- else, where the server speaks of MCP tools, those are the tools;
- else there is one tool, `act`, whose schema is that of the server's action, and an answer ends the episode.

The package installs without CUDA but with web frameworks; `pip install --no-deps openenv-core` and then fastapi,
fastmcp, gradio, httpx, openai, pyyaml, requests and websockets is what its client imports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from openenv.core.client_types import StepResult
from openenv.core.generic_client import GenericEnvClient
from websockets.exceptions import ConnectionClosedOK

from agentrl.envs import credentials, output
from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.tasks.shared import splits
from agentrl.envs.tool import Tool, ToolError, ToolRunner, ToolSpec, given_tool
from agentrl.types import Action, EnvironmentFailed, Message, Observation, Task, TurnKind

_SHARE = 0.8  # of a call's deadline that the server has: after it, which answer belongs to which call is not known
_MCP_ACTIONS = ("Action", "CallToolAction", "ListToolsAction")  # titles of the schemas of servers of tools
_REFUSED = re.compile(r"\(code: (VALIDATION_ERROR)\)")
_OVER = "the episode is over; this call was not run"


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  url: str = "",
  question: str = "",
  field: str = "",
  shown: str = "",
  reset: Mapping[str, Any] | None = None,
  turns: int = 50,
  success_reward: float = 0.0,
) -> Task:
  """One task, a seed for the server's `reset`; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out", whose seeds are others.
    difficulty: 1; how hard an episode is, the server is told by `reset`.
    seed: another sequence of tasks.
    url: of a running server, such as "http://localhost:8000".
    question: what the policy is told before the first observation.
    field: of the action, which takes an utterance; empty for tools.
    shown: field of an observation that the policy reads; empty for the only text in it, or for all of it as JSON.
    reset: further arguments of the server's `reset`.
    turns: after which the episode is over.
    success_reward: an episode is solved whose last reward is above this.

  Raises:
    ValueError: no url, or an unknown split or difficulty.
  """
  if not url.startswith(("http://", "https://", "ws://", "wss://")):
    raise ValueError(f"openenv tasks need the url of a running server, such as http://localhost:8000; got {url!r}")
  if difficulty != 1:
    raise ValueError(f"openenv has difficulty 1 alone, not {difficulty!r}; tell the server by the option reset")
  if turns < 1:
    raise ValueError(f"turns must be at least 1, got {turns!r}")
  start = splits.draw(
    lambda rng: rng.randrange(2**31), lambda drawn: f"openenv {drawn}", split=split, source=("openenv", index, seed)
  )
  data = {
    "url": url, "field": field, "shown": shown, "reset": {"seed": start, **(reset or {})}, "turns": turns,
    "success_reward": success_reward,
  }  # fmt: skip
  return Task(splits.task_id("openenv", split, difficulty, index, seed), "openenv", question, None, difficulty, data)


def environment(setting: Setting) -> OpenEnvSession:
  """A fresh session, for one trajectory."""
  return OpenEnvSession(setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """None: a server tells no solutions.

  Raises:
    ValueError: there is a tool.
  """
  if tool:
    raise ValueError(f"openenv takes no tool, not even {tool!r}; task {task.id} has those of its server")
  return []


class OpenEnvSession:
  """One episode on a server.

  An action that the server's schema refuses is told to the policy; a server that is lost, too slow, full, or breaks in
  a step is the environment's failure. Parts: "correct", 1 where the last reward is above `success_reward` once the
  episode is over, and "return", the sum of rewards.

  Args:
    setting: system message, examples and limits. The server has most of `call_seconds` for an answer, the one to
      `reset` included.
  """

  def __init__(self, setting: Setting | None = None):
    self._setting = Setting() if setting is None else setting
    self._client: Any = None
    self._runner = ToolRunner({}, self._setting.limits)
    self._open = False

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """Those of the server, once an episode has begun; none where the policy speaks."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Connects and starts the episode with the task's own seed.

    Raises:
      EnvironmentFailed: the server cannot be reached, or its `reset` broke.
      ValueError: the task is not one of this family's.
    """
    del seed
    if not {"url", "field", "reset", "turns"} <= set(task.data):
      raise ValueError(f"task {task.id} of family {task.family!r} names no OpenEnv server")
    self.close()
    self._data, self._left, self._return, self._last = task.data, task.data["turns"], 0.0, 0.0
    seconds = _SHARE * self._setting.limits.call_seconds
    client = GenericEnvClient(base_url=task.data["url"], connect_timeout_s=seconds, message_timeout_s=seconds)
    self._client = client.sync()
    first = self._ask(lambda: self._client.reset(**task.data["reset"]))
    tools = {} if task.data["field"] else {tool.spec.name: tool for tool in self._server_tools(seconds)}
    self._runner = ToolRunner(tools, self._setting.limits)
    self._open, self._over = True, False
    parts = [part for part in (task.question, self._text(first)) if part]
    return [*self._setting.opening, Message("user", "\n\n".join(parts))]

  def step(self, action: Action) -> Observation:
    """Passes one turn on.

    Raises:
      EnvironmentFailed: the server was lost, or broke.
      NoEpisode: none is open.
    """
    if not self._open:
      raise NoEpisode()
    self._left -= 1
    before = self._return
    observation = self._answered(action)
    ends = self._over or self._left == 0
    self._open = not ends
    correct = float(self._over and self._last > self._data["success_reward"])
    return Observation(
      "" if ends else observation.text,
      done=ends,
      parts={"correct": correct, "return": self._return},
      ok=observation.ok,
      results=observation.results,
      name=observation.name,
      reward=self._return - before,
    )

  def close(self) -> None:
    """Ends the session, which frees its place on the server."""
    self._open = False
    if self._client is not None:
      client, self._client = self._client, None
      client.close()

  def _answered(self, action: Action) -> Observation:
    if self._data["field"]:
      return self._said(action)
    if action.kind is TurnKind.TOOL_CALL:
      return self._runner.run(action.calls)
    if action.kind is TurnKind.ANSWER:
      self._over = True
      return Observation("")
    return self._runner.refuse(action)

  def _said(self, action: Action) -> Observation:
    if action.kind is not TurnKind.ANSWER:
      return self._runner.refuse(action)
    try:
      text = self._act({self._data["field"]: action.answer})
    except ToolError as error:
      return Observation(f"error: {error}", ok=False)
    return Observation(output.clean(text, self._setting.limits.max_output_chars))

  def _act(self, payload: Mapping[str, Any]) -> str:
    """One step of the server, as the text of its observation."""
    if self._over:
      raise ToolError(_OVER)
    result = self._ask(lambda: self._client.step(dict(payload)))
    self._last = float(result.reward or 0.0)
    self._return += self._last
    self._over = bool(result.done)
    return self._text(result)

  def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
    """One call of an MCP tool of the server."""
    text = self._act({"type": "call_tool", "tool_name": name, "arguments": dict(arguments)})
    seen = json.loads(text)
    if seen.get("error"):
      raise ToolError(seen["error"]["message"])
    return _result_text(seen.get("result"))

  def _server_tools(self, seconds: float) -> list[Tool]:
    address = re.sub("^ws", "http", self._data["url"]).rstrip("/") + "/schema"
    schema = self._ask(lambda: httpx.get(address, timeout=seconds).raise_for_status().json())["action"]
    if schema.get("title") not in _MCP_ACTIONS:
      properties = {name: value for name, value in schema["properties"].items() if name != "metadata"}
      spec = ToolSpec("act", " ".join(schema.get("description", "Acts.").split()), schema | {"properties": properties})
      return [given_tool(spec, lambda **arguments: self._act(arguments))]
    listed = self._ask(lambda: self._client.step({"type": "list_tools"})).observation["tools"]
    return [given_tool(_spec(tool), self._caller(tool["name"])) for tool in listed]

  def _caller(self, name: str) -> Callable[..., str]:
    return lambda **arguments: self._call(name, arguments)

  def _text(self, result: StepResult) -> str:
    seen = result.observation
    if self._data["shown"]:
      if self._data["shown"] not in seen:
        raise EnvironmentFailed(f"the server's observation has no field {self._data['shown']!r}; it has {list(seen)}")
      return output.to_text(seen[self._data["shown"]])
    if not seen:
      return ""
    texts = [value for value in seen.values() if isinstance(value, str)]
    return texts[0] if len(seen) == len(texts) == 1 else json.dumps(seen, ensure_ascii=False)

  def _ask(self, request: Callable[[], Any]) -> Any:
    """An answer of the server; what it refuses is the policy's failure, anything else that goes wrong is its own."""
    try:
      return request()
    except Exception as error:
      if isinstance(error, RuntimeError) and _REFUSED.search(str(error)):
        raise ToolError(str(error)) from error
      closed = isinstance(error, ConnectionClosedOK) or "CAPACITY_REACHED" in str(error)  # what a full server does
      full = "; if it is full, start it with a larger max_concurrent_envs" if closed else ""
      server = credentials.without(self._data["url"])
      told = f"the OpenEnv server {server}: {output.error_line(error)}{full}"
      raise EnvironmentFailed(told) from error


def _spec(tool: Mapping[str, Any]) -> ToolSpec:
  schema = {"properties": {}, **tool["input_schema"]}
  return ToolSpec(tool["name"], " ".join(tool["description"].split()), schema)


def _result_text(result: Any) -> str:
  """What an MCP tool returned; servers wrap it as content, structured content and data."""
  if isinstance(result, Mapping) and "data" in result:
    result = result["data"]
  return output.to_text(result)
