"""ArCHer: off-policy critics of whole utterances over a token-level policy.

Zhou et al., 2024, "ArCHer: Training language model agents via hierarchical multi-turn RL"
(https://arxiv.org/abs/2402.19446). A state s is a dialogue so far, an action a one utterance.

  critic  y_Qi = r + gamma (1 - done) V_i^target(s')      L = (Q_i(s, a) - y_Qi)^2     (s, a, r, s') from the replay
          y_Vi = Q_i^target(s, a'),  a' ~ pi(. | s)       L = (V_i(s) - y_Vi)^2        each twin by itself
  target  <- (1 - tau) target + tau critic, after every critic step
  actor   A = min_i Q_i(s, a') - min_i V_i(s)             L = -A sum_t log pi(a'_t | s, a'_<t),  s from the replay

Every update adds the new turns to the replay, takes `critic.updates` critic steps, and, once `actor.warmup` updates are
over, `actor.updates` actor steps, each on fresh utterances. One thing differs from the paper's code: it samples a' anew
for every critic step; here the policy, which does not move meanwhile, answers `critic.states` replayed states once per
update, and the critic steps draw from those.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients
from agentrl.algorithms.contract import Algorithm, LearnerState, Policy
from agentrl.algorithms.gradients import LossOutput
from agentrl.models import heads, transformer
from agentrl.ops import losses, reduce
from agentrl.rollout import replay as replay_lib
from agentrl.rollout.filters import without_failures
from agentrl.rollout.pack import pack
from agentrl.rollout.replay import Transitions
from agentrl.types import Trajectory

WIDTH_STEP = 64  # rows are cut to a multiple of this many tokens: few shapes, little padding


def default_config() -> ConfigDict:
  """The paper's settings for a small policy (table 2), where they do not depend on its size."""
  return ConfigDict({
    "discount": 0.95,  # gamma per utterance
    "replay_capacity": 10_000,  # utterances
    "critic": {
      "encoder": "own",  # "own": starts as a copy of the policy; "policy": the policy's trunk, without gradient
      "hidden": 128,  # width of the heads' hidden layer
      "learning_rate": 1e-4,
      "max_grad_norm": 1.0,
      "updates": 50,  # critic steps per update
      "batch": 64,  # utterances per critic step
      "states": 512,  # replayed states that the policy answers anew per update; with few, V learns their noise by heart
      "target_rate": 0.1,  # tau of the Polyak average
      "expectile": 0.5,  # of V's regression; 0.5 is the squared error
    },
    "actor": {
      "updates": 3,  # actor steps per update
      "batch": 64,  # fresh utterances per actor step
      "warmup": 10,  # updates of the critic alone, at first
      "token_baseline": False,  # a value head on every token takes its part of the advantage away
      "entropy_coef": 0.0,
    },
    "reduction": "sequence_sum_norm",  # name in ops.reduce.REDUCTIONS: the sum over an utterance's tokens
    "reduction_constant": 1.0,  # divisor of sequence_sum_norm; read by it alone
  })  # fmt: skip


def optimizer_steps(cfg: ConfigDict) -> int:
  """Steps of the policy's optimiser per update."""
  return cfg.actor.updates


class Memory(NamedTuple):
  """What ArCHer keeps beside its params."""

  target: Any  # of the critic
  replay: replay_lib.Replay


