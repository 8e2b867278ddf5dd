"""Returns and advantages along time: of tokens, or of turns.

The last axis is time, `[T]` or `[B, T]`. `discounts[t]` is the weight of what follows element t: gamma, or 0 where the
trajectory ended there for good. What follows its last element is worth `bootstrap_value` (0 unless it was truncated).

Where `mask` is False (tool output, prompt, padding) the element is passed over as if it were not there: nothing is
read from it, the recursion carries on unchanged, and its result is 0. Rewards belong on action tokens therefore.

Over turns the same functions apply, with one element per turn and `turn_discounts`; `turn_sums` and `turn_values` lead
from tokens to turns and back.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from agentrl.named import by_name
from agentrl.ops.segments import segment_sum, segment_values


def gae(
  rewards: jax.Array,
  values: jax.Array,
  discounts: jax.Array,
  bootstrap_value: jax.Array,
  *,
  gae_lambda: float,
  mask: jax.Array | None = None,
  implementation: str | None = None,
) -> jax.Array:
  """`A_t = delta_t + d_t lambda A_{t+1}`, with `delta_t = r_t + d_t V_{t+1} - V_t`.

  Schulman et al., 2016 (https://arxiv.org/abs/1506.02438), eq. 16, over the unmasked elements.

  Args:
    rewards: f32 `[..., T]`.
    values: f32 `[..., T]`, V of the state in which element t was chosen.
    discounts: f32 `[..., T]`.
    bootstrap_value: f32 `[...]`, one per row.
    gae_lambda: 1 gives Monte Carlo returns less the value, 0 the one-step error.
    mask: bool `[..., T]`; None keeps every element.
    implementation: of the recursion: "scan" takes T steps, "associative" about 2 log2(T) passes over all elements. None
      means "scan": faster on a CPU for 1 to 64 rows of up to 65,536 elements (`scripts/bench/returns.py`), and
      not yet compared elsewhere.

  Returns:
    f32 `[..., T]`. Add `values` for the returns that a critic should fit.

  Raises:
    ValueError: shapes or dtypes do not fit together, or no such implementation.
  """
  recur = by_name(RECURRENCES, "scan" if implementation is None else implementation, kind="returns implementation")
  _check_shapes(rewards, values=values, discounts=discounts, mask=mask)
  bootstrap_value = jnp.asarray(bootstrap_value)
  if bootstrap_value.shape != rewards.shape[:-1]:
    raise ValueError(f"bootstrap_value must be {rewards.shape[:-1]}, one per row; got {bootstrap_value.shape}")
  goes_on = _following(jnp.ones(rewards.shape, jnp.int32), mask, recur) == 1
  next_value = jnp.where(goes_on, _following(values, mask, recur), bootstrap_value[..., None])
  delta = rewards + discounts * next_value - values
  decay = jnp.where(goes_on, discounts * gae_lambda, 0.0)
  if mask is None:
    return recur(decay, delta)
  advantages = recur(jnp.where(mask, decay, 1.0), jnp.where(mask, delta, 0.0))
  return jnp.where(mask, advantages, 0.0)


def lambda_returns(
  rewards: jax.Array,
  values: jax.Array,
  discounts: jax.Array,
  bootstrap_value: jax.Array,
  *,
  return_lambda: float,
  mask: jax.Array | None = None,
  implementation: str | None = None,
) -> jax.Array:
  """`G_t = r_t + d_t ((1 - lambda) V_{t+1} + lambda G_{t+1})`, which is `gae` plus the values.

  Sutton and Barto, 2018, "Reinforcement learning", eq. 12.20. Arguments and result as in `gae`.
  """
  advantages = gae(
    rewards,
    values,
    discounts,
    bootstrap_value,
    gae_lambda=return_lambda,
    mask=mask,
    implementation=implementation,
  )
  return advantages + values if mask is None else jnp.where(mask, advantages + values, 0.0)


def discounted_returns(
  rewards: jax.Array,
  discounts: jax.Array,
  bootstrap_value: jax.Array,
  *,
  mask: jax.Array | None = None,
  implementation: str | None = None,
) -> jax.Array:
  """`G_t = r_t + d_t G_{t+1}`, from `bootstrap_value` after the last element. Arguments and result as in `gae`."""
  nothing = jnp.zeros_like(rewards)
  return gae(
    rewards,
    nothing,
    discounts,
    bootstrap_value,
    gae_lambda=1.0,
    mask=mask,
    implementation=implementation,
  )


def turn_discounts(durations: jax.Array, terminal: jax.Array, *, discount: float) -> jax.Array:
  """`discount ** duration`, 0 after a terminal turn: decisions of unequal length on one clock.

  Sutton, Precup and Singh, 1999 (https://doi.org/10.1016/S0004-3702(99)00052-1), options as a semi-Markov process.

  Args:
    durations: `[..., U]`, of each turn, in the unit that `discount` is per: tokens, seconds, or 1 for every turn.
    terminal: bool `[..., U]`, the trajectory ended for good with this turn.
    discount: per unit of duration.

  Returns:
    f32 `[..., U]`.
  """
  return jnp.where(terminal, 0.0, discount ** jnp.asarray(durations, jnp.float32))


def turn_sums(values: jax.Array, turn: jax.Array, *, num_turns: int) -> jax.Array:
  """f32 `[U]`: the sum over the tokens of each turn; one row, `vmap` it.

  Args:
    values: f32 `[T]`, such as rewards; 0 where they should not count.
    turn: int `[T]`, turn of each token; -1 on the prompt, which enters no turn.
    num_turns: U, static; turns that do not occur get 0.

  Raises:
    ValueError: more than one row.
  """
  if jnp.ndim(values) != 1:
    raise ValueError(f"turn_sums takes one row [T], jax.vmap it over several; got {jnp.shape(values)}")
  return segment_sum(values, turn, num_turns)


def turn_values(per_turn: jax.Array, turn: jax.Array) -> jax.Array:
  """f32 `[T]`: at each token the value of its turn, 0 on the prompt; one row, `vmap` it.

  Args:
    per_turn: f32 `[U]`, such as advantages.
    turn: int `[T]`, turn of each token; -1 on the prompt.
  """
  return segment_values(per_turn, turn)


def _scan(decay: jax.Array, increment: jax.Array) -> jax.Array:
  """`x_t = decay_t x_{t+1} + increment_t` along the last axis, from 0."""

  def step(following, element):
    decay, increment = element
    here = decay * following + increment
    return here, here

  time_major = jnp.moveaxis(decay, -1, 0), jnp.moveaxis(increment, -1, 0)
  _, out = jax.lax.scan(step, jnp.zeros_like(increment[..., 0]), time_major, reverse=True)
  return jnp.moveaxis(out, 0, -1)


def _associative(decay: jax.Array, increment: jax.Array) -> jax.Array:
  """The same by composing the maps `x -> decay x + increment`.

  Blelloch, 1990 (https://www.cs.cmu.edu/~guyb/papers/Ble93.pdf), "Prefix sums and their applications".
  """

  def after(later, earlier):
    return earlier[0] * later[0], earlier[0] * later[1] + earlier[1]

  return jax.lax.associative_scan(after, (decay, increment), axis=increment.ndim - 1, reverse=True)[1]


RECURRENCES = {"scan": _scan, "associative": _associative}


def _following(a: jax.Array, mask: jax.Array | None, recur: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
  """The entry of the next unmasked element, 0 where there is none."""
  if mask is not None:
    a = recur(jnp.where(mask, 0, 1).astype(a.dtype), jnp.where(mask, a, jnp.zeros((), a.dtype)))
  return jnp.concatenate([a[..., 1:], jnp.zeros_like(a[..., :1])], axis=-1)


def _check_shapes(rewards: jax.Array, **others: jax.Array | None) -> None:
  if rewards.ndim == 0 or rewards.shape[-1] == 0:
    raise ValueError(f"rewards must be [..., T] with T at least 1; got {rewards.shape}")
  for name, other in others.items():
    if other is not None and other.shape != rewards.shape:
      raise ValueError(f"{name} must have the shape of rewards, {rewards.shape}; got {other.shape}")
  mask, discounts = others["mask"], others["discounts"]
  if discounts.dtype == jnp.bool_:
    raise ValueError("discounts are numbers: gamma, and 0 where a trajectory ended for good; got bool")
  if mask is not None and mask.dtype != jnp.bool_:
    raise ValueError(f"mask must be bool, True where an element counts; got {mask.dtype}")
