"""One trajectory in the making: what the policy wrote, what the environment answered, and who failed.

An `Episode` knows the chat format and the environment, and nothing of slots; a strategy moves it between the two.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from agentrl.envs import checks
from agentrl.envs.checks import failure_of
from agentrl.models.chat import ChatFormat
from agentrl.types import (
  Action,
  EnvironmentFailed,
  Failure,
  FailureKind,
  Message,
  Observation,
  StopReason,
  Task,
  Trajectory,
  Turn,
  TurnKind,
)

# Of what an environment says, for each token that a trajectory may have; hardly any text has so few tokens. Text beyond
# is never made tokens, which takes a second for every few hundred thousand characters.
CHARS_PER_TOKEN = 16
Numbers = Sequence[float] | None  # one per token
# Kinds of turns that may end an episode, as `rollout.end_on` names them.
LOST_TURNS = {kind.value: kind for kind in (TurnKind.VOID, TurnKind.MALFORMED)}


@dataclasses.dataclass(frozen=True)
class Start:
  """What stands before the policy acts: the beginning of another trajectory, of the same task and seed.

  Attributes:
    tokens: its prompt, its turns, and what the environment answered. of: the trajectory's name, for errors.
    turns: which are acted again, to bring the environment there; their spans lie in `tokens`.
  """

  tokens: Sequence[int]
  turns: Sequence[Turn]
  of: str


@dataclasses.dataclass(frozen=True)
class Request:
  """A trajectory that is wanted.

  Attributes:
    task: the problem. uid: seeds the sampling (uint32). group_id: samples of one prompt share it.
    seed: seeds the environment; the same for all samples of a group where they are to meet the same episode.
    temperature: of the sampling. max_tokens: length limit of the whole trajectory, prompt included.
    max_turns: policy turns.
    turn_tokens: sampled tokens after which a turn is over as it stands; 0: no such limit. Without it a policy that
      never ends its turn runs into `max_tokens`, and the environment never hears of it.
    end_on: kinds of turns behind which the episode is over; the environment is told of the turn all the same.
    index: number of the task in its split. start: what the policy goes on from, as prompt; None: the task alone.
  """

  task: Task
  uid: int
  group_id: int
  seed: int
  temperature: float
  max_tokens: int
  max_turns: int
  turn_tokens: int = 0
  end_on: frozenset[TurnKind] = frozenset()
  index: int = 0
  start: Start | None = None


class RequestQueue:
  """An iterator over requests that the host threads of several devices may draw from at once."""

  def __init__(self, requests: Iterable[Request]):
    self._requests = collections.deque(requests)

  def __iter__(self) -> Iterator[Request]:
    return self

  def __next__(self) -> Request:
    try:
      return self._requests.popleft()
    except IndexError:
      raise StopIteration from None


class Episode:
  """Collects one trajectory; every method is called from one thread at a time."""

  def __init__(self, request: Request, make_environment: Callable, chat: ChatFormat, policy_version: int):
    self.request = request
    self.length = 0
    self._make_environment = make_environment
    self._chat = chat
    self._version = policy_version
    self._environment = None
    self._record = {"tokens": [], "sampled": [], "logp": [], "entropy": [], "turn": []}
    self._turns: list[Turn] = []
    self._turn_start = 0
    self._parts: dict[str, float] = {}
    self._stop: StopReason | None = None
    self._failure: Failure | None = None
    self._seconds = 0.0

  @property
  def turn_limit(self) -> int:
    """Length at which the current turn is over, at the latest."""
    longest = self.request.max_tokens
    return min(longest, self._turn_start + self.request.turn_tokens) if self.request.turn_tokens else longest

  @property
  def tokens(self) -> Sequence[int]:
    """What stands so far, prompt included."""
    return tuple(self._record["tokens"])

  @property
  def finished(self) -> bool:
    """The trajectory is complete."""
    return self._stop is not None

  @property
  def prompt_length(self) -> int:
    """Number of tokens before the first turn."""
    return self._turns[0].start if self._turns else self._turn_start

  @property
  def after_tools(self) -> list[int]:
    """Where the policy goes on after each tool result so far: index of the first token behind the observation."""
    starts = [turn.start for turn in self._turns[1:]] + [self._turn_start]
    return [
      start
      for turn, start in zip(self._turns, starts, strict=False)
      if turn.kind is TurnKind.TOOL_CALL and start >= turn.end
    ]

  @property
  def replayed(self) -> int:
    """Turns that `open` acts again."""
    return 0 if self.request.start is None else len(self.request.start.turns)

  def window(self, start: int, size: int) -> list[float]:
    """Entropies in nats of the tokens sampled from `start` on, up to `size` of them and to the end of their turn."""
    return entropy_window(self._record["sampled"], self._record["entropy"], start, size)

  # -- calls that may block: a worker thread makes them ------------------------------------------------------------

  def open(self) -> list[int]:
    """Makes and resets the environment; returns the prompt's token ids, a start's too. May block and raise anything.

    Raises:
      EnvironmentFailed: what it gave is no opening; or, of kind PROMPT, the prompt leaves no room for a token.
    """
    self._environment = self._make_environment()
    messages = checks.as_messages(self._environment.reset(self.request.task, self.request.seed))
    tools = checks.as_tools(self._environment.tools)
    self._require_room(_chars(messages), "characters", self._max_chars)
    self._chat = self._chat.for_tools(tools)
    prompt = self._chat.prompt(messages, tools)
    self._require_room(len(prompt), "tokens", self.request.max_tokens)
    if not prompt:
      raise EnvironmentFailed(f"task {self.request.task.id}: its prompt has no token", FailureKind.ANSWER)
    start = self.request.start
    return prompt if start is None else self._brought_to(start, prompt)

  def act(self, action: Action) -> Observation:
    """Passes one action to the environment; returns a valid answer. May block and raise anything."""
    started = time.monotonic()
    observation = self._answer(action)
    self._seconds = time.monotonic() - started
    return observation

  # -- calls that only keep the record -----------------------------------------------------------------------------

  def begin(self, prompt: Sequence[int]) -> None:
    """Takes the prompt that `open` gave."""
    self._append(prompt, sampled=False, turn=-1)
    self._turn_start = self.length

  def write(self, tokens: Sequence[int], logp: Sequence[float], entropy: Sequence[float]) -> bool:
    """Takes sampled tokens; True when they end the turn. Tokens past the stop are dropped (`length` tells)."""
    before = self.length
    self._append(tokens, sampled=True, turn=len(self._turns), logp=logp, entropy=entropy)
    stop = self._chat.find_stop(self._record["tokens"][self._turn_start :], start=before - self._turn_start)
    if stop is None:
      return self.length == self.turn_limit < self.request.max_tokens
    self._cut(self._turn_start + stop)
    return True

  def author(self, action: Action) -> None:
    """Writes a whole turn that nobody sampled; its tokens carry log-probability 0.

    Raises:
      ValueError: the chat format cannot write it, or writes it without a stop.
    """
    ids = self._chat.render(action)
    if not self.write(ids, [0.0] * len(ids), [0.0] * len(ids)):
      raise ValueError(f"the chat format rendered {action} without a stop: {self._chat.tokenizer.decode(ids)!r}")

  def action(self) -> Action:
    """The current turn, parsed."""
    return self._chat.parse(self._record["tokens"][self._turn_start : self.length])

  def observe(self, action: Action, observation: Observation) -> list[int]:
    """Closes the turn with the environment's answer; returns the token ids to feed, empty when finished."""
    self._close_turn(action, observation)
    self._parts = dict(observation.parts)
    if observation.done:
      self._stop = StopReason.ANSWERED
      return []
    if action.kind in self.request.end_on:
      self._stop = StopReason.LOST_TURN
      return []
    if len(self._turns) >= self.request.max_turns:
      self._stop = StopReason.TURN_LIMIT
      return []
    ended_by_token = self._record["tokens"][-1] in self._chat.stop_tokens()
    feed = self._chat.observation(observation, ended_by_token)
    if self.length + len(feed) >= self.request.max_tokens:
      self._stop = StopReason.LENGTH_LIMIT
      return []
    self._append(feed, sampled=False, turn=len(self._turns) - 1)
    self._turn_start = self.length
    return feed

  def run_out(self) -> None:
    """The length limit came in the middle of a turn: the turn is kept as it stands and never acted upon."""
    if self.length > self._turn_start:
      self._close_turn(self.action(), Observation("", ok=False))
    self._stop = StopReason.LENGTH_LIMIT

  def fail(self, failure: EnvironmentFailed) -> None:
    """The environment failed: what was sampled is kept for the viewer, and there is no reward."""
    if self.length > self._turn_start:
      self._close_turn(Action(TurnKind.VOID, ""), Observation("", ok=False))
    self._stop = StopReason.ENVIRONMENT_FAILED
    self._failure = Failure(failure.kind, str(failure))

  def close(self) -> None:
    """Frees the environment; a failure to close is an environment failure of nobody's trajectory, and is raised."""
    if self._environment is not None:
      self._environment.close()

  def trajectory(self) -> Trajectory:
    """The finished trajectory, without reward."""
    if self._stop is None:
      raise RuntimeError(f"trajectory {self.request.uid} is not finished")
    sampled = np.asarray(self._record["sampled"], bool)
    failed = self._stop is StopReason.ENVIRONMENT_FAILED
    return Trajectory(
      tokens=np.asarray(self._record["tokens"], np.int32),
      action_mask=sampled,
      sampler_logp=np.asarray(self._record["logp"], np.float32),
      entropy=np.asarray(self._record["entropy"], np.float32),
      turn=np.asarray(self._record["turn"], np.int32),
      policy_version=np.where(sampled, self._version, -1).astype(np.int32),
      turns=tuple(self._turns),
      task_id=self.request.task.id,
      group_id=self.request.group_id,
      uid=self.request.uid,
      stop=self._stop,
      reward_parts=None if failed else self._parts,
      temperature=self.request.temperature,
      failure=self._failure,
      prefix=() if self.request.start is None else tuple(self.request.start.turns),
      index=self.request.index,
      seed=self.request.seed,
    )

  # -- inside --------------------------------------------------------------------------------------------------------

  @property
  def _max_chars(self) -> int:
    return CHARS_PER_TOKEN * self.request.max_tokens

  def _require_room(self, size: int, unit: str, most: int):
    if size >= most:
      raise EnvironmentFailed(
        f"task {self.request.task.id}: its prompt has {size} {unit}, and must have fewer than {most}, since a "
        f"trajectory has {self.request.max_tokens} tokens at most: raise rollout.max_tokens and pack.row_tokens, or "
        "shorten the prompt",
        FailureKind.PROMPT,
      )

  def _answer(self, action: Action) -> Observation:
    return checks.as_observation(self._environment.step(action), self._max_chars)

  def _brought_to(self, start: Start, prompt: Sequence[int]) -> list[int]:
    """Acts the turns of a start again; returns its tokens."""
    self._require_room(len(start.tokens), "tokens", self.request.max_tokens)
    self._require_same_prompt(prompt, start.tokens[: start.turns[0].start if start.turns else None], start.of)
    for turn in start.turns:
      self._repeat(turn, start.tokens, start.of)
    return list(start.tokens)

  def _require_same_prompt(self, prompt: Sequence[int], of_other: Sequence[int], other: str) -> None:
    if list(prompt) != list(of_other):
      raise EnvironmentFailed(
        f"task {self.request.task.id}: reset with seed {self.request.seed} gave another prompt than to {other}; all "
        "that is random in an environment must derive from its seed",
        FailureKind.CHANGED,
      )

  def _repeat(self, turn: Turn, tokens: Sequence[int], other: str) -> None:
    """Acts a turn of another trajectory again, and wants the same answer."""
    observation = self._answer(self._chat.parse(list(tokens[turn.start : turn.end])))
    if (observation.text, observation.ok, observation.done) != (turn.observation, turn.ok, False):
      raise EnvironmentFailed(
        f"task {self.request.task.id}: repeating the actions of {other} gave {observation.text[:200]!r} where it had "
        f"read {turn.observation[:200]!r}; what is acted again needs tools that answer alike each time",
        FailureKind.CHANGED,
      )
    self._parts = dict(observation.parts)

  def _append(
    self, tokens: Sequence[int], *, sampled: bool, turn: int, logp: Numbers = None, entropy: Numbers = None
  ) -> None:
    count = len(tokens)
    zeros = [0.0] * count
    new = (list(map(int, tokens)), [sampled] * count, zeros if logp is None else list(map(float, logp)))
    new += (zeros if entropy is None else list(map(float, entropy)), [turn] * count)
    for column, values in zip(self._record.values(), new, strict=True):
      column.extend(values)
    self.length += count

  def _cut(self, length: int) -> None:
    for column in self._record.values():
      del column[length:]
    self.length = length

  def _close_turn(self, action: Action, observation: Observation) -> None:
    self._turns.append(
      Turn(
        kind=action.kind,
        start=self._turn_start,
        end=self.length,
        text=self._chat.tokenizer.decode(self._record["tokens"][self._turn_start : self.length]),
        answer=action.answer,
        results=tuple(observation.results),
        observation=observation.text,
        ok=observation.ok,
        latency=self._seconds,
        reward=observation.reward,
      )
    )
    self._seconds = 0.0


