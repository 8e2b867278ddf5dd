"""ArCHer: off-policy critics of whole utterances over a token-level policy.

Zhou et al., 2024, "ArCHer: Training language model agents via hierarchical multi-turn RL"
(https://arxiv.org/abs/2402.19446). A state s is a dialogue so far, an action a one utterance.

  critic  y_Qi = r + gamma (1 - done) V_i^target(s')      L = (Q_i(s, a) - y_Qi)^2     (s, a, r, s') from the replay
          y_Vi = Q_i^target(s, a'),  a' ~ pi(. | s)       L = (V_i(s) - y_Vi)^2        each twin by itself
  target  <- (1 - tau) target + tau critic, after every critic step
  actor   A = min_i Q_i(s, a') - min_i V_i(s)             L = -A sum_t log pi(a'_t | s, a'_<t),  s from the replay

Every update adds new dialogues to the replay, takes `critic.updates` critic steps, and, once `actor.warmup` updates are
over, `actor.updates` actor steps on fresh utterances. Two things differ from the paper's code, where a critic step
takes single turns, each behind its own copy of the dialogue so far, and samples a' anew for each. Here it takes whole
dialogues, whose turns share one row, with every a' a branch of it; and the policy, which does not move meanwhile,
answers the states of `critic.dialogues` replayed dialogues once per update, from which the steps then draw. A setting
of our own, `critic.likelihood`, tells Q how likely the policy, as it was before RL, finds the utterance.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients
from agentrl.algorithms.contract import Algorithm, LearnerState, Policy
from agentrl.algorithms.gradients import LossOutput
from agentrl.batching import replay as replay_lib
from agentrl.batching.filters import with_reward
from agentrl.batching.pack import Column, NothingToPack, pack
from agentrl.batching.replay import Dialogues
from agentrl.models import heads, transformer
from agentrl.ops import losses, reduce
from agentrl.ops.finite import NonFinite, all_true, finite_flags, first_of, paths_of_false
from agentrl.ops.precision import in_float32, with_float32_masters
from agentrl.settings import above, at_least, between
from agentrl.types import Trajectory

WIDTH_STEP = 32  # rows are cut to a multiple of this many tokens: few shapes, little padding
JUDGED_ROWS = 64  # utterances that are judged at once


def default_config() -> ConfigDict:
  """The paper's settings for a small policy (table 2), where they do not depend on its size."""
  return ConfigDict({
    "discount": 0.95,  # gamma per utterance
    "replay_capacity": 2000,  # dialogues
    "critic": {
      "encoder": "own",  # "own": starts as a copy of the policy; "policy": the policy's trunk, without gradient
      "hidden": 128,  # width of the heads' hidden layer
      # Q also sees an utterance's log-likelihood and likelihood under the policy as it was before RL: what does not fit
      # a dialogue a small critic learns late by itself. Not the paper's, whose critics are pretrained.
      "likelihood": False,
      "learning_rate": 1e-4,
      "max_grad_norm": 1.0,
      "updates": 50,  # critic steps per update
      "batch": 16,  # dialogues per critic step
      "dialogues": 64,  # whose states the policy answers anew per update; with few, V learns their noise by heart
      "target_rate": 0.1,  # tau of the Polyak average
      # V's target is the smaller of the twins' Q (Fujimoto et al., 2018, https://arxiv.org/abs/1802.09477), which
      # checks the overestimation that an actor finds; the paper's twins do not look at each other.
      "clipped_double_q": False,
      "expectile": 0.5,  # of V's regression; 0.5 is the squared error
    },
    "actor": {
      "updates": 3,  # actor steps per update; 0: the policy stays as it is, and only its critics learn
      "batch": 64,  # fresh utterances per actor step
      "warmup": 10,  # updates of the critic alone, at first
      "center": True,  # take the mean over a step's utterances off the advantages; the paper's code does not
      "token_baseline": False,  # a value head on every token takes its part of the advantage away
      "entropy_coef": 0.0,
    },
    "reduction": "sequence_sum_norm",  # name in ops.reduce.REDUCTIONS: the sum over an utterance's tokens
    "reduction_constant": 1.0,  # divisor of sequence_sum_norm; read by it alone
  })  # fmt: skip


