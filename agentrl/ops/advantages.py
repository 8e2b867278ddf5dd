"""Advantages of whole trajectories, or of steps, from the rewards of their group.

All take `rewards [N]`, `group` int `[N]` (which of `num_groups` groups the entry belongs to; sizes may differ) and
`valid` bool `[N]`, and give f32 `[N]`. Entries that are not valid (their environment failed, or they are padding)
enter no baseline and get 0, whatever their reward holds. A group with one valid entry has nothing to compare with and
gets 0; a group of equal rewards gets exactly 0. A valid entry whose group id is out of range gets NaN.
"""

import chex
import jax
import jax.numpy as jnp

from agentrl.ops.segments import segment_min, segment_sum, segment_values

STD_EPSILON = 1e-6


def group_mean(rewards: jax.Array, group: jax.Array, valid: jax.Array, *, num_groups: int) -> jax.Array:
  """f32 `[N]`: the mean reward over the valid entries of each entry's group, 0 where none is valid."""
  rewards, group, valid = _checked(rewards, group, valid)
  total = segment_sum(jnp.where(valid, rewards, 0.0), group, num_groups)
  return segment_values(total / jnp.maximum(_sizes(group, valid, num_groups), 1.0), group)


def dr_grpo(rewards: jax.Array, group: jax.Array, valid: jax.Array, *, num_groups: int) -> jax.Array:
  """`r - mean_g`: the group mean alone, with no division by a spread.

  Liu et al., 2025, "Understanding R1-Zero-like training" (https://arxiv.org/abs/2503.20783).
  """
  rewards, group, valid = _checked(rewards, group, valid)
  # Taking the smallest reward away first leaves equal rewards at exactly 0, where rounding of the mean would leave
  # 1e-8, and a spread of 1e-8 to divide it by.
  lowest = segment_min(jnp.where(valid, rewards, jnp.inf), group, num_groups)
  above = jnp.where(valid, rewards - segment_values(lowest, group), 0.0)
  centred = above - group_mean(above, group, valid, num_groups=num_groups)
  in_range = (group >= 0) & (group < num_groups)
  return jnp.where(valid, jnp.where(in_range, centred, jnp.nan), 0.0)


def grpo(
  rewards: jax.Array, group: jax.Array, valid: jax.Array, *, num_groups: int, epsilon: float = STD_EPSILON
) -> jax.Array:
  """`(r - mean_g) / (std_g + epsilon)`, the spread with n - 1 in its denominator.

  Shao et al., 2024, "DeepSeekMath" (https://arxiv.org/abs/2402.03300).
  """
  centred = dr_grpo(rewards, group, valid, num_groups=num_groups)
  square = segment_sum(jnp.square(centred), group, num_groups)
  variance = square / jnp.maximum(_sizes(group, valid, num_groups) - 1.0, 1.0)
  return centred / (segment_values(jnp.sqrt(variance), group) + epsilon)


def leave_one_out(rewards: jax.Array, group: jax.Array, valid: jax.Array, *, num_groups: int) -> jax.Array:
  """`r_i - mean_{j != i} r_j`, which is `n / (n - 1) (r - mean_g)`: RLOO and LOOP.

  Ahmadian et al., 2024 (https://arxiv.org/abs/2402.14740); Chen et al., 2025 (https://arxiv.org/abs/2502.01600).
  """
  centred = dr_grpo(rewards, group, valid, num_groups=num_groups)
  size = _sizes(group, valid, num_groups)
  return centred * segment_values(size / jnp.maximum(size - 1.0, 1.0), group)


def batch_std(
  rewards: jax.Array, group: jax.Array, valid: jax.Array, *, num_groups: int, epsilon: float = STD_EPSILON
) -> jax.Array:
  """`(r - mean_g) / (std_batch + epsilon)`: the mean of the group, the spread of all rewards of the batch (Lite PPO).

  Liu et al., 2025, "Tricks or traps?" (https://arxiv.org/abs/2508.08221).
  """
  centred = dr_grpo(rewards, group, valid, num_groups=num_groups)
  rewards, _, valid = _checked(rewards, group, valid)
  return centred / (_std(rewards, valid) + epsilon)


def max_rl(
  rewards: jax.Array, group: jax.Array, valid: jax.Array, *, num_groups: int, epsilon: float = STD_EPSILON
) -> jax.Array:
  """`(r - mean_g) / (mean_g + epsilon)`: the rarer success is, the more one counts.

  With rewards 0 and 1 its expectation is the gradient of a truncated series of log P(success) in place of P(success):
  maximum likelihood. Tajwar et al., 2026, "Maximum likelihood reinforcement learning"
  (https://arxiv.org/abs/2602.02710), quoted from memory. A group whose mean is 0 has equal rewards, and gets 0.

  Args:
    rewards: at least 0.
  """
  mean = group_mean(rewards, group, valid, num_groups=num_groups)
  return dr_grpo(rewards, group, valid, num_groups=num_groups) / (mean + epsilon)