class Branch(Episode):
  """An episode that goes on from another one's tool result, with a `uid` and an environment of its own.

  Environments are objects with state that nobody can copy, so the branch's own is brought to the same place by what
  the parent did: same seed, same actions. One that answers anything else than it did the parent has failed.

  Args:
    parent: the episode that it leaves; it may be going on, or over.
    request: of the same task and seed; its uid seeds what the branch samples.
    fork_at: one of the parent's `after_tools`.
  """

  def __init__(self, parent: Episode, request: Request, fork_at: int):
    super().__init__(request, parent._make_environment, parent._chat, parent._version)
    if fork_at not in parent.after_tools:
      raise ValueError(f"trajectory {parent.request.uid} has no tool result that ends at {fork_at}")
    self.parent, self.fork_at = parent.request.uid, fork_at
    self.length = self._turn_start = fork_at
    self._record = {name: column[:fork_at] for name, column in parent._record.items()}
    self._turns = [turn for turn in parent._turns if turn.end <= fork_at]

  @property
  def replayed(self) -> int:
    """Turns that are acted again to get to the fork."""
    return super().replayed + sum(turn.end <= self.fork_at for turn in self._turns)

  def open(self) -> list[int]:
    """Makes an environment and repeats what the parent did up to the fork; returns the prompt. May block and raise."""
    prompt, tokens, parent = super().open(), self._record["tokens"], f"trajectory {self.parent}"
    self._require_same_prompt(prompt, tokens[: self.prompt_length], parent)
    for turn in list(self._turns):
      self._repeat(turn, tokens, parent)
    return prompt

  def begin(self, prompt: Sequence[int]) -> None:
    """The record has its beginning already."""

  def trajectory(self) -> Trajectory:
    """See `Episode`."""
    return dataclasses.replace(super().trajectory(), parent=self.parent, fork_at=self.fork_at)


