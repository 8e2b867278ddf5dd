"""The structs that flow through agentrl, and the dimension key.

`Task -> Environment -> prompt tokens -> slots -> Trajectory -> reward -> filter -> advantages -> Batch -> update`.

This module imports nothing of ours and no JAX, so that environments and rewards stay host code.

Dimension key, used in einsums, docstrings and comments everywhere:

  B rows or slots   G samples per prompt   T tokens of a row   A action tokens of a row   U turns
  V vocabulary      D width                H query heads       K key-value heads          C head channels
  F feed-forward    L layers               S cache positions   N trajectories of a batch, or nodes of a tree
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
  import jax


# ---- what is asked, said and answered -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Task:
  """One problem of a task family.

  Attributes:
    id: unique within its family and split, and a pure function of (family, split, difficulty, index).
    family: module name under `envs/tasks/`, or the name of an adapter.
    question: what the policy is asked, in words.
    answer: the reference answer as text, or None where only a checker or an environment can tell.
    difficulty: the family's dial; 1 is easiest.
    data: whatever else the family's checker, oracle or environment needs; JSON-serialisable.
    entry: of a mixture, the name of the entry that asks it; empty where families are not mixed.
    stratum: which of the kinds of tasks that the family knows this is, such as "known"; metrics and the viewer tell
      them apart, the policy is never told. Empty where the family has one kind alone.
  """

  id: str
  family: str
  question: str
  answer: str | None = None
  difficulty: int = 1
  data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  entry: str = ""
  stratum: str = ""


class Visit(NamedTuple):
  """A task, asked once more: a group of samples of it.

  Attributes:
    group: the `group_id` of its trajectories, and what seeds their environments and their uids; no two visits of a run
      have the same.
    index: number of the task in its split; the same number is the same task.
  """

  group: int
  index: int


def first_visits(indices: Iterable[int]) -> list[Visit]:
  """One visit of each task, with the task's number as its group."""
  return [Visit(index, index) for index in indices]


@dataclasses.dataclass(frozen=True)
class ToolCall:
  """A call as the policy wrote it. `arguments` maps parameter names to JSON values."""

  name: str
  arguments: Mapping[str, Any]


class TurnKind(enum.Enum):
  """What the policy did with a turn."""

  TOOL_CALL = "tool_call"
  ANSWER = "answer"
  VOID = "void"  # neither a call nor an answer
  MALFORMED = "malformed"  # tried to call a tool and got the syntax wrong


class StopReason(enum.Enum):
  """Why a trajectory ended."""

  ANSWERED = "answered"  # the environment said it is done
  TURN_LIMIT = "turn_limit"
  LENGTH_LIMIT = "length_limit"
  LOST_TURN = "lost_turn"  # a turn of a kind that ends the episode, see `rollout.end_on`
  ENVIRONMENT_FAILED = "environment_failed"


@dataclasses.dataclass(frozen=True)
class Action:
  """One turn of the policy, parsed from sampled text by a `ChatFormat`.

  Attributes:
    kind: see `TurnKind`.
    text: the sampled text of the turn, stop marker excluded.
    calls: tool calls in order of appearance; empty unless kind is TOOL_CALL.
    answer: final answer text; None unless kind is ANSWER.
    problem: what was malformed, in words a policy can use; None unless kind is MALFORMED.
  """

  kind: TurnKind
  text: str
  calls: Sequence[ToolCall] = ()
  answer: str | None = None
  problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Message:
  """One chat message.

  Attributes:
    role: "system", "user", "assistant" or "tool".
    content: its text; of an assistant message with an `action`, nothing.
    name: the tool's name, on tool messages.
    action: what the assistant does, where an example shows it; the chat format knows how that is written.
  """

  role: str
  content: str = ""
  name: str | None = None
  action: Action | None = None


