"""The record of a trajectory: what was sampled, to the token, whatever the policy, the tools and the limits did."""

import dataclasses
import threading
import time

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.base import Setting, ToolEnvironment
from agentrl.envs.tool import ToolLimits, Toolset, ToolSpec
from agentrl.models.calls import CallsSyntax
from agentrl.models.chat import PLAIN, ChatFormat, TagSyntax
from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout.episode import Episode, Request, RequestQueue, play
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.workers import WorkerPool
from agentrl.types import (
  Action,
  EnvironmentFailed,
  Failure,
  FailureKind,
  Message,
  Observation,
  StopReason,
  Task,
  ToolCall,
  ToolFailure,
  TurnKind,
)
from tests.rollout.conftest import ENGINE, Counting
from tests.rollout.test_driver import assert_same

TOKENIZER = Tokenizer.byte_level()
TAGS = ChatFormat.tags(TOKENIZER, TagSyntax("count", "text", "<c>", "</c>", "[", "]"))
ANSWER_TAGS = ChatFormat.tags(TOKENIZER, TagSyntax("count", "text", "<c>", "</c>", "[", "]", "<a>", "</a>"))
END = TOKENIZER.special("<|im_end|>")


def episode(chat=TAGS, *, max_tokens=80, max_turns=3, behave=lambda calls: None):
  request = Request(Task("t0", "test", "q?"), 5, 2, 2, 0.7, max_tokens, max_turns)
  return Episode(request, lambda: Counting(behave), chat, policy_version=9)


# ---- what the mask covers --------------------------------------------------------------------------------------------

pieces = st.one_of(
  st.binary(min_size=1, max_size=6).map(list),
  st.sampled_from([list(b"<c>"), list(b"</c>"), list(b"<a>"), list(b"</a>"), list(b"</"), [END], list(b"<c>x</c>")]),
)


@given(
  st.sampled_from([TAGS, ANSWER_TAGS]),
  st.lists(pieces, min_size=1, max_size=30).map(lambda parts: [token for part in parts for token in part]),
  st.integers(1, 7),
  st.integers(4, 90),
  st.integers(1, 4),
)
def test_the_mask_covers_exactly_what_was_sampled(chat, stream, chunk, max_tokens, max_turns):
  """A policy writes `stream`, in chunks as a tick gives them; a naive scan of the bytes says where its turns end."""
  one = episode(chat, max_tokens=max_tokens, max_turns=max_turns)
  prompt = one.open()
  one.begin(prompt)
  position, written, expected, mask = 0, [], list(prompt), [False] * len(prompt)
  while not one.finished:
    room = min(chunk, max_tokens - one.length)
    tokens = [stream[(position + n) % len(stream)] for n in range(room)]
    ended = one.write(tokens, [-1.0 - t for t in tokens], [0.5] * len(tokens))
    taken = stop_of(chat, written + tokens, len(written))
    assert ended == (taken is not None)
    kept = tokens if taken is None else tokens[: taken - len(written)]
    written, expected, mask = written + kept, expected + kept, mask + [True] * len(kept)
    position += len(kept)
    if ended:
      action = one.action()
      assert action == chat.parse(written)
      feed = one.observe(action, one.act(action))
      written, expected, mask = [], expected + feed, mask + [False] * len(feed)
    elif one.length >= max_tokens:
      one.run_out()
  check(one.trajectory(), expected, mask, max_tokens, max_turns)


@pytest.mark.parametrize(
  ("text", "kind", "over"),
  [(b"<c>x", TurnKind.MALFORMED, False), (b"hm", TurnKind.VOID, True), (b"<c>x</c>", TurnKind.TOOL_CALL, False)],
)
def test_a_turn_of_a_kind_that_ends_the_episode_is_the_last_one(text, kind, over):
  """With answer tags a turn without any is void; the environment hears of it, and what it answers is not fed."""
  one = episode(ANSWER_TAGS)
  one.request = dataclasses.replace(one.request, end_on=frozenset([TurnKind.VOID]))
  one.begin(one.open())
  ids = [*text, *([END] if kind is not TurnKind.TOOL_CALL else [])]
  assert one.write(ids, [0.0] * len(ids), [0.0] * len(ids)) and one.action().kind is kind
  feed = one.observe(one.action(), one.act(one.action()))
  assert one.finished == over and bool(feed) != over
  if over:
    done = one.trajectory()
    assert done.stop is StopReason.LOST_TURN and done.turns[-1].observation == "1 calls"
    assert not done.failed and done.action_mask[-1]