def derived_uid(*parts: int | str) -> int:
  """uint32 of a sample that belongs to another, such as a step of a tree: a hash, so that no two share a sequence."""
  digest = hashlib.blake2b(repr(parts).encode(), digest_size=4)
  return int.from_bytes(digest.digest(), "little")


def entropy_window(sampled: Sequence[bool], entropy: Sequence[float], start: int, size: int) -> list[float]:
  """Entropies of consecutive sampled tokens from `start` on, `size` of them at most.

  Args:
    sampled, entropy: `[T]`, of a trajectory.
  """
  stop = next((t for t in range(start, len(sampled)) if not sampled[t]), len(sampled))
  return [float(value) for value in entropy[start : min(stop, start + size)]]


def play(episode: Episode, actions: Sequence[Action]) -> Trajectory:
  """A trajectory of authored actions: oracle traces for a cold start.

  Raises:
    EnvironmentFailed: the environment raised something.
    ValueError: the actions end before the environment is done.
  """
  with contextlib.closing(episode):
    episode.begin(_asked(episode.open))
    for action in actions:
      episode.author(action)
      parsed = episode.action()
      episode.observe(parsed, _asked(episode.act, parsed))
      if episode.finished:
        break
  if not episode.finished:
    raise ValueError(f"task {episode.request.task.id}: {len(actions)} authored actions do not finish it")
  return episode.trajectory()


def _asked(call: Callable[..., Any], *arguments: Any) -> Any:
  """What the environment answers."""
  try:
    return call(*arguments)
  except (Exception, SystemExit) as error:
    raise failure_of(error) from error


def _chars(messages: Sequence[Message]) -> int:
  """Characters of what the messages say."""
  return sum(len(message.content) + (0 if message.action is None else len(message.action.text)) for message in messages)
