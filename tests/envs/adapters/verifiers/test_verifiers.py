"""Tasksets of verifiers as worlds, shown on small ones that are built with its own classes."""

import contextlib
import json
import sys
import textwrap
import threading

import pytest

pytest.importorskip("verifiers.v1", reason="needs agentrl[verifiers]")

from agentrl import envs
from agentrl.envs.adapters.verifiers import generate, oracle
from agentrl.types import Action, EnvironmentFailed, Message, ToolCall, ToolFailure, TurnKind

SUMS = """
  import asyncio
  import verifiers.v1 as vf
  from typing import Any

  class SumData(vf.TaskData):
    answer: int

  class Tally(vf.State):
    calls: int = 0

  class AdderConfig(vf.ToolsetConfig):
    step: int = 1

  class Adder(vf.Toolset[AdderConfig, Tally]):
    async def setup_task(self, data):
      self.answer = data.answer

    @vf.tool
    def add(self, a: int, b: int) -> int:
      '''Adds two
      numbers.'''
      self.state.calls += 1
      return a + b

    @vf.tool
    async def slow(self) -> str:
      '''Sleeps.'''
      await asyncio.sleep(60)

    @vf.tool
    def broken(self) -> str:
      '''Breaks.'''
      raise ValueError("no such sum")

    @vf.tool
    def peek(self) -> int:
      '''The answer.'''
      return self.answer

  class SumTaskConfig(vf.TaskConfig):
    adder: AdderConfig = AdderConfig()
    score_breaks: bool = False

  class SumTask(vf.Task[SumData, Tally, SumTaskConfig]):
    async def setup(self, trace, runtime):
      trace.info["begun"] = True

    @classmethod
    def toolsets(cls, config):
      return [Adder(config.adder)]

    @vf.stop
    async def too_many_calls(self, trace: vf.Trace) -> bool:
      return trace.state.calls >= 3

    @vf.metric
    async def calls(self, trace) -> float:
      return float(trace.state.calls)

    @vf.reward(weight=1.0)
    async def right(self, task, trace) -> float:
      assert not self.config.score_breaks, "the scale is gone"
      return float(trace.last_reply == str(task.answer))

    @vf.reward(weight=0.5)
    async def used_tools(self, trace) -> float:
      said = [message.content for message in trace.tool_messages]
      return float(bool(said) and trace.info["begun"] and trace.num_turns > 1)

  class SumsConfig(vf.TasksetConfig):
    task: SumTaskConfig = SumTaskConfig()
    first: int = 0
    count: int = 40
    prompt: Any = "{a} + {b} = ?"

  class Sums(vf.Taskset[SumTask, SumsConfig]):
    def load(self):
      for a in range(self.config.first, self.config.first + self.config.count):
        data = SumData(
          prompt=self.config.prompt.format(a=a, b=a + 1) if self.config.prompt != "chat" else [
            vf.SystemMessage(content="Add."), vf.UserMessage(content="1 + 1 = ?"), vf.AssistantMessage(content="2"),
            vf.UserMessage(content=f"{a} + {a + 1} = ?"),
          ],
          system_prompt=None if self.config.prompt == "chat" else "Add.", answer=2 * a + 1,
        )
        yield SumTask(data, self.config.task)

  __all__ = ["Sums"]
"""
PLAIN = """
  import itertools
  import verifiers.v1 as vf

  class PlainTask(vf.Task[vf.TaskData, vf.State, vf.TaskConfig]):
    %(body)s

  class Plain(vf.Taskset[PlainTask, vf.TasksetConfig]):
    INFINITE = True
    def load(self):
      return (PlainTask(vf.TaskData(prompt=%(prompt)s)) for n in itertools.count())

  %(more)s
  __all__ = ["Plain"] + %(exports)s
"""
GOOD = {
  "body": "@vf.reward\n  async def short(self, trace) -> float:\n    return float(len(trace.last_reply) < 3)",
  "prompt": "str(n)",
  "more": "",
  "exports": "[]",
}
RUNTIME = "@vf.reward\n  async def run(self, trace, runtime) -> float:\n    return 1.0"
REQUEST = "@vf.stop\n  async def halt(self, request: vf.Request) -> bool:\n    return False"
PLAYS = "class Plays(vf.Env[vf.EnvConfig]):\n  async def run(self, task, agents):\n    pass"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("tasksets")
  (path / "agentrl_test_sums.py").write_text(textwrap.dedent(SUMS))
  sys.path.insert(0, str(path))
  yield path
  sys.path.remove(str(path))