class ToolFailure(enum.Enum):
  """Failures that are told to the policy in text and counted; the environment's own is `EnvironmentFailed`."""

  MALFORMED = "malformed"  # the policy's: syntax
  ARGUMENTS = "arguments"  # the policy's: unknown tool, wrong or missing argument
  EXCEPTION = "exception"  # the tool's
  TIMEOUT = "timeout"  # the tool's


@dataclasses.dataclass(frozen=True)
class ToolResult:
  """What one call gave.

  Attributes:
    call: as the policy wrote it.
    text: what the policy reads.
    ok: the call did not fail.
    failure: whose it was, where it did.
    seconds: wall time.
    cost: what the tool charges for the call, at least 0, in a unit that all tools of a task share, such as cents.
  """

  call: ToolCall
  text: str
  ok: bool
  failure: ToolFailure | None = None
  seconds: float = 0.0
  cost: float = 0.0


@dataclasses.dataclass(frozen=True)
class Observation:
  """What the environment answers to an `Action`.

  Attributes:
    text: what the policy reads next (already truncated, valid UTF-8); empty when done.
    done: the episode is over.
    parts: named reward parts that the environment itself knows, such as `{"correct": 1.0}`; final where done.
    ok: False when the action failed in a way that was told to the policy.
    results: one per tool call of the action, in order.
    name: tool name for the chat format's tool message, where one tool answered.
    reward: reward of this action alone, where the environment gives one. A part called "return" is their sum.
  """

  text: str
  done: bool = False
  parts: Mapping[str, float] = dataclasses.field(default_factory=dict)
  ok: bool = True
  results: Sequence[ToolResult] = ()
  name: str | None = None
  reward: float = 0.0


class NoRoom(Exception):
  """As many environments are open as there may be: the same call is worth another try when one has closed."""


class FailureKind(enum.Enum):
  """Why a trajectory has no reward."""

  RAISED = "raised"  # a call of the environment raised something
  DEADLINE = "deadline"  # it gave no answer in time
  LOST = "lost"  # the process that it lived in was lost
  ANSWER = "answer"  # what it answered is no list of messages, or no observation
  CHANGED = "changed"  # acted anew, it answered otherwise
  REWARD = "reward"  # no reward can be made of what it gave
  PROMPT = "prompt"  # its prompt does not fit: the task is left out


class EnvironmentFailed(Exception):
  """The environment broke (crash, lost process, deadline): the trajectory gets `reward=None` and leaves the update."""

  kind = FailureKind.RAISED  # of a subclass that does not call __init__ too

  def __init__(self, reason: str = "", kind: FailureKind = FailureKind.RAISED):
    super().__init__(reason)
    self.kind = kind


@dataclasses.dataclass(frozen=True)
class Failure:
  """What is kept of an `EnvironmentFailed`: `reason` is one that was cut."""

  kind: FailureKind
  reason: str


LARGEST_REWARD = 1e15  # the square of a larger one, summed over a batch, does not fit into float32
MOST_NESTED = 64  # levels of the arguments of a call: whatever writes or copies them goes down one by one


def is_nested_too_deeply(value: Any) -> bool:
  """Whether a JSON value has more than `MOST_NESTED` levels of lists and objects, one within another."""
  level = [value]
  for _ in range(MOST_NESTED):
    lists = [inner.values() if isinstance(inner, Mapping) else inner for inner in level if _holds_others(inner)]
    level = [inner for held in lists for inner in held]
  return any(map(_holds_others, level))


def _holds_others(value: Any) -> bool:
  return isinstance(value, Mapping | list | tuple)