def stop_of(chat, ids, start):
  """Length up to the first token, from `start` on, at which the turn's bytes hold a stop text or the end of turn."""
  for end in range(start + 1, len(ids) + 1):
    text = b"".join(chat.tokenizer.token_bytes(i) for i in ids[:end])
    if ids[end - 1] == END or any(stop.encode() in text for stop in chat.syntax.stops()):
      return end
  return None


def check(trajectory, expected, mask, max_tokens, max_turns):
  t = trajectory
  assert t.tokens.tolist() == expected and t.action_mask.tolist() == mask
  sampled = np.asarray(mask)
  np.testing.assert_array_equal(t.sampler_logp, np.where(sampled, -1.0 - t.tokens, 0.0).astype(np.float32))
  np.testing.assert_array_equal(t.entropy, np.where(sampled, np.float32(0.5), 0.0))
  np.testing.assert_array_equal(t.policy_version, np.where(sampled, 9, -1))
  spans = np.zeros(len(mask), bool)
  for number, turn in enumerate(t.turns):
    assert not spans[turn.start : turn.end].any() and turn.end > turn.start
    spans[turn.start : turn.end] = True
    assert set(t.turn[turn.start : turn.end]) == {number}
  assert spans.tolist() == mask
  assert len(t.tokens) <= max_tokens and len(t.turns) <= max_turns
  assert np.all(np.diff(t.turn) >= 0) and t.prompt_length == mask.index(True)
  assert (t.temperature, t.uid, t.group_id, t.task_id) == (0.7, 5, 2, "t0")


# ---- ends ------------------------------------------------------------------------------------------------------------


def say(one, text):
  """Writes text that must end a turn; returns what is fed back."""
  ids = [*text.encode()] if text.endswith("</c>") else [*text.encode(), END]
  assert one.write(ids, [-1.0] * len(ids), [0.0] * len(ids))
  action = one.action()
  return one.observe(action, one.act(action))


def test_an_answer_ends_it_with_the_environment_s_parts():
  one = episode()
  one.begin(one.open())
  assert say(one, "<c>x</c>") == [*b"[1 calls]"]
  assert say(one, "forty two") == []
  t = one.trajectory()
  assert t.stop is StopReason.ANSWERED and t.reward_parts == {"correct": 1.0} and t.reward is None
  assert [(turn.kind, turn.answer) for turn in t.turns] == [(TurnKind.TOOL_CALL, None), (TurnKind.ANSWER, "forty two")]
  assert t.tokens[-1] == END and t.action_mask[-1]


def test_the_turn_limit_feeds_no_last_observation():
  one = episode(max_turns=2)
  one.begin(one.open())
  assert say(one, "<c>x</c>") and not say(one, "<c>y</c>")
  t = one.trajectory()
  assert t.stop is StopReason.TURN_LIMIT and t.action_mask[-1] and t.turns[-1].observation == "2 calls"


def test_an_observation_that_leaves_no_room_ends_it():
  one = episode(max_tokens=20)
  one.begin(one.open())
  assert not say(one, "<c>x</c>")
  assert one.trajectory().stop is StopReason.LENGTH_LIMIT


def test_a_turn_cut_off_by_the_limit_is_never_acted_upon():
  def never(calls):
    raise AssertionError("acted upon")

  one = episode(behave=never)
  one.begin(one.open())
  assert not one.write([*b"<c>x</c"], [-1.0] * 7, [0.0] * 7)
  one.run_out()
  t = one.trajectory()
  assert t.stop is StopReason.LENGTH_LIMIT and not t.turns[-1].ok and t.turns[-1].kind is TurnKind.MALFORMED


def test_a_failed_environment_gives_no_reward_and_keeps_the_words():
  one = episode()
  one.begin(one.open())
  one.write([*b"<c>x</c>"], [-1.0] * 8, [0.0] * 8)
  one.fail(EnvironmentFailed("the worker died", FailureKind.LOST))
  t = one.trajectory()
  assert t.failed and t.reward_parts is None and t.reward is None and t.action_mask.sum() == 8
  assert t.failure == Failure(FailureKind.LOST, "the worker died")


def test_an_environment_that_never_opened_leaves_an_empty_trajectory():
  one = episode()
  one.fail(EnvironmentFailed("it did not start"))
  assert one.trajectory().failed and len(one.trajectory().tokens) == 0


