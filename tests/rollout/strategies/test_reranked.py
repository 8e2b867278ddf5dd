"""Re-ranking against a naive loop over strings, and through the engine: who is still going on changes nothing."""

import dataclasses
import functools
import threading

import jax
import numpy as np
import pytest

from agentrl.models.chat import ChatFormat, TagSyntax
from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout.driver import RolloutStats
from agentrl.rollout.episode import Request
from agentrl.rollout.strategies.reranked import Reranked, candidate_uid
from agentrl.rollout.strategies.utterances import Utterances, UtteranceSampler
from agentrl.rollout.workers import WorkerPool
from agentrl.types import FailureKind, NoRoom, Observation, StopReason, Task, Trajectory
from tests.rollout.conftest import ENGINE, Counting
from tests.rollout.test_driver import assert_same

TOKENIZER = Tokenizer.byte_level()
CHAT = ChatFormat.tags(TOKENIZER, TagSyntax("count", "text", "<c>", "</c>", "[", "]"))
END = TOKENIZER.special("<|im_end|>")
CALLS = [[*f"<c>{text}</c>".encode()] for text in ("x", "yy", "zzz", "w", "vv")]
SAYINGS = [*CALLS, [*b"forty", END], [*b"two", END]]
CANDIDATES = 3


def said(uid):
  """A policy that heeds nothing but its uid."""
  return SAYINGS[uid % len(SAYINGS)]


