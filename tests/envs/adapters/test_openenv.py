"""OpenEnv servers as worlds, shown on servers of the test's own in a thread."""

import contextlib
import json
import logging
import socket
import threading
import time

import pytest

pytest.importorskip("openenv", reason="needs agentrl[openenv]")
pytest.importorskip("fastmcp", reason="needs agentrl[openenv]")

import uvicorn
from fastmcp import FastMCP
from openenv.core.env_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment as Served
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation
from openenv.core.env_server.types import Action as ServedAction
from openenv.core.env_server.types import Observation as ServedObservation
from openenv.core.env_server.types import State

from agentrl import envs
from agentrl.envs.adapters.openenv import generate, oracle
from agentrl.types import Action, EnvironmentFailed, ToolCall, ToolFailure, TurnKind


class Guess(ServedAction):
  """Guesses the number."""

  number: int


class Word(ServedAction):
  text: str


class Hint(ServedObservation):
  hint: str


class Scene(ServedObservation):
  text: str
  steps: int


class GuessNumber(Served):
  """Hides seed modulo 10; -1 breaks it, -2 is slow."""

  SUPPORTS_CONCURRENT_SESSIONS = True
  hidden = None

  @property
  def state(self):
    return State()

  def reset(self, seed=None, episode_id=None, top=10, **others):
    self.hidden = seed % top
    return Hint(hint=f"Guess a number below {top}.")

  def step(self, action, timeout_s=None, **others):
    if action.number == -1:
      raise RuntimeError("out of numbers")
    if action.number == -2:
      time.sleep(8)
    found = action.number == self.hidden
    return Hint(hint="too low" if action.number < self.hidden else "too high", done=found, reward=float(found))


class Echo(Served):
  SUPPORTS_CONCURRENT_SESSIONS = True
  steps = 0

  @property
  def state(self):
    return State()

  def reset(self, seed=None, episode_id=None, **others):
    self.steps = 0
    return Scene(text="", steps=0)

  def step(self, action, timeout_s=None, **others):
    self.steps += 1
    return Scene(text=action.text.upper(), steps=self.steps, done=action.text == "bye", reward=0.5)


class Shop(MCPEnvironment):
  SUPPORTS_CONCURRENT_SESSIONS = True

  def __init__(self):
    server = FastMCP("shop")

    @server.tool
    def price(item: str, pieces: int = 1) -> int:
      """What
      it costs."""
      if item != "tea":
        raise ValueError(f"there is no {item}")
      return 3 * pieces

    @server.tool
    def stock() -> dict:
      """What there is."""
      return {"tea": [1, 2]}

    super().__init__(server)

  @property
  def state(self):
    return State()

  def reset(self, seed=None, episode_id=None, **others):
    return ServedObservation()

  def _step_impl(self, action, timeout_s=None, **others):
    return ServedObservation()


@contextlib.contextmanager
def serving(app):
  listener = socket.socket()
  listener.bind(("127.0.0.1", 0))
  server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
  thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
  thread.start()
  for _ in range(600):
    if server.started:
      break
    time.sleep(0.1)
  try:
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
  finally:
    server.should_exit = True
    thread.join(60)
    listener.close()


@pytest.fixture(scope="module", autouse=True)
def quiet_servers():
  logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


@pytest.fixture(scope="module")
def guess_url():
  with serving(create_fastapi_app(GuessNumber, Guess, Hint, max_concurrent_envs=2)) as url:
    yield url


@pytest.fixture(scope="module")
def shop_url():
  with serving(create_fastapi_app(Shop, CallToolAction, CallToolObservation, max_concurrent_envs=2)) as url:
    yield url


@contextlib.contextmanager
def opened(options, index=0, call_seconds=60.0):
  source = envs.make("openenv", "", options=options, call_seconds=call_seconds)
  task = source.task(index, "train")
  with contextlib.closing(source.environment()) as environment:
    yield environment, environment.reset(task, 0), task


def act(name, **arguments):
  return Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(name, arguments),))


def say(text):
  return Action(TurnKind.ANSWER, text, answer=text)


def test_the_schema_of_an_action_is_a_tool(guess_url):
  with opened({"url": guess_url, "question": "Find it.", "reset": {"top": 5}}) as (environment, opening, task):
    assert [message.content for message in opening] == ["Find it.\n\nGuess a number below 5."]
    (spec,) = environment.tools
    assert (spec.name, spec.description, spec.schema["required"]) == ("act", "Guesses the number.", ["number"])
    assert list(spec.schema["properties"]) == ["number"]
    hidden = task.data["reset"]["seed"] % 5
    wrong = environment.step(act("act", number=7))
    assert (wrong.text, wrong.done, wrong.name) == ("too high", False, "act")
    refused = environment.step(act("act", number="x"))
    assert [result.failure for result in refused.results] == [ToolFailure.ARGUMENTS]
    both = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("act", {"number": hidden}), ToolCall("act", {"number": 0})))
    last = environment.step(both)
    assert (last.done, last.text, last.reward, last.parts) == (True, "", 1.0, {"correct": 1.0, "return": 1.0})
    assert "the episode is over; this call was not run" in last.results[1].text
    with pytest.raises(RuntimeError, match="outside an episode"):
      environment.step(act("act", number=1))