@pytest.fixture
def plain(folder):
  """`plain(name, prompt=...)` writes a taskset with something in it that is as told."""

  def write(name, **parts):
    (folder / f"{name}.py").write_text(textwrap.dedent(PLAIN) % (GOOD | parts))
    return name

  return write


@pytest.fixture(autouse=True)
def all_ends():
  before = threading.active_count()
  yield
  assert threading.active_count() <= before + 1  # an abandoned call may still end


@contextlib.contextmanager
def opened(settings=None, call_seconds=60.0, system="", **options):
  options = {"taskset": "agentrl_test_sums", "settings": settings or {}} | options
  source = envs.make("verifiers", "", options=options, call_seconds=call_seconds, system=system)
  task = source.task(0, "train")
  with contextlib.closing(source.environment()) as environment:
    yield environment, environment.reset(task, 0), task


def call(name, **arguments):
  return Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(name, arguments),))


def say(text):
  return Action(TurnKind.ANSWER, text, answer=text)


def answer_of(task):
  return str(sum(map(int, task.question.replace(" = ?", "").split(" + "))))


def test_a_task_is_played_with_tools_and_scored(folder):
  with opened() as (environment, opening, task):
    assert opening == [Message("system", "Add."), Message("user", task.question)]
    spec = environment.tools[0]
    assert [tool.name for tool in environment.tools] == ["adder_add", "adder_broken", "adder_peek", "adder_slow"]
    assert (spec.description, spec.schema["required"]) == ("Adds two numbers.", ["a", "b"])
    assert environment.step(call("adder_add", a=2, b=3)).text == "5"
    assert environment.step(call("adder_peek")).text == answer_of(task)
    wrong = environment.step(call("adder_add", a=2, b="three"))
    assert [result.failure for result in wrong.results] == [ToolFailure.ARGUMENTS]
    (broken,) = environment.step(call("adder_broken")).results
    assert broken.failure is ToolFailure.EXCEPTION and "no such sum" in broken.text
    assert not environment.step(Action(TurnKind.VOID, "")).ok
    last = environment.step(say(answer_of(task)))
    assert (last.done, last.text) == (True, "")
    assert last.parts == {"right": 1.0, "used_tools": 1.0, "calls": 1.0, "rubric": 1.5, "correct": 1.0}
    with pytest.raises(RuntimeError, match="outside an episode"):
      environment.step(say("3"))


def test_a_wrong_answer_and_success_s_bound(folder):
  with opened() as (environment, _, _):
    assert environment.step(say("no")).parts == {
      "right": 0.0, "used_tools": 0.0, "calls": 0.0, "rubric": 0.0, "correct": 0.0,
    }  # fmt: skip
  with opened(success_reward=1.5) as (environment, _, task):
    parts = environment.step(say(answer_of(task))).parts
    assert (parts["rubric"], parts["correct"]) == (1.0, 0.0)


def test_a_stop_condition_ends_the_episode_with_its_calls_told(folder):
  with opened() as (environment, _, _):
    calls = Action(TurnKind.TOOL_CALL, "", calls=tuple(ToolCall("adder_add", {"a": n, "b": n}) for n in range(3)))
    last = environment.step(calls)
    assert (last.done, last.parts["calls"], last.parts["right"]) == (True, 3.0, 0.0)
    assert [result.text for result in last.results] == ["0", "2", "4"]


def test_a_slow_tool_is_a_time_out(folder):
  with opened(call_seconds=5.0) as (environment, _, _):
    (result,) = environment.step(call("adder_slow")).results
    assert (result.failure, result.text) == (ToolFailure.TIMEOUT, "error: adder_slow: no answer within 4 s")
    assert environment.step(call("adder_add", a=1, b=1)).text == "2"


def test_a_broken_reward_is_the_environment_s_failure(folder):
  with opened({"task": {"score_breaks": True}}) as (environment, _, _):
    with pytest.raises(EnvironmentFailed, match="scoring: AssertionError: the scale is gone"):
      environment.step(say("3"))