# ---- what was sampled -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Turn:
  """One policy turn of a trajectory.

  Attributes:
    kind: see `TurnKind`.
    start, end: span of its sampled tokens, `tokens[start:end]`.
    text: decoded text of the span, for humans and rewards; never re-encoded.
    answer: final answer text where kind is ANSWER.
    results: tool results, one per call.
    observation: text that the environment fed back.
    ok: the observation's `ok`.
    latency: seconds that the environment took.
    reward: what the turn earned; until the trajectory has its reward, what the environment gave for the turn alone.
  """

  kind: TurnKind
  start: int
  end: int
  text: str
  answer: str | None = None
  results: Sequence[ToolResult] = ()
  observation: str = ""
  ok: bool = True
  latency: float = 0.0
  reward: float = 0.0

  @property
  def cost(self) -> float:
    """What the tools charge for the turn's calls, in their unit; see `ToolResult`."""
    return sum(result.cost for result in self.results)


@dataclasses.dataclass(frozen=True)
class VisitShares:
  """How a search divided its visits between a step of its path and a sibling of that, which a branch stands for.

  Attributes:
    branch: the sibling's share of the visits of all steps at that state. path: that of the path's own step.
    path_tokens: sampled tokens of the path's own step.
  """

  branch: float
  path: float
  path_tokens: int


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
  """One root-to-leaf path: host, ragged, NumPy. T is its own length.

  Its arrays are made read-only: rewards, credit and filters of anybody's read the same ones that are trained on.

  Attributes:
    tokens: int32 [T], exactly the ids that the model saw and wrote; never decoded and re-encoded.
    action_mask: bool [T], True where the policy sampled the token (stop token included).
    sampler_logp: f32 [T], log-probability when sampled, at the temperature used; 0 where not sampled.
    entropy: f32 [T], entropy of that distribution in nats; 0 where not sampled.
    turn: int32 [T], turn that the token belongs to (an observation's is the turn that caused it); -1 on the prompt.
    policy_version: int32 [T], update count of the weights that wrote it; -1 where not sampled.
    turns: one `Turn` per policy turn.
    reward_parts: named parts; None when the environment failed.
    reward: the sum of what the turns earned, `turn.reward`, to the last of which is added what only the end knows;
      None when the environment failed or no reward was assigned yet.
    task_id, group_id, uid: samples of one prompt share `group_id`; `uid` also seeds sampling.
    parent, fork_at: uid of the trajectory this one branched from, and the first token index that is its own.
      Tokens before `fork_at` are trained once, in the parent.
    stop: why it ended.
    failure: where the environment failed, how.
    temperature: sampling temperature.
    visits: of a branch that stands for a step which a search visited and did not take; its `reward` is the mean value
      of the visits, and it is no sample of its own. None: it is a sample.
    prefix: turns of another trajectory that were acted again before the first turn of its own; they belong to the
      prompt, and nothing of them is trained or counted among the turns.
    index: number of the task in its split.
    seed: what its environment was reset with.
  """

  tokens: np.ndarray
  action_mask: np.ndarray
  sampler_logp: np.ndarray
  entropy: np.ndarray
  turn: np.ndarray
  policy_version: np.ndarray
  turns: Sequence[Turn]
  task_id: str
  group_id: int
  uid: int
  stop: StopReason
  reward_parts: Mapping[str, float] | None = None
  reward: float | None = None
  parent: int | None = None
  fork_at: int = 0
  temperature: float = 1.0
  visits: VisitShares | None = None
  failure: Failure | None = None
  prefix: Sequence[Turn] = ()
  index: int = 0
  seed: int = 0

  def __post_init__(self):
    for array in (self.tokens, self.action_mask, self.sampler_logp, self.entropy, self.turn, self.policy_version):
      array.flags.writeable = False

  @property
  def prompt_length(self) -> int:
    """Number of tokens before the first turn."""
    return int(np.sum(self.turn < 0))

  @property
  def failed(self) -> bool:
    """The environment itself failed."""
    return self.stop is StopReason.ENVIRONMENT_FAILED

  @property
  def token_rewards(self) -> np.ndarray:
    """f32 [T]: what each turn earned, on its last token; of authored turns that nobody recorded, all on the last one.

    What nothing was sampled for is nowhere.
    """
    rewards = np.zeros(len(self.tokens), np.float32)
    sampled = np.flatnonzero(self.action_mask)
    for turn in self.turns:
      rewards[turn.end - 1] += turn.reward
    if not self.turns and len(sampled) and self.reward is not None:
      rewards[sampled[-1]] = self.reward
    return rewards