RANGES = {
  "discount": between(0, 1),
  "replay_capacity": at_least(1),
  "critic.hidden": at_least(1),
  "critic.learning_rate": at_least(0),
  "critic.max_grad_norm": above(0, "gradients are scaled down to it; a large number leaves them as they are"),
  "critic.updates": at_least(1),
  "critic.batch": at_least(1),
  "critic.dialogues": at_least(1),
  "critic.target_rate": between(0, 1, above_low=True),
  "critic.expectile": between(0, 1, above_low=True, below_high=True),
  "actor.updates": at_least(0),
  "actor.batch": at_least(1),
  "actor.warmup": at_least(0),
  "actor.entropy_coef": at_least(0),
  "reduction_constant": above(0),
}


def optimizer_steps(cfg: ConfigDict, updates: int) -> int:
  """Steps of the policy's optimiser in so many updates; it takes none while the critic is alone."""
  return max(0, updates - cfg.actor.warmup) * cfg.actor.updates


class Memory(NamedTuple):
  """What ArCHer keeps beside its params.

  Those of the critic are "heads", "encoder" where it has its own, and, where it sees likelihoods, "prior": the policy
  as it was at first, which does not learn.
  """

  target: Any  # of what the critic learns; float32, or averages would stop short of weights that are narrower
  replay: replay_lib.Replay


