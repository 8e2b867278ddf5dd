"""A probe task for ArCHer: dialogues of two turns, each of which should repeat the prompt, and a stand-in sampler."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from agentrl.algorithms import archer
from agentrl.algorithms.contract import Policy
from agentrl.batching.pack import PackConfig
from agentrl.models import transformer
from agentrl.training import config_values
from agentrl.types import StopReason, Trajectory, Turn, TurnKind

MODEL = transformer.ModelConfig(vocab_size=9, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, ffn=24)
PACK = PackConfig(row_tokens=16, row_actions=8, rows=4, sequences=24)
PROMPTS, SAMPLES, OBSERVATION, DISCOUNT = 4, 6, 8, 0.9
SMALL = {
  "discount": DISCOUNT,
  "replay_capacity": 300,
  "critic": {"hidden": 32, "learning_rate": 1e-2, "updates": 20, "batch": 16, "dialogues": 32},
  "actor": {"updates": 4, "batch": 24, "warmup": 5},
}


@jax.jit
def log_probabilities(params, tokens):
  """f32 [N, V] of the token after each row of equal length."""
  positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32)[None], tokens.shape)
  hidden = transformer.forward(params, tokens, positions, jnp.full_like(tokens, tokens.shape[1]), config=MODEL)
  return jax.nn.log_softmax(hidden[:, -1] @ transformer.unembedding(params, MODEL))


def speak(params, states, rng):
  """One token after each state, and its log-probability; states of one length."""
  logp = np.asarray(log_probabilities(params, jnp.asarray(states)))
  token = np.argmax(logp + rng.gumbel(size=logp.shape), axis=-1).astype(np.int32)
  return token, np.take_along_axis(logp, token[:, None], axis=1)[:, 0]


def dialogue(uid, tokens, spans, logp, rewards):
  """A trajectory whose sampled tokens are at `spans`; each turn earned its reward."""
  mask, turn = np.zeros(len(tokens), bool), np.full(len(tokens), -1, np.int32)
  for number, start in enumerate(spans):
    mask[start], turn[start:] = True, number
  spread = np.zeros(len(tokens), np.float32)
  spread[mask] = logp
  turns = tuple(
    Turn(TurnKind.ANSWER, start, start + 1, "", reward=float(r)) for start, r in zip(spans, rewards, strict=True)
  )
  return Trajectory(
    np.asarray(tokens, np.int32), mask, spread, np.zeros(len(tokens), np.float32), turn,
    np.where(mask, 0, -1).astype(np.int32), turns, "t", uid, uid, StopReason.ANSWERED, {}, float(sum(rewards)),
  )  # fmt: skip


def sampler(params, key, states):
  """Stands in for the engine: one token from each state, of length 1 or 3."""
  rng, out = np.random.default_rng(np.asarray(jax.random.key_data(key))), [None] * len(states)
  for length in {len(s) for s in states}:
    index = [n for n, s in enumerate(states) if len(s) == length]
    token, logp = speak(params, np.stack([states[n] for n in index]), rng)
    for n, one, lp in zip(index, token, logp, strict=True):
      out[n] = dialogue(n, [*states[n], one], [length], [lp], [0.0])
  return out


def play(params, rng, samples=SAMPLES):
  """[prompt, turn, observation, turn]; half a point for each turn that repeats the prompt."""
  prompts = np.repeat(np.arange(PROMPTS), samples).astype(np.int32)
  first, first_logp = speak(params, prompts[:, None], rng)
  rows = np.stack([prompts, first, np.full_like(first, OBSERVATION)], axis=1)
  second, second_logp = speak(params, rows, rng)
  rows = np.concatenate([rows, second[:, None]], axis=1)
  return [
    dialogue(n, row, [1, 3], lp, [0.5 * (row[1] == row[0]), 0.5 * (row[3] == row[0])])
    for n, (row, lp) in enumerate(zip(rows, np.stack([first_logp, second_logp], axis=1), strict=True))
  ]


SETTINGS = config_values.resolve(archer.default_config(), SMALL, where="test")


def make(**overrides):
  cfg = config_values.resolve(SETTINGS, overrides, where="test")
  return archer.make(Policy(MODEL, PACK, 2, sampler), optax.adam(1e-2, eps=1e-3), cfg)


def train(algorithm, params, updates, seed=0, samples=SAMPLES):
  """Returns the state, the returns of every round, and the last metrics."""
  rng = np.random.default_rng(seed)
  state, returns = algorithm.init(jax.random.key(seed), jax.tree.map(jnp.copy, params)), []
  for n in range(updates):
    played = play(state.params["policy"], rng, samples)
    returns.append(np.mean([sum(turn.reward for turn in t.turns) for t in played]))
    batch, _ = algorithm.prepare(state, played)
    state, metrics = algorithm.update(state, jax.random.key(1000 * seed + n), batch)
  return state, returns, {name: float(value) for name, value in metrics.items()}