class Answered(NamedTuple):
  """P replayed turns, and the utterance with which today's policy answers their states."""

  drawn: Transitions
  tokens: jax.Array  # int32 [P, S], state and fresh utterance
  action_end: jax.Array  # int32 [P], of the fresh utterance


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`; `prepare` gives `Transitions`."""
  _check(policy, cfg)
  critic_optimizer = optax.chain(
    optax.clip_by_global_norm(cfg.critic.max_grad_norm), optax.adam(cfg.critic.learning_rate)
  )
  train_critic = jax.jit(functools.partial(_train_critic, policy, critic_optimizer, cfg), donate_argnums=(0, 1, 2))
  judge = jax.jit(functools.partial(_judge, policy, cfg.critic.encoder))
  actor_step = gradients.make_step(functools.partial(_actor_loss, policy, cfg, gradients.reduction(cfg)), optimizer)
  actor_pack = dataclasses.replace(policy.pack, sequences=cfg.actor.batch)
  positions = policy.pack.row_tokens

  def init(key, params):
    critic_key, baseline_key = jax.random.split(key)
    own = {"encoder": jax.tree.map(jnp.copy, params)} if cfg.critic.encoder == "own" else {}
    critic = own | {"heads": heads.init_utterance_critic(critic_key, policy.model, cfg.critic.hidden)}
    baseline = {"value": heads.init_value_head(baseline_key, policy.model)} if cfg.actor.token_baseline else {}
    trained = {"policy": params, **baseline}
    opt_state = {"actor": optimizer.init(trained), "critic": critic_optimizer.init(critic)}
    memory = Memory(jax.tree.map(jnp.copy, critic), replay_lib.empty(cfg.replay_capacity, positions))
    return LearnerState({**trained, "critic": critic}, opt_state, None, jnp.int32(0), memory)

  def prepare(state, trajectories: Sequence[Trajectory]):
    del state
    kept = without_failures(trajectories)
    new = replay_lib.turn_transitions(kept, positions=positions, discount=cfg.discount)
    return new, {"replay/added": np.float32(len(new.reward))}

  def answers(params, key, count, replay):
    """Fresh utterances from `count` replayed states, sorted so that neighbours share what they begin with."""
    draw_key, sample_key = jax.random.split(key)
    drawn = jax.tree.map(np.asarray, replay_lib.draw(replay, draw_key, count))
    order = np.lexsort(drawn.tokens.T[::-1])
    drawn = jax.tree.map(lambda a: a[order], drawn)
    states = [row[:end] for row, end in zip(drawn.tokens, drawn.state_end, strict=True)]
    return drawn, policy.sampler(params, sample_key, states)

  def update(state: LearnerState, key, batch: Transitions):
    keys = jax.random.split(key, 2 + cfg.actor.updates)
    critic, opt_state, metrics = state.params["critic"], dict(state.opt_state), {}
    metrics |= _calibration(judge, state.params, batch, cfg.critic.states)
    replay = replay_lib.add(state.memory.replay, batch)
    pool = _answered(*answers(state.params["policy"], keys[0], cfg.critic.states, replay))
    order = jax.random.randint(keys[1], (cfg.critic.updates, cfg.critic.batch), 0, cfg.critic.states)
    critic, opt_state["critic"], target, found = train_critic(
      critic, opt_state["critic"], state.memory.target, state.params["policy"], pool, order
    )
    metrics |= found
    trained = {name: tree for name, tree in state.params.items() if name != "critic"}
    actor, history = LearnerState(trained, opt_state["actor"], None, jnp.int32(0)), []
    if int(state.updates) >= cfg.actor.warmup:
      for step_key in keys[2:]:
        _, fresh = answers(actor.params["policy"], step_key, cfg.actor.batch, replay)
        _, _, advantage = judge({**actor.params, "critic": critic}, *_rows(fresh))
        columns = [np.full(len(t.tokens), a, np.float32) for t, a in zip(fresh, np.asarray(advantage), strict=True)]
        packed = policy.place_batch(pack(fresh, {"advantages": columns}, actor_pack))
        actor, found = actor_step(actor, packed, jnp.int32(0), packed.micro_batches)
        history.append({**found, "actor/advantage": jnp.mean(advantage), "actor/advantage_std": jnp.std(advantage)})
    metrics |= gradients.mean_metrics(history) if history else {}
    metrics["replay/size"] = replay.size.astype(jnp.float32)
    opt_state["actor"] = actor.opt_state
    params = {**actor.params, "critic": critic}
    return LearnerState(params, opt_state, None, state.updates + 1, Memory(target, replay)), metrics

  return Algorithm(init, prepare, update)


def _check(policy: Policy, cfg: ConfigDict) -> None:
  if policy.sampler is None:
    raise ValueError("archer samples fresh utterances while it learns: its Policy needs a sampler")
  if cfg.critic.encoder not in ("own", "policy"):
    raise ValueError(f"algo.critic.encoder={cfg.critic.encoder!r}; choose 'own' or 'policy'")
  if cfg.replay_capacity < cfg.critic.batch:
    raise ValueError(
      f"algo.replay_capacity={cfg.replay_capacity} is smaller than a batch, algo.critic.batch={cfg.critic.batch}"
    )
  for name in ("critic.updates", "critic.batch", "critic.states", "actor.updates", "actor.batch"):
    section, key = name.split(".")
    if cfg[section][key] < 1:
      raise ValueError(f"algo.{name}={cfg[section][key]} must be at least 1")


# ---- rows of tokens -------------------------------------------------------------------------------------------------


def _rows(trajectories: Sequence[Trajectory]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """One-turn trajectories as (tokens `[N, S]`, state_end `[N]`, action_end `[N]`)."""
  action_end = np.asarray([len(t.tokens) for t in trajectories], np.int32)
  state_end = np.asarray([t.prompt_length for t in trajectories], np.int32)
  width = _width(action_end)
  return np.stack([np.pad(t.tokens, (0, width - len(t.tokens))) for t in trajectories]), state_end, action_end


def _width(ends: np.ndarray) -> int:
  return -(-int(np.max(ends)) // WIDTH_STEP) * WIDTH_STEP


def _answered(drawn: Transitions, fresh: Sequence[Trajectory]) -> Answered:
  tokens, _, action_end = _rows(fresh)
  width = _width(drawn.next_end)
  cut = drawn.tokens[:, :width]
  return Answered(drawn._replace(tokens=np.pad(cut, ((0, 0), (0, width - cut.shape[1])))), tokens, action_end)


# ---- critic ---------------------------------------------------------------------------------------------------------


def _encode(policy: Policy, critic, policy_params, tokens, *ends):
  """Hidden states `[N, D]` at the last token before each of `ends` `[N]`, of one causal pass over `tokens` `[N, S]`."""
  trunk = critic.get("encoder", jax.lax.stop_gradient(policy_params))
  positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
  whole = jnp.full_like(tokens, tokens.shape[1])
  hidden = transformer.forward(trunk, tokens, positions, whole, config=policy.model)
  return [jnp.take_along_axis(hidden, (end - 1)[:, None, None], axis=1)[:, 0] for end in ends]


def _critic_loss(policy: Policy, cfg, critic, target, policy_params, pool: Answered):
  """Mean over utterances of the twins' four squared errors, and metrics."""
  drawn = pool.drawn
  state, action = _encode(policy, critic, policy_params, drawn.tokens, drawn.state_end, drawn.action_end)
  q, v = heads.apply_q(critic["heads"], state, action), heads.apply_v(critic["heads"], state)
  (following,) = _encode(policy, target, policy_params, drawn.tokens, drawn.next_end)
  continues = cfg.discount * (1.0 - drawn.done.astype(jnp.float32))
  q_target = drawn.reward[None] + continues[None] * heads.apply_v(target["heads"], following)
  state, action = _encode(policy, target, policy_params, pool.tokens, drawn.state_end, pool.action_end)
  v_target = heads.apply_q(target["heads"], state, action)
  q_error, v_error = jax.lax.stop_gradient(q_target) - q, jax.lax.stop_gradient(v_target) - v
  loss = jnp.sum(
    jnp.mean(jnp.square(q_error), 1) + jnp.mean(losses.expectile_loss(v_error, expectile=cfg.critic.expectile), 1)
  )
  means = {"critic/q": q, "critic/v": v, "critic/q_loss": jnp.square(q_error), "critic/v_loss": jnp.square(v_error)}
  return loss, {name: jnp.mean(value) for name, value in means.items()} | {
    "critic/twins_apart": jnp.mean(jnp.abs(q[0] - q[1]))
  }


def _train_critic(policy, optimizer, cfg, critic, opt_state, target, policy_params, pool: Answered, order):
  """One critic step per row of `order` `[updates, batch]`, indices into the pool."""
  gradient = jax.value_and_grad(functools.partial(_critic_loss, policy, cfg), has_aux=True)

  def step(carry, chosen):
    critic, opt_state, target = carry
    batch = jax.tree.map(lambda a: jnp.asarray(a)[chosen], pool)
    (_, metrics), grads = gradient(critic, target, policy_params, batch)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its integer counts with floats
      updates, opt_state = optimizer.update(grads, opt_state, critic)
    critic = optax.apply_updates(critic, updates)
    target = optax.incremental_update(critic, target, cfg.critic.target_rate)
    return (critic, opt_state, target), {**metrics, "critic/grad_norm": optax.tree.norm(grads)}

  carry, history = jax.lax.scan(step, (critic, opt_state, target), order)
  return (*carry, jax.tree.map(jnp.mean, history))


def _judge(policy: Policy, encoder: str, params, tokens, state_end, action_end):
  """(min Q, min V, their difference) of utterances, f32 `[N]` each."""
  critic = params["critic"]
  state, action = _encode(policy, critic, params["policy"], tokens, state_end, action_end)
  q = jnp.min(heads.apply_q(critic["heads"], state, action), axis=0)
  v = jnp.min(heads.apply_v(critic["heads"], state), axis=0)
  return q, v, q - v


def _calibration(judge, params, new: Transitions, count: int) -> dict[str, Any]:
  """What the critics said of turns before they learned from them, against the returns that followed."""
  index = np.arange(count) % len(new.reward)
  some = jax.tree.map(lambda a: np.asarray(a)[index], new)
  tokens = some.tokens[:, : _width(some.action_end)]
  observed = some.observed_return
  q, v, _ = (np.asarray(x) for x in judge(params, tokens, some.state_end, some.action_end))
  variance = max(float(np.var(observed)), 1e-8)
  return {
    "critic/observed_return": np.mean(observed),
    "critic/q_bias": np.mean(q - observed),
    "critic/v_bias": np.mean(v - observed),
    "critic/q_explained_variance": 1.0 - np.var(observed - q) / variance,
    "critic/v_explained_variance": 1.0 - np.var(observed - v) / variance,
  }


# ---- actor ----------------------------------------------------------------------------------------------------------


def _actor_loss(policy: Policy, cfg, reduction, params, reference, micro) -> LossOutput:
  """Share of the objective that one micro-batch carries."""
  del reference
  out = gradients.action_outputs(params["policy"], micro, policy.model)
  advantages, baseline_loss = micro.advantages, 0.0
  if cfg.actor.token_baseline:
    baseline = heads.apply_value_head(params["value"], jax.lax.stop_gradient(out.hidden))
    baseline_loss = 2.0 * losses.squared_value_loss(baseline, advantages, micro.action_mask)
    advantages = advantages - jax.lax.stop_gradient(baseline)
  per_token, flags = losses.reinforce(
    out.logp,
    jax.lax.stop_gradient(out.logp),
    advantages,
    micro.action_mask,
    micro.action_sequence,
    micro.sequence_length,
  )
  per_token = per_token + baseline_loss - cfg.actor.entropy_coef * out.entropy
  loss = reduction(per_token, micro.action_mask, micro.action_sequence, micro.sequence_length)
  sums, maxima = gradients.policy_metrics(out, micro, flags)
  if cfg.actor.token_baseline:
    tokens = jnp.sum(micro.sequence_length)
    sums["value/loss"] = reduce.token_mean(jax.lax.stop_gradient(baseline_loss), micro.action_mask, tokens)
  return LossOutput(loss, sums, maxima)