class Rows(NamedTuple):
  """Dialogues laid out for a critic: one row each, in which a fresh utterance is a branch at its state.

  The `at_` fields are `[N, U]`: the token whose hidden state stands for the state, the utterance, the next state and
  the fresh utterance of each turn.
  """

  tokens: jax.Array  # int32 [N, S]
  positions: jax.Array  # int32 [N, S]
  subtree_end: jax.Array  # int32 [N, S]
  before: jax.Array  # int32 [N, S], column of the token in front of an utterance's token
  part_of: jax.Array  # int32 [N, S], 1 + u in what was said at turn u, 1 + U + u in the fresh utterance; else 0
  at_state: jax.Array
  at_action: jax.Array
  at_next: jax.Array
  at_fresh: jax.Array
  taken: jax.Array  # bool [N, U]
  reward: jax.Array  # f32 [N, U]
  done: jax.Array  # bool [N, U]
  said: jax.Array  # f32 [N, U, E], what Q sees of what was said besides its hidden state; E = 0: nothing
  fresh: jax.Array  # f32 [N, U, E], of the fresh utterance


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`; `prepare` gives `Dialogues`."""
  _check(policy, cfg)
  critic_optimizer = with_float32_masters(
    optax.chain(optax.clip_by_global_norm(cfg.critic.max_grad_norm), optax.adam(cfg.critic.learning_rate))
  )
  train_critic = jax.jit(functools.partial(_train_critic, policy, critic_optimizer, cfg), donate_argnums=(0, 1, 2))
  judge = jax.jit(functools.partial(_judge, policy))
  likelihoods = jax.jit(functools.partial(_likelihoods, policy))
  actor_step = gradients.make_step(functools.partial(_actor_loss, policy, cfg, gradients.reduction(cfg)), optimizer)
  actor_pack = dataclasses.replace(policy.pack, sequences=cfg.actor.batch)
  table = functools.partial(replay_lib.dialogues_of, positions=policy.pack.row_tokens, discount=cfg.discount)

  def init(key, params):
    critic_key, baseline_key = jax.random.split(key)
    own = {"encoder": jax.tree.map(jnp.copy, params)} if cfg.critic.encoder == "own" else {}
    features = LIKELIHOODS if cfg.critic.likelihood else 0
    learned = own | {"heads": heads.init_utterance_critic(critic_key, policy.model, cfg.critic.hidden, features)}
    prior = {"prior": jax.tree.map(jnp.copy, params)} if cfg.critic.likelihood else {}
    baseline = {"value": heads.init_value_head(baseline_key, policy.model)} if cfg.actor.token_baseline else {}
    trained = {"policy": params, **baseline}
    opt_state = {"actor": optimizer.init(trained), "critic": critic_optimizer.init(learned)}
    replay = replay_lib.empty(cfg.replay_capacity, policy.pack.row_tokens, policy.max_turns)
    memory = Memory(jax.tree.map(lambda a: jnp.array(a, jnp.float32, copy=True), learned), replay)
    return LearnerState({**trained, "critic": {**learned, **prior}}, opt_state, None, jnp.int32(0), memory)

  def lay_out(critic, dialogues: Dialogues, fresh: Sequence[np.ndarray] | None) -> Rows:
    """Rows with all that a critic sees."""
    rows = _lay_out(dialogues, fresh)
    return likelihoods(critic["prior"], rows) if "prior" in critic else rows

  def prepare(state, trajectories: Sequence[Trajectory]):
    del state
    new = table(with_reward(trajectories), turns=policy.max_turns)
    if not len(new.tokens):
      raise NothingToPack("no dialogues to learn from: every one was filtered out")
    return new, {"replay/turns": np.float32(new.taken.sum())}

  def train_actor(actor: LearnerState, critic, key, replay):
    """One step on fresh utterances, each from one state of a replayed dialogue."""
    draw_key, turn_key, sample_key = jax.random.split(key, 3)
    drawn = replay_lib.draw(replay, draw_key, cfg.actor.batch)
    turn = (np.asarray(jax.random.uniform(turn_key, (cfg.actor.batch,))) * drawn.taken.sum(axis=1)).astype(int)
    states = [row[: ends[u]] for row, ends, u in zip(drawn.tokens, drawn.state_end, turn, strict=True)]
    fresh = policy.sampler(actor.params["policy"], sample_key, states)
    q, v = judge(critic, actor.params["policy"], lay_out(critic, table(_rewarded(fresh), turns=1), None))
    advantage = np.asarray(q - v)[:, 0]
    metrics = {"actor/advantage": np.mean(advantage), "actor/advantage_std": np.std(advantage)}
    if cfg.actor.center:
      advantage = advantage - np.mean(advantage)
    columns = [np.full(len(t.tokens), a, np.float32) for t, a in zip(fresh, advantage, strict=True)]
    batch = policy.place_batch(pack(fresh, {"advantages": Column(columns)}, actor_pack))
    actor, found = actor_step(actor, batch, 0, batch.micro_batches)
    return actor, {**found, **metrics}

  def update(state: LearnerState, key, batch: Dialogues):
    answer_key, order_key, actor_key = jax.random.split(key, 3)
    critic, opt_state = state.params["critic"], dict(state.opt_state)
    some = _some(batch, cfg.critic.dialogues)
    judged = judge(critic, state.params["policy"], lay_out(critic, some, None))
    metrics = _calibration(some, *judged)
    replay = replay_lib.add(state.memory.replay, batch)
    drawn, fresh = _answered(policy.sampler, state.params["policy"], answer_key, replay, cfg.critic.dialogues)
    rows = lay_out(critic, drawn, fresh)
    order = jax.random.randint(order_key, (cfg.critic.updates, cfg.critic.batch), 0, cfg.critic.dialogues)
    learned = {name: critic[name] for name in critic if name != "prior"}
    learned, opt_state["critic"], target, found, flags = train_critic(
      learned, opt_state["critic"], state.memory.target, state.params["policy"], rows, order
    )
    _require_finite(flags)
    critic = {**critic, **learned}
    metrics |= found
    trained = {name: tree for name, tree in state.params.items() if name != "critic"}
    actor, history = LearnerState(trained, opt_state["actor"], None, jnp.int32(0)), []
    if cfg.actor.updates and int(state.updates) >= cfg.actor.warmup:
      for step_key in jax.random.split(actor_key, cfg.actor.updates):
        actor, found = train_actor(actor, critic, step_key, replay)
        history.append(found)
      metrics |= gradients.mean_metrics(history)
    opt_state["actor"] = actor.opt_state
    params = {**actor.params, "critic": critic}
    metrics["replay/size"] = replay.size.astype(jnp.float32)
    return LearnerState(params, opt_state, None, state.updates + 1, Memory(target, replay)), metrics

  def judge_utterances(params, trajectories: Sequence[Trajectory]):
    """min Q of single utterances, see `contract.Algorithm`; a few rows at a time, so that there are few shapes."""
    scores = []
    for first in range(0, len(trajectories), JUDGED_ROWS):
      some = trajectories[first : first + JUDGED_ROWS]
      padded = [*some, *[some[-1]] * (JUDGED_ROWS - len(some))]
      rows = lay_out(params["critic"], table(_rewarded(padded), turns=1), None)
      q, _ = judge(params["critic"], params["policy"], rows)
      scores.append(np.asarray(q)[: len(some), 0])
    return np.concatenate(scores)

  return Algorithm(init, prepare, update, judge_utterances)


def _check(policy: Policy, cfg: ConfigDict) -> None:
  if policy.sampler is None:
    raise ValueError("archer samples fresh utterances while it learns: its Policy needs a sampler")
  if cfg.critic.encoder not in ("own", "policy"):
    raise ValueError(f"algo.critic.encoder={cfg.critic.encoder!r}; choose 'own' or 'policy'")
  if cfg.replay_capacity < cfg.critic.batch:
    raise ValueError(
      f"algo.replay_capacity={cfg.replay_capacity} is smaller than a batch, algo.critic.batch={cfg.critic.batch}"
    )


# ---- rows of tokens -------------------------------------------------------------------------------------------------


def _answered(sampler, policy_params, key, replay, count: int) -> tuple[Dialogues, list[np.ndarray]]:
  """Replayed dialogues, and tokens of a fresh utterance of today's policy at every state of theirs, in order."""
  draw_key, sample_key = jax.random.split(key)
  drawn = replay_lib.draw(replay, draw_key, count)
  states = [
    row[:end]
    for row, ends, taken in zip(drawn.tokens, drawn.state_end, drawn.taken, strict=True)
    for end in ends[taken]
  ]
  fresh = sampler(policy_params, sample_key, states)
  return drawn, [t.tokens[t.prompt_length :] for t in fresh]


def _lay_out(dialogues: Dialogues, fresh: Sequence[np.ndarray] | None) -> Rows:
  """One row per dialogue, depth first: at each state its fresh utterance, then what was really said.

  Args:
    fresh: tokens of an utterance for every turn taken, in order; None: no branches, and `at_fresh` is `at_action`.
  """
  branches = iter([np.zeros(0, np.int32)] * int(dialogues.taken.sum()) if fresh is None else fresh)
  laid = [_lay_out_one(dialogues, n, branches) for n in range(len(dialogues.tokens))]
  width = -(-max(len(row["tokens"]) for row, _ in laid) // WIDTH_STEP) * WIDTH_STEP
  pad = {name: np.stack([np.pad(row[name], (0, width - len(row[name]))) for row, _ in laid]) for name in laid[0][0]}
  at = np.stack([at for _, at in laid], axis=1)
  whole = (dialogues.taken, dialogues.reward, dialogues.done)
  unseen = np.zeros((*dialogues.taken.shape, 0), np.float32)
  return Rows(*pad.values(), *at, *whole, unseen, unseen)


def _lay_out_one(dialogues: Dialogues, n: int, branches: Iterator[np.ndarray]):
  """Columns of dialogue n's row, and int `[4, U]`: at_state, at_action, at_next, at_fresh."""
  trunk, turns, most = dialogues.tokens[n], int(dialogues.taken[n].sum()), dialogues.taken.shape[1]
  tokens, positions, ends = [], [], []  # `ends` is 0 for the trunk, which reaches to the end of the row
  in_front, part_of = [], []
  at = np.zeros((4, most), np.int32)

  def append(new, first, end, after=0, part=0):
    in_front.extend([after, *range(len(tokens), len(tokens) + len(new) - 1)][: len(new)])
    part_of.extend([part] * len(new))
    tokens.extend(new.tolist())
    positions.extend(range(first, first + len(new)))
    ends.extend([end] * len(new))

  before = 0
  for u in range(turns):
    state, action, following = (int(x[n, u]) for x in (dialogues.state_end, dialogues.action_end, dialogues.next_end))
    append(trunk[before:state], before, 0)
    at[0, u] = len(tokens) - 1
    branch = next(branches)
    append(branch, state, len(tokens) + len(branch), at[0, u], 1 + most + u)
    at[3, u] = len(tokens) - 1
    append(trunk[state:action], state, 0, at[0, u], 1 + u)
    at[1, u] = len(tokens) - 1
    append(trunk[action:following], action, 0)
    at[2, u] = len(tokens) - 1
    at[3, u] = at[3, u] if len(branch) else at[1, u]
    before = following
  reach = np.where(np.asarray(ends) == 0, len(tokens), ends)
  columns = {"tokens": tokens, "positions": positions, "subtree_end": reach, "before": in_front, "part_of": part_of}
  return {name: np.asarray(column, np.int32) for name, column in columns.items()}, at


def _rewarded(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Fresh utterances have no reward; nothing here reads one."""
  return [dataclasses.replace(t, reward=0.0) for t in trajectories]


# ---- critic ---------------------------------------------------------------------------------------------------------


def _encode(policy: Policy, critic, policy_params, rows: Rows, *at):
  """Hidden states `[N, U, D]` at the tokens `at` `[N, U]`, of one pass over the rows."""
  trunk = critic.get("encoder", jax.lax.stop_gradient(policy_params))
  hidden = transformer.forward(trunk, rows.tokens, rows.positions, rows.subtree_end, config=policy.model)
  return [jnp.take_along_axis(hidden, index[..., None], axis=1) for index in at]


LIKELIHOODS = 2  # features of an utterance: a tenth of its log-likelihood in nats, and its likelihood


def _likelihoods(policy: Policy, prior, rows: Rows) -> Rows:
  """The rows with `said` and `fresh`, `[N, U, LIKELIHOODS]`, by a policy's params `prior`."""
  hidden = transformer.forward(prior, rows.tokens, rows.positions, rows.subtree_end, config=policy.model)
  in_front = jnp.take_along_axis(hidden, rows.before[..., None], axis=1)
  flat = in_front.reshape(-1, in_front.shape[-1])
  unembed = transformer.unembedding(prior, policy.model)
  logp = policy.linear_logprob(flat, unembed, rows.tokens.reshape(-1), mask=rows.part_of.reshape(-1) > 0).logp
  parts = 1 + 2 * rows.taken.shape[1]
  sums = jax.vmap(functools.partial(jax.ops.segment_sum, num_segments=parts))(
    logp.reshape(rows.tokens.shape), rows.part_of
  )
  features = jnp.stack([0.1 * sums, jnp.exp(sums)], axis=-1)
  said, fresh = jnp.split(features[:, 1:], 2, axis=1)
  return rows._replace(said=said, fresh=fresh)


def _critic_loss(policy: Policy, cfg, critic, target, policy_params, rows: Rows):
  """Mean over turns of the twins' four squared errors, and metrics."""
  state, action = _encode(policy, critic, policy_params, rows, rows.at_state, rows.at_action)
  q, v = heads.apply_q(critic["heads"], state, action, rows.said), heads.apply_v(critic["heads"], state)
  state, fresh, following = _encode(policy, target, policy_params, rows, rows.at_state, rows.at_fresh, rows.at_next)
  continues = cfg.discount * (1.0 - rows.done.astype(jnp.float32))
  q_target = rows.reward[None] + continues[None] * heads.apply_v(target["heads"], following)
  v_target = heads.apply_q(target["heads"], state, fresh, rows.fresh)
  if cfg.critic.clipped_double_q:
    v_target = jnp.min(v_target, axis=0, keepdims=True)
  q_error, v_error = jax.lax.stop_gradient(q_target) - q, jax.lax.stop_gradient(v_target) - v

  def mean(values):  # over turns, of the sum over twins
    return jnp.sum(jnp.where(rows.taken[None], values, 0.0)) / jnp.sum(rows.taken, dtype=jnp.float32)

  q_loss, v_loss = mean(jnp.square(q_error)), mean(losses.expectile_loss(v_error, expectile=cfg.critic.expectile))
  metrics = {"critic/q_loss": q_loss, "critic/v_loss": v_loss, "critic/q": mean(q) / 2, "critic/v": mean(v) / 2}
  return q_loss + v_loss, {**metrics, "critic/twins_apart": mean(jnp.abs(q[:1] - q[1:]))}


def _train_critic(policy, optimizer, cfg, critic, opt_state, target, policy_params, rows: Rows, order):
  """One critic step per line of `order` `[updates, batch]`, indices of rows; the last return are `_CriticFlags`."""
  gradient = jax.value_and_grad(functools.partial(_critic_loss, policy, cfg), has_aux=True)

  def step(carry, chosen):
    critic, opt_state, target = carry
    batch = jax.tree.map(lambda a: jnp.asarray(a)[chosen], rows)
    narrow = jax.tree.map(lambda wide, like: wide.astype(like.dtype), target, critic)
    (_, metrics), grads = gradient(critic, narrow, policy_params, batch)
    grads = in_float32(grads)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its integer counts with floats, and updates are float32
      updates, opt_state = optimizer.update(grads, opt_state, critic)
      critic = optax.apply_updates(critic, updates)
    target = optax.incremental_update(in_float32(critic), target, cfg.critic.target_rate)
    norm = {"critic/grad_norm": optax.tree.norm(grads)}
    flags = finite_flags(_CriticFlags(batch.reward, metrics, grads, norm, critic))
    return (critic, opt_state, target), ({**metrics, **norm}, flags)

  carry, (history, flags) = jax.lax.scan(step, (critic, opt_state, target), order)
  flags = jax.tree.map(lambda fine: jnp.all(fine, axis=0), flags)
  return (*carry, jax.tree.map(jnp.mean, history), (all_true(flags), flags))


class _CriticFlags(NamedTuple):
  """What a critic step computes, in this order; a bool [] for each leaf says that it was finite in every step."""

  reward: Any
  loss: Any
  gradient: Any
  norm: Any
  params: Any


def _require_finite(flags: tuple[jax.Array, _CriticFlags]) -> None:
  """Raises NonFinite where a critic step was not all finite; `flags` are one bool for all, and the bools."""
  fine, each = flags
  if not fine:
    raise NonFinite(f"the critic's steps: {first_of(paths_of_false(each))}")


def _judge(policy: Policy, critic, policy_params, rows: Rows):
  """(min Q, min V) of what was said, f32 `[N, U]` each."""
  state, action = _encode(policy, critic, policy_params, rows, rows.at_state, rows.at_action)
  q, v = heads.apply_q(critic["heads"], state, action, rows.said), heads.apply_v(critic["heads"], state)
  return jnp.min(q, axis=0), jnp.min(v, axis=0)


def _some(dialogues: Dialogues, count: int) -> Dialogues:
  """As many of them, from the first on and round again: one shape."""
  index = np.arange(count) % len(dialogues.tokens)
  return jax.tree.map(lambda a: np.asarray(a)[index], dialogues)


def _calibration(some: Dialogues, q, v) -> dict[str, Any]:
  """What the critics said of turns before they learned from them, against the returns that followed."""
  q, v = (np.asarray(x)[some.taken] for x in (q, v))
  observed = some.observed_return[some.taken]
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
  out = gradients.action_outputs(params["policy"], micro, policy)
  advantages, baseline_loss = micro.columns["advantages"], 0.0
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