def test_too_early_and_too_long_are_told():
  with pytest.raises(RuntimeError, match="trajectory 5 is not finished"):
    episode().trajectory()
  with pytest.raises(EnvironmentFailed, match=r"task t0: its prompt has 3 tokens.* raise rollout.max_tokens") as failed:
    episode(max_tokens=3).open()
  assert failed.value.kind is FailureKind.PROMPT


def test_authored_actions_must_finish():
  call = Action(TurnKind.TOOL_CALL, "", calls=[ToolCall("count", {"text": "x"})])
  answer = Action(TurnKind.ANSWER, "", answer="1")
  t = play(episode(), [call, answer])
  assert t.reward_parts == {"correct": 1.0} and len(t.turns) == 2
  with pytest.raises(ValueError, match="task t0: 1 authored actions do not finish it"):
    play(episode(), [call])


class OwnTools:
  """An environment with one tool, which is called as its task."""

  tools = ()

  def reset(self, task, seed):
    del seed
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    self.tools = (ToolSpec(task.id, "Doubles.", schema),)
    return [Message("user", task.question)]

  def step(self, action):
    return Observation(repr([(call.name, dict(call.arguments)) for call in action.calls]), done=not action.calls)

  def close(self):
    pass


@pytest.mark.parametrize("name", ["twice", "double"])
def test_calls_are_read_by_the_tools_of_their_own_task(name):
  chat = ChatFormat(TOKENIZER, PLAIN, CallsSyntax("=", "\n"))
  call = Action(TurnKind.TOOL_CALL, "", calls=[ToolCall(name, {"x": 3})])
  request = Request(Task(name, "test", "q?"), 5, 2, 2, 0.7, 80, 3)
  done = play(Episode(request, OwnTools, chat, 0), [call, Action(TurnKind.ANSWER, "", answer="6")])
  assert TOKENIZER.decode(done.tokens).startswith(f"\n{name}(x)\nq?\n<{name}:3>=[('{name}', {{'x': 3}})]\n6")
  with pytest.raises(ValueError, match=f"the tools are \\['{name}'\\]"):
    play(Episode(request, OwnTools, chat, 0), [Action(TurnKind.TOOL_CALL, "", calls=[ToolCall("see", {})])])


class Answers:
  """An environment that opens and answers with what it was given."""

  tools = ()

  def __init__(self, opening, answer):
    self._opening, self._answer = opening, answer

  def reset(self, task, seed):
    return self._opening

  def step(self, action):
    return self._answer

  def close(self):
    pass


def played(opening, answer, max_tokens=80):
  """An episode in which the policy calls once, and what it is fed then."""
  request = Request(Task("t0", "test", "q?"), 5, 2, 2, 0.7, max_tokens, 3)
  one = Episode(request, lambda: Answers(opening, answer), TAGS, policy_version=9)
  one.begin(one.open())
  one.write([*b"<c>x</c>"], [-1.0] * 8, [0.0] * 8)
  return one, one.observe(one.action(), one.act(one.action()))


OPENING = [Message("user", "q?")]


@pytest.mark.parametrize(
  ("opening", "answer", "words"),
  [
    (None, None, r"reset\(\) gave None where a list of Messages was due"),
    ([Message("user", "\ud800")], None, "the content of message 0 of .* lone surrogate at character 0"),
    (OPENING, None, r"step\(\) gave None where an Observation was due"),
    (OPENING, Observation("\ud800"), "the text of the observation is no valid Unicode"),
    (OPENING, Observation("x" * 10_000_000), "the text of the observation has 10000000 characters"),
  ],
)
def test_junk_does_not_enter_the_record(opening, answer, words):
  with pytest.raises(EnvironmentFailed, match=words) as failed:
    played(opening, answer)
  assert failed.value.kind is FailureKind.ANSWER


def test_a_prompt_that_is_far_too_long_is_never_made_tokens(monkeypatch):
  monkeypatch.setattr(type(TOKENIZER), "encode", lambda self, text: pytest.fail("a text of 10 MB was encoded"))
  with pytest.raises(EnvironmentFailed, match="its prompt has 10000000 characters, and must have fewer") as failed:
    played([Message("user", "x" * 10_000_000)], None)
  assert failed.value.kind is FailureKind.PROMPT