def reinforce_plus_plus_baseline(
  rewards: jax.Array, group: jax.Array, valid: jax.Array, *, num_groups: int
) -> jax.Array:
  """`r - mean_g`, whitened over the batch.

  Hu et al., 2025, "REINFORCE++" (https://arxiv.org/abs/2501.03262), the variant with a baseline. Unlike the paper
  trajectories weigh the same in the whitening, whatever their length; to weigh tokens, `whiten` the `dr_grpo`
  advantages of the tokens.
  """
  return whiten(dr_grpo(rewards, group, valid, num_groups=num_groups), valid)


def opo(rewards: jax.Array, group: jax.Array, valid: jax.Array, *, lengths: jax.Array, num_groups: int) -> jax.Array:
  """`r_i - sum_j l_j r_j / sum_j l_j` over the group: the mean by length as the baseline.

  Hao et al., 2025, "On-policy RL with optimal reward baseline" (https://arxiv.org/abs/2505.23585).

  Args:
    lengths: f32 `[N]`, sampled tokens of each entry; a group without any has its plain mean as the baseline.
  """
  centred = dr_grpo(rewards, group, valid, num_groups=num_groups)
  weights = jnp.where(valid, jnp.asarray(lengths, jnp.float32), 0.0)
  total = segment_sum(weights, jnp.asarray(group), num_groups)
  # Of what the mean leaves: equal rewards stay at exactly 0.
  baseline = segment_sum(weights * centred, jnp.asarray(group), num_groups) / jnp.maximum(total, 1.0)
  return jnp.where(valid, centred - segment_values(baseline, group), 0.0)


def gigpo(
  episode_advantages: jax.Array,
  step_returns: jax.Array,
  anchor: jax.Array,
  valid: jax.Array,
  *,
  num_anchors: int,
  weight: float = 1.0,
  normalise: bool = False,
) -> jax.Array:
  """`A_episode + weight A_step`, where `A_step` compares the steps that were taken from the same state.

  Feng et al., 2025, "GiGPO" (https://arxiv.org/abs/2505.10978), eq. 6 to 8. A step that nobody else took from its
  state keeps its episode's advantage.

  Args:
    episode_advantages: f32 `[N]`, for each of N steps the advantage of its trajectory.
    step_returns: f32 `[N]`, discounted return from the step on.
    anchor: int `[N]`, dense id of the pair (prompt group, observation before the step).
    valid: bool `[N]`.
    num_anchors: number of anchors; static.
    weight: of the step part.
    normalise: divide the step part by the spread among its anchor's steps.

  Returns:
    f32 `[N]`, 0 where not valid.
  """
  chex.assert_equal_shape([episode_advantages, step_returns])
  compare = grpo if normalise else dr_grpo
  step = compare(step_returns, anchor, valid, num_groups=num_anchors)
  return jnp.where(valid, episode_advantages + weight * step, 0.0)


def whiten(advantages: jax.Array, mask: jax.Array, *, epsilon: float = STD_EPSILON) -> jax.Array:
  """`(A - mean) / (std + epsilon)` over the unmasked elements of the whole batch.

  Args:
    advantages: any shape. The whole batch: whitened by the micro-batch they would depend on its split.
    mask: bool, same shape.
    epsilon: in units of the advantages.

  Returns:
    Same shape, 0 where masked.
  """
  chex.assert_equal_shape([advantages, mask])
  mean = jnp.sum(jnp.where(mask, advantages, 0.0)) / jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
  return jnp.where(mask, advantages - mean, 0.0) / (_std(advantages, mask) + epsilon)


def _std(values: jax.Array, mask: jax.Array) -> jax.Array:
  """`[]`: standard deviation over the unmasked elements, n - 1 in the denominator."""
  count = jnp.sum(mask, dtype=jnp.float32)
  mean = jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(count, 1.0)
  return jnp.sqrt(jnp.sum(jnp.where(mask, jnp.square(values - mean), 0.0)) / jnp.maximum(count - 1.0, 1.0))


def _sizes(group: jax.Array, valid: jax.Array, num_groups: int) -> jax.Array:
  return segment_sum(jnp.asarray(valid, jnp.float32), jnp.asarray(group), num_groups)


def _checked(rewards: jax.Array, group: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  rewards, group, valid = jnp.asarray(rewards, jnp.float32), jnp.asarray(group), jnp.asarray(valid)
  if rewards.ndim != 1 or group.shape != rewards.shape or valid.shape != rewards.shape:
    raise ValueError(
      f"rewards, group and valid must be [N] alike; got {rewards.shape}, {group.shape} and {valid.shape}"
    )
  if not jnp.issubdtype(group.dtype, jnp.integer) or valid.dtype != jnp.bool_:
    raise ValueError(f"group holds integer ids and valid booleans; got {group.dtype} and {valid.dtype}")
  return rewards, group, valid