def worth(state, utterance):
  """A judge by hand, of few values, so that there are ties."""
  return (sum(state) + 3 * len(utterance) + 5 * utterance[len(utterance) // 2]) % 4


def sample(states, uids, temperatures):
  found = [_trajectory(state, said(uid), uid) for state, uid in zip(states, uids, strict=True)]
  return Utterances(found, RolloutStats(sum(len(said(uid)) for uid in uids), 0, 0, 0, 1, 0.0))


def _trajectory(state, utterance, uid):
  sampled = np.arange(len(state) + len(utterance)) >= len(state)
  turn = np.where(sampled, 0, -1).astype(np.int32)
  logp = np.where(sampled, -(uid % 97) / 100, 0.0).astype(np.float32)
  tokens = np.concatenate([state, utterance]).astype(np.int32)
  return Trajectory(tokens, sampled, logp, 2 * logp, turn, turn, (), "", 0, uid, StopReason.ANSWERED)


def judge(trajectories):
  return np.asarray(
    [worth(t.tokens[: t.prompt_length].tolist(), t.tokens[t.prompt_length :].tolist()) for t in trajectories]
  )


def request(uid, **limits):
  settings = {"max_tokens": 200, "max_turns": 4, **limits}
  return Request(Task(f"t{uid}", "test", "q" * (uid % 5 + 1)), uid, uid, uid, 1.0, **settings)


def play(requests, *, make_environment=Counting, seconds=20.0, **settings):
  """(trajectories by uid, costs, failures)."""
  settings = {"candidates": CANDIDATES, "sample": sample, "judge": judge, "chat": CHAT, **settings}
  pool = WorkerPool(2)
  reranked = Reranked(
    requests, pool=pool, make_environment=make_environment, environment_seconds=seconds, policy_version=9, **settings
  )
  costs = reranked.run()
  pool.close()
  return sorted(reranked.trajectories, key=lambda t: t.uid), costs, reranked.failures


def naive(one, prompt):
  """Tokens of one trajectory, and the uid of what is said at each turn."""
  tokens, uids = list(prompt), []
  for turn in range(one.max_turns):
    found = [candidate_uid(one.uid, turn, n) for n in range(CANDIDATES)]
    scores = [worth(tokens, said(uid)) for uid in found]
    uids.append(found[scores.index(max(scores))])
    tokens += said(uids[-1])
    if tokens[-1] == END:
      break
    if turn + 1 < one.max_turns:
      tokens += f"[{turn + 1} calls]".encode()
  return tokens, uids


def test_the_best_of_the_candidates_is_said():
  wanted = [request(uid) for uid in range(12)]
  got, costs, failures = play(wanted)
  assert [t.uid for t in got] == list(range(12)) and not failures
  assert {t.stop for t in got} == {StopReason.ANSWERED, StopReason.TURN_LIMIT}
  assert max(len(t.turns) for t in got) == 4 and len({len(t.turns) for t in got}) > 1
  for one, t in zip(wanted, got, strict=True):
    tokens, uids = naive(one, t.tokens[: t.prompt_length])
    assert t.tokens.tolist() == tokens
    assert t.tokens[t.action_mask].tolist() == [token for uid in uids for token in said(uid)]
    logp = np.concatenate([np.full(len(said(uid)), -(uid % 97) / 100) for uid in uids])
    np.testing.assert_allclose(t.sampler_logp[t.action_mask], logp, rtol=1e-6)
    np.testing.assert_allclose(t.entropy[t.action_mask], 2 * logp, rtol=1e-6)
    assert set(t.policy_version[t.action_mask]) == {9} and not t.sampler_logp[~t.action_mask].any()
  candidates = [candidate_uid(t.uid, turn, n) for t in got for turn in range(len(t.turns)) for n in range(CANDIDATES)]
  assert sum(cost.sampled for cost in costs) == sum(len(said(uid)) for uid in candidates)
  assert len(costs) == 4 and len(set(candidates)) == len(candidates)


def test_one_candidate_needs_no_judgement():
  got, _, _ = play([request(3)], candidates=1, judge=lambda trajectories: np.full(len(trajectories), np.nan))
  assert got[0].tokens[got[0].action_mask].tolist() == [
    token for turn in range(len(got[0].turns)) for token in said(candidate_uid(3, turn, 0))
  ]


def test_the_length_limit_cuts_a_turn_that_nobody_hears():
  def endless(states, uids, temperatures):
    room = [30 - len(state) for state in states]
    found = [_trajectory(s, [ord("x")] * n, uid) for s, n, uid in zip(states, room, uids, strict=True)]
    return Utterances(found, RolloutStats(sum(room), 0, 0, 0, 1, 0.0))

  got, _, failures = play([request(1, max_tokens=30)], sample=endless)
  assert got[0].stop is StopReason.LENGTH_LIMIT and len(got[0].tokens) == 30 and not failures
  assert len(got[0].turns) == 1 and not got[0].turns[0].ok


class Crowded(Counting):
  """Of these environments no more may be open at once than `room` lets in."""

  def __init__(self, room):
    super().__init__()
    self._room, self._inside = room, False

  def reset(self, task, seed):
    if not self._room.acquire(blocking=False):
      raise NoRoom("full")
    self._inside = True
    return super().reset(task, seed)

  def close(self):
    if self._inside:
      self._room.release()
      self._inside = False


def test_episodes_that_find_no_room_begin_when_others_are_over():
  wanted, room = [request(uid) for uid in range(7)], threading.Semaphore(2)
  expected, costs, _ = play(wanted)
  crowded = functools.partial(play, wanted, make_environment=lambda: Crowded(room))
  (played,) = WorkerPool(1).call_all([crowded], 30.0)
  got, more, failures = played.result()
  assert not failures and len(more) > len(costs)
  assert_same(got, expected)


class Breaks(Counting):
  """Does as `kinds` says of a task: fails at its reset, fails at a call, or hangs at a call until `gone`."""

  def __init__(self, kinds, gone):
    super().__init__(self._break)
    self._kinds, self._gone = kinds, gone

  def reset(self, task, seed):
    self._kind = self._kinds.get(task.id)
    if self._kind == "reset":
      raise OSError("no such database")
    return super().reset(task, seed)

  def _break(self, calls):
    if self._kind == "call":
      raise OSError("connection lost")
    if self._kind == "hang":
      self._gone.wait(20)

  def close(self):
    if self._kind == "close":
      raise OSError("stale handle")


def test_a_failed_environment_has_no_reward_and_changes_no_other_trajectory():
  talks = [t.uid for t in play([request(uid) for uid in range(12)])[0] if len(t.turns) > 1]
  call, hang, closing = talks[:3]
  reset = next(uid for uid in range(12) if uid not in (call, hang, closing))
  kinds = {f"t{reset}": "reset", f"t{call}": "call", f"t{hang}": "hang", f"t{closing}": "close"}
  gone, seen = threading.Event(), []
  got, _, failures = play(
    [request(uid) for uid in range(12)], make_environment=lambda: Breaks(kinds, gone), seconds=1.0,
    on_finish=lambda t: seen.append(t.uid),
  )  # fmt: skip
  gone.set()
  assert {t.uid for t in got if t.failed} == {reset, call, hang} and sorted(seen) == list(range(12))
  assert all(t.reward_parts is None and t.reward is None for t in got if t.failed)
  kinds = {t.uid: t.failure.kind for t in got if t.failed}
  assert kinds == {reset: FailureKind.RAISED, call: FailureKind.RAISED, hang: FailureKind.DEADLINE}
  assert sorted(str(failure).partition(" (test_reranked.py")[0] for failure in failures) == [
    "OSError: connection lost", "OSError: no such database", "OSError: stale handle",
    "no answer from the environment in 1 s",
  ]  # fmt: skip
  undisturbed = play([request(uid) for uid in range(12)])[0]
  assert_same([t for t in got if not t.failed], [undisturbed[t.uid] for t in got if not t.failed])


def test_junk_costs_its_own_trajectory_alone():
  class Junk(Counting):
    def reset(self, task, seed):
      self._task = task.id
      return super().reset(task, seed) if task.id != "t3" else "q?"

    def step(self, action):
      return super().step(action) if self._task != "t5" else Observation(None)

  got, _, failures = play([request(uid) for uid in range(12)], make_environment=Junk)
  assert [t.uid for t in got if t.failed] == [3, 5] and len(failures) == 2
  assert all(t.failure.kind is FailureKind.ANSWER for t in got if t.failed)


# ---- through the engine ----------------------------------------------------------------------------------------------


@pytest.fixture
def rerank(lab):
  """`rerank(requests, engine=ENGINE)`: as `play`, with the lab's policy."""

  def run(requests, engine=ENGINE):
    sampler = UtteranceSampler(
      lab.driver(engine), engine, lab.chat, temperature=1.0, max_tokens=90, turn_tokens=12, place=lambda p: p
    )
    key = jax.random.key(7)
    return play(
      [dataclasses.replace(one, turn_tokens=12) for one in requests], chat=lab.chat,
      sample=functools.partial(sampler.sample, {"policy": lab.params}, key),
    )  # fmt: skip

  return run


def test_a_uid_says_what_is_said_whoever_else_goes_on(lab, rerank):
  whole, costs, failures = rerank(lab.requests(samples=2))
  assert len(whole) == 10 and not failures and len({len(t.turns) for t in whole}) > 1
  assert sum(cost.sampled for cost in costs) >= CANDIDATES * sum(t.action_mask.sum() for t in whole) / 2
  chosen = [one for one in lab.requests(samples=2, shuffle=1) if one.group_id in (1, 4)]
  assert_same(rerank(chosen)[0], [t for t in whole if t.group_id in (1, 4)])
  slots = dataclasses.replace(ENGINE, slots=3)
  assert_same(rerank(chosen, slots)[0], [t for t in whole if t.group_id in (1, 4)], atol=2e-5)