def test_an_observation_that_does_not_fit_ends_the_trajectory_at_its_limit():
  one, feed = played(OPENING, Observation("x" * 100))
  assert feed == [] and one.trajectory().stop is StopReason.LENGTH_LIMIT
  assert one.trajectory().tokens.tolist() == [*b"q?\n<c>x</c>"]


def test_an_observation_far_beyond_the_limit_is_cut_before_it_is_made_tokens(monkeypatch):
  encode, longest = type(TOKENIZER).encode, []
  monkeypatch.setattr(type(TOKENIZER), "encode", lambda self, text: longest.append(len(text)) or encode(self, text))
  one, feed = played(OPENING, Observation("x" * 900_000))
  assert feed == [] and one.trajectory().stop is StopReason.LENGTH_LIMIT and max(longest) < 80 * 16 + 100
  assert one.trajectory().turns[0].observation.endswith("\n[output cut: 900000 characters, first 1280 shown]")


def test_a_queue_gives_every_request_once_to_whoever_asks():
  queue, got, lock = RequestQueue(range(2000)), [], threading.Lock()

  def draw():
    for item in queue:
      with lock:
        got.append(item)

  threads = [threading.Thread(target=draw) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(timeout=10)
  assert sorted(got) == list(range(2000)) and next(queue, None) is None


# ---- tools that misbehave, in a whole rollout ------------------------------------------------------------------------


class Misbehaving(Toolset):
  """One tool; `kinds` says what it does by task, and "well" is what it does elsewhere."""

  def __init__(self, kinds):
    self._kinds, self._kind = kinds, "well"

  def reset(self, task, seed):
    self._kind = self._kinds.get(task.id, "well")

  def count(self, text: str) -> str:
    """Counts."""
    return OUTPUTS[self._kind](text)


def silent(text):
  time.sleep(5)


def raising(text):
  raise LookupError("the index is corrupt")


OUTPUTS = {
  "well": lambda text: "ok",
  "silent": silent,
  "raising": raising,
  "flooding": lambda text: "y" * 10_000_000,
  "garbled": lambda text: b"\xff\xfe\x00 then",
}
# Kind of tool: characters shown of its output, whose failure it is, and what the policy reads.
TOLD = {
  "silent": (50, ToolFailure.TIMEOUT, "error: count: no answer within 0.05 s"),
  "raising": (50, ToolFailure.EXCEPTION, "error: count: LookupError: the index is corrupt"),
  "flooding": (4, None, "yyyy\n[output cut: 10000000 characters, first 4 shown]"),
  "garbled": (50, None, "\ufffd\ufffd\ufffd then"),
}


def run_tools(lab, kinds, shown=50):
  """All groups of the lab, with tools that misbehave on some tasks; returns trajectories and failures."""

  def make():
    return ToolEnvironment(Misbehaving(kinds), lambda task, answer: True, Setting(limits=ToolLimits(0.05, shown)))

  pool = WorkerPool(4)
  strategy = Independent(
    RequestQueue(lab.requests(samples=2)), engine=ENGINE, chat=lab.chat, make_environment=make, pool=pool,
    environment_seconds=20.0,
  )  # fmt: skip
  lab.driver().run({"policy": lab.params}, jax.random.key(7), [strategy])
  pool.close()
  return strategy.trajectories, strategy.failures


@pytest.mark.parametrize("kind", TOLD)
def test_a_tool_s_failure_is_told_in_text_and_counted(lab, kind):
  shown, failure, text = TOLD[kind]
  got, failures = run_tools(lab, {task.id: kind for task in lab.tasks}, shown)
  results = [result for t in got for turn in t.turns for result in turn.results]
  assert len(got) == 10 and not failures and not any(t.failed for t in got) and results
  assert {(result.failure, result.text) for result in results} == {(failure, text)}
  assert all(turn.ok == (failure is None) for t in got for turn in t.turns if turn.results)
  fed = [t for t in got for turn in t.turns[:-1] if turn.results]
  assert fed and all(f"[{text}]" in TOKENIZER.decode(t.tokens.tolist()) for t in fed)


def test_misbehaving_tools_change_no_other_trajectory(lab):
  kinds = dict(zip([task.id for task in lab.tasks[:4]], TOLD, strict=True))
  (got, failures), (wanted, _) = run_tools(lab, kinds), run_tools(lab, {})
  assert len(got) == len(wanted) == 10 and not failures
  others = [[t for t in run if t.task_id == lab.tasks[4].id] for run in (got, wanted)]
  assert len(others[0]) == 2
  assert_same(*others)