def test_prompts_of_several_messages(folder):
  with opened({"prompt": "chat"}) as (_, opening, _):
    assert [message.role for message in opening] == ["system", "user", "assistant", "user"]
    assert opening[2].action.answer == "2"
  with opened({"prompt": "chat"}, system="Be brief.") as (_, opening, _):
    assert [message.content for message in opening if message.role == "system"] == ["Be brief."]


def test_tasks_are_pure_json_split_and_start_over(folder):
  where = {"taskset": "agentrl_test_sums"}
  tasks = {split: [generate(i, split=split, **where) for i in range(60)] for split in ("train", "held_out")}
  questions = {split: {task.question for task in some} for split, some in tasks.items()}
  assert not questions["train"] & questions["held_out"]
  assert len(questions["train"] | questions["held_out"]) == 40
  assert tasks["train"][3] == generate(3, split="train", **where)
  assert json.loads(json.dumps(tasks["train"][3].data)) == tasks["train"][3].data
  assert tasks["train"][0].question == tasks["train"][len(questions["train"])].question
  assert [t.question for t in tasks["train"]] != [
    generate(i, split="train", seed=1, **where).question for i in range(60)
  ]
  assert generate(2**31 - 1, split="train", **where).id == "verifiers-agentrl_test_sums-train-1-2147483647"
  assert oracle(tasks["train"][0]) == []


def test_a_taskset_may_bring_a_split_of_its_own(folder):
  where = {"taskset": "agentrl_test_sums", "settings": {"count": 5}, "held_out": {"first": 5, "count": 5}}
  questions = {split: {generate(i, split=split, **where).question for i in range(9)} for split in ("train", "held_out")}
  assert [len(some) for some in questions.values()] == [5, 5]
  assert not questions["train"] & questions["held_out"]


def test_an_endless_taskset_is_read_up_to_a_limit(plain):
  name = plain("agentrl_test_endless")
  source = envs.make("verifiers", "", options={"taskset": name, "limit": 30})
  assert len({source.task(i, "train").question for i in range(99)}) < 30
  with contextlib.closing(source.environment()) as environment:
    environment.reset(source.task(0, "train"), 0)
    assert environment.tools == ()
    assert environment.step(say("no")).parts == {"short": 1.0, "rubric": 1.0, "correct": 1.0}


@pytest.mark.parametrize(
  ("name", "parts", "words"),
  [
    ("agentrl_test_runtime", {"body": RUNTIME}, "run needs a container"),
    ("agentrl_test_box", {"body": "NEEDS_CONTAINER = True"}, "need a container"),
    ("agentrl_test_request", {"body": REQUEST}, "the stop halt watches an API"),
    ("agentrl_test_plays", {"more": PLAYS, "exports": "['Plays']"}, "plays a part of its own"),
    ("agentrl_test_begins", {"prompt": "None"}, "tasks without a prompt"),
  ],
)
def test_what_cannot_be_played_is_refused(plain, name, parts, words):
  with pytest.raises(ValueError, match=words):
    generate(0, split="train", taskset=plain(name, **parts), limit=20)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({}, "need the option taskset"),
    ({"taskset": "agentrl_test_nowhere"}, "taskset 'agentrl_test_nowhere'.*not found"),
    ({"taskset": "agentrl_test_sums", "settings": {"cout": 3}}, "cout"),
    ({"taskset": "agentrl_test_sums", "settings": {"count": 0}}, "has no tasks"),
    ({"taskset": "agentrl_test_sums", "settings": {"count": 1}, "split": "held_out"}, "none is in the split held_out"),
    ({"taskset": "agentrl_test_sums", "difficulty": 2}, "difficulty 1 alone"),
    ({"taskset": "agentrl_test_sums", "split": "test"}, "no split is called 'test'"),
    ({"taskset": "agentrl_test_sums", "settings": {"task": {"adder": {"url": "http://x"}}}}, "Adder runs at a url"),
  ],
)
def test_wrong_options_are_errors(folder, options, words):
  with pytest.raises(ValueError, match=words):
    generate(0, **{"split": "train", **options})
