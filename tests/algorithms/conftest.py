"""Six recorded trajectories, a policy small enough to score them naively, and what that scoring gives."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.algorithms import forward
from agentrl.algorithms.contract import Policy
from agentrl.batching.pack import PackConfig
from agentrl.models import transformer
from agentrl.types import StopReason, Trajectory, Turn, TurnKind

MODEL = transformer.ModelConfig(vocab_size=9, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, ffn=24)
PACK = PackConfig(row_tokens=24, row_actions=16, rows=2, sequences=8)
LONGEST = 10
TEMPERATURE = 0.7
# Sampled tokens of the two turns, and what each of them earned; three samples of each of two prompts.
RECORDED = [
  ((2, 1), (0.25, 0.75)),
  ((1, 2), (0.0, 0.0)),
  ((3, 2), (0.375, 0.125)),
  ((1, 1), (0.0, 1.0)),
  ((2, 2), (1.5, -0.5)),
  ((1, 3), (0.5, -0.5)),
]


class Naive(NamedTuple):
  """Of one trajectory, in float64; 0 where the policy did not sample the token."""

  hidden: np.ndarray  # [T, D], the state that predicts each token
  logp: np.ndarray  # [T]
  entropy: np.ndarray  # [T]


@pytest.fixture(scope="session")
def policy():
  return Policy(MODEL, PACK)


@pytest.fixture(scope="session")
def params():
  return transformer.init_params(jax.random.key(0), MODEL)


@pytest.fixture(scope="session")
def other_params():
  return transformer.init_params(jax.random.key(1), MODEL)


@pytest.fixture(scope="session")
def naive():
  """`naive(params, trajectory) -> Naive`: one path at a time, every logit of every token."""

  @jax.jit
  def forward(params, tokens):
    positions = jnp.arange(LONGEST, dtype=jnp.int32)[None]
    hidden = transformer.forward(params, tokens, positions, jnp.full_like(tokens, LONGEST), config=MODEL)[0]
    return hidden, hidden @ transformer.unembedding(params, MODEL)

  def score(params, trajectory):
    length = len(trajectory.tokens)
    tokens = np.zeros((1, LONGEST), np.int32)
    tokens[0, :length] = trajectory.tokens
    hidden, logits = (np.asarray(x, np.float64)[: length - 1] for x in forward(params, tokens))
    scaled = logits / trajectory.temperature
    log_p = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    taken = log_p[np.arange(length - 1), trajectory.tokens[1:]]
    entropy = -(np.exp(log_p) * log_p).sum(axis=1)
    sampled = trajectory.action_mask.astype(np.float64)
    after = lambda x: np.concatenate([np.zeros_like(x[:1]), x])  # the state at t - 1 predicts token t
    return Naive(after(hidden) * sampled[:, None], after(taken) * sampled, after(entropy) * sampled)

  return score


@pytest.fixture(scope="session")
def trajectories(naive, params):
  """Prompt, turn, observation of one token, turn; the sampler is up to 0.4 nats off `params`."""
  rng = np.random.default_rng(0)
  prompts = rng.integers(0, 9, size=(2, 2))
  return [_recorded(uid, prompts[uid // 3], rng, naive, params) for uid in range(len(RECORDED))]


def _recorded(uid, prompt, rng, naive, params):
  (first, second), turn_rewards = RECORDED[uid]
  reward = sum(turn_rewards)
  turn = [-1] * 2 + [0] * (first + 1) + [1] * second
  sampled = np.array([False] * 2 + [True] * first + [False] + [True] * second)
  tokens = np.concatenate([prompt, rng.integers(0, 9, size=first + 1 + second)]).astype(np.int32)
  spans = [(2, 2 + first), (3 + first, len(tokens))]
  turns = tuple(
    Turn(TurnKind.TOOL_CALL, start, end, "", reward=r) for (start, end), r in zip(spans, turn_rewards, strict=True)
  )
  zeros = np.zeros(len(tokens), np.float32)
  bare = Trajectory(
    tokens, sampled, zeros, zeros, np.asarray(turn, np.int32), np.where(sampled, 0, -1).astype(np.int32), turns,
    f"task{uid // 3}", uid // 3, uid, StopReason.ANSWERED, {"correct": reward}, reward, temperature=TEMPERATURE,
  )  # fmt: skip
  noise = np.where(sampled, rng.uniform(-0.4, 0.4, size=len(tokens)), 0.0)
  return dataclasses.replace(bare, sampler_logp=(naive(params, bare).logp + noise).astype(np.float32))


@pytest.fixture(scope="session")
def where():
  """`where(batch) -> (n [M, B, A], t [M, B, A])`: the trajectory and its token that each listed action is."""

  def find(batch):
    offset = np.take_along_axis(np.asarray(batch.positions), np.asarray(batch.action_index), axis=2)
    return np.asarray(batch.action_sequence), offset

  return find


@pytest.fixture(scope="session")
def listed(where):
  """`listed(batch, columns) -> [M, B, A]`: per-token arrays `[T_n]` at the listed actions, 0 on padding."""

  def spread(batch, columns):
    owner, offset = where(batch)
    out = np.zeros(owner.shape)
    for index in np.argwhere(np.asarray(batch.action_mask)):
      out[tuple(index)] = columns[owner[tuple(index)]][offset[tuple(index)]]
    return out

  return spread


@pytest.fixture(scope="session")
def compiled_outputs():
  return jax.jit(forward.action_outputs, static_argnums=2)


@pytest.fixture
def forward_once(monkeypatch, compiled_outputs):
  """Losses that a test runs one operation at a time share one compiled forward pass, and its gradient."""
  monkeypatch.setattr(forward, "action_outputs", compiled_outputs)


def branch(of, uid, fork_at, tokens):
  """A trajectory that shares `of`'s tokens before `fork_at` and samples the given ones."""
  grow = lambda x, new: np.concatenate([x[:fork_at], np.full(len(tokens), new, x.dtype)])
  return dataclasses.replace(
    of,
    tokens=np.concatenate([of.tokens[:fork_at], np.asarray(tokens, np.int32)]),
    action_mask=grow(of.action_mask, True),
    sampler_logp=grow(of.sampler_logp, -0.5),
    entropy=grow(of.entropy, 0.0),
    turn=grow(of.turn, 1),
    policy_version=grow(of.policy_version, 0),
    uid=uid,
    parent=of.uid,
    fork_at=fork_at,
  )


@pytest.fixture(scope="session")
def forest(trajectories):
  """Two groups behind shared prompts, with a branch, and a branch of that branch."""
  first = branch(trajectories[3], 10, 4, [5, 0, 8])
  return [*trajectories, first, branch(first, 11, 6, [2])]