def test_an_answer_gives_up(guess_url):
  with opened({"url": guess_url}) as (environment, _, _):
    last = environment.step(say("seven?"))
    assert (last.done, last.parts) == (True, {"correct": 0.0, "return": 0.0})


def test_turns_are_limited(guess_url):
  with opened({"url": guess_url, "turns": 2}) as (environment, _, _):
    assert not environment.step(act("act", number=11)).done
    last = environment.step(Action(TurnKind.VOID, ""))
    assert (last.done, last.ok, last.parts["correct"]) == (True, False, 0.0)


def test_utterances_become_a_field():
  with serving(create_fastapi_app(Echo, Word, Scene, max_concurrent_envs=1)) as url:
    with opened({"url": url, "field": "text", "question": "Speak."}) as (environment, opening, _):
      assert opening[-1].content == 'Speak.\n\n{"text": "", "steps": 0}'
      assert environment.tools == ()
      assert json.loads(environment.step(say("hi")).text) == {"text": "HI", "steps": 1}
      assert not environment.step(Action(TurnKind.VOID, "")).ok
      last = environment.step(say("bye"))
      assert (last.done, last.parts, last.reward) == (True, {"correct": 1.0, "return": 1.0}, 0.5)
    with opened({"url": url, "field": "text", "shown": "text"}) as (environment, _, _):
      assert environment.step(say("hi")).text == "HI"
    with opened({"url": url, "field": "word"}) as (environment, _, _):
      refused = environment.step(say("hi"))
      assert not refused.ok and "VALIDATION_ERROR" in refused.text
    with pytest.raises(EnvironmentFailed, match="has no field 'sight'; it has"), opened({"url": url, "shown": "sight"}):
      pass


def test_a_server_of_tools(shop_url):
  with opened({"url": shop_url, "question": "Shop."}) as (environment, opening, _):
    assert opening[-1].content == "Shop."
    assert [(spec.name, spec.description) for spec in environment.tools] == [
      ("price", "What it costs."),
      ("stock", "What there is."),
    ]
    assert environment.step(act("price", item="tea", pieces=2)).text == "6"
    assert environment.step(act("stock")).text == '{"tea": [1, 2]}'
    (broken,) = environment.step(act("price", item="gin")).results
    assert broken.failure is ToolFailure.EXCEPTION and "there is no gin" in broken.text
    (wrong,) = environment.step(act("price", item=1)).results
    assert wrong.failure is ToolFailure.ARGUMENTS


def test_what_breaks_on_the_server_is_the_environment_s_failure(guess_url):
  with opened({"url": guess_url}) as (environment, _, _), pytest.raises(EnvironmentFailed, match="out of numbers"):
    environment.step(act("act", number=-1))
  with opened({"url": guess_url}, call_seconds=5.0) as (environment, _, _), pytest.raises(EnvironmentFailed):
    environment.step(act("act", number=-2))


def test_a_full_server_says_what_to_do():
  with serving(create_fastapi_app(GuessNumber, Guess, Hint, max_concurrent_envs=1)) as url, opened({"url": url}):
    with (
      pytest.raises(EnvironmentFailed, match="if it is full, start it with a larger max_concurrent_envs"),
      opened({"url": url}),
    ):
      pass


def test_a_server_that_is_not_there():
  with pytest.raises(EnvironmentFailed, match=r"OpenEnv server http://127.0.0.1:9: ConnectionError"):
    with opened({"url": "http://127.0.0.1:9"}):
      pass


def test_tasks_are_pure_json_with_seeds_apart():
  tasks = {split: [generate(i, split=split, url="http://x") for i in range(200)] for split in ("train", "held_out")}
  seeds = {split: {task.data["reset"]["seed"] for task in some} for split, some in tasks.items()}
  assert not seeds["train"] & seeds["held_out"]
  assert (
    tasks["train"][7]
    == generate(7, split="train", url="http://x")
    != generate(7, split="train", url="http://x", seed=1)
  )
  assert json.loads(json.dumps(tasks["train"][7].data)) == tasks["train"][7].data
  assert generate(2**31 - 1, split="train", url="ws://x").id == "openenv-train-1-2147483647"
  assert oracle(tasks["train"][0]) == []


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({}, "openenv tasks need the url of a running server"),
    ({"url": "localhost:8000"}, "got 'localhost:8000'"),
    ({"url": "http://x", "difficulty": 2}, "openenv has difficulty 1 alone"),
    ({"url": "http://x", "turns": 0}, "turns must be at least 1"),
    ({"url": "http://x", "split": "test"}, "no split is called 'test'"),
  ],
)
def test_wrong_options_are_errors(options, words):
  with pytest.raises(ValueError, match=words):
    generate(0, **{"split": "train", **options})