def succeeded(trajectory: Trajectory) -> bool:
  """The environment found the answer correct."""
  return bool(trajectory.reward_parts) and trajectory.reward_parts.get("correct", 0.0) >= 1.0


# ---- what is trained on -----------------------------------------------------------------------------------------


class Batch(NamedTuple):
  """Fixed rows for the device: how trajectories lie in them, and named columns of numbers per action token.

  A row holds a forest, depth first; see `batching/pack.py`. Token i sees token j exactly when
  `j <= i < subtree_end[j]`. The hidden state at `parent[i]` predicts token i. Only action tokens are ever unembedded:
  `action_index` lists where they stand, and every array named `action_` and every column has one entry per listed
  action token, so that no per-token array is ever padded twice. Where a term of the objective asks for them,
  observation tokens are listed too: `observed` tells them apart, and no column says anything of them.

  The leading axis M counts micro-batches; `micro_batches` of them hold anything.

  `columns` holds what somebody gave: `sampler_logp` as packed, and such as `advantages`, `rewards`, `returns`,
  `old_logp` (log-probs of the policy at the start of the update), `ref_logp` and `old_values`. None is required.
  """

  tokens: jax.Array  # int32 [M, B, T]
  positions: jax.Array  # int32 [M, B, T], depth in the tree
  # int32 [M, B, T], one past the last descendant; 0 on padding, which then sees and is seen by nothing
  subtree_end: jax.Array
  action_index: jax.Array  # int32 [M, B, A], index into T of each action token; 0 on padding
  action_parent: jax.Array  # int32 [M, B, A], index into T of the token whose hidden state predicts it
  action_offset: jax.Array  # int32 [M, B, A], index of the token in the trajectory that owns it; 0 on padding
  action_mask: jax.Array  # bool [M, B, A], False on padding, and where an observation token is listed
  action_sequence: jax.Array  # int32 [M, B, A], which trajectory of the batch owns the token; `sequences` on padding
  sequence_length: jax.Array  # f32 [N], action tokens of each trajectory, over the whole batch; 0 on padding
  sequence_group: jax.Array  # int32 [N], of which prompt each is a sample, counted from 0; N on padding
  temperature: jax.Array  # f32 []
  micro_batches: jax.Array  # int32 []
  columns: Mapping[str, jax.Array]  # f32 [M, B, A] each

  @property
  def listed(self) -> jax.Array:
    """Bool `[M, B, A]`, False on padding alone."""
    return self.action_sequence < self.sequence_length.shape[-1]

  @property
  def observed(self) -> jax.Array:
    """Bool `[M, B, A]`, True where an observation token is listed: one that the policy read behind a turn."""
    return self.listed & ~self.action_mask

  @property
  def per_token(self) -> dict[str, jax.Array]:
    """The fields `[M, B, T]` by name."""
    return {name: getattr(self, name) for name in ("tokens", "positions", "subtree_end")}

  @property
  def per_action(self) -> dict[str, jax.Array]:
    """The fields `[M, B, A]` by name, without the columns."""
    names = ("action_index", "action_parent", "action_offset", "action_mask", "action_sequence")
    return {name: getattr(self, name) for name in names}

  def with_columns(self, **columns: jax.Array) -> Batch:
    """The batch with these columns `[M, B, A]` too, in the place of those of the same name."""
    return self._replace(columns={**self.columns, **columns})

  def map_rows(self, change: Callable[[jax.Array], jax.Array]) -> Batch:
    """The batch with `change` applied to every array `[M, B, ...]`."""
    fields = {name: change(array) for name, array in (self.per_token | self.per_action).items()}
    return self._replace(**fields, columns={name: change(array) for name, array in self.columns.items()})
