"""From one value per token to the objective: the only place that divides.

Every function gives this micro-batch's share of the global value: denominators count the whole batch, so that shares
add up over micro-batches and devices, and neither can change the objective. Where a denominator counts nothing the
numerator is empty too, and the share is 0.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from agentrl.ops.segments import segment_sum, segment_values
from agentrl.settings import above


def token_mean(values: jax.Array, mask: jax.Array, total_tokens: jax.Array | float) -> jax.Array:
  """`sum_t m v / total_tokens`: every token weighs the same (DAPO, CISPO, Lite PPO).

  Args:
    values: `[B, A]`, of this micro-batch; masked entries are not read.
    mask: bool `[B, A]`.
    total_tokens: `[]`, action tokens of the whole batch.

  Returns:
    `[]`, f32.
  """
  return _masked_sum(values, mask) / _at_least_one(total_tokens)


def sequence_mean(
  values: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  total_sequences: jax.Array | float,
) -> jax.Array:
  """`sum_i (1 / L_i) sum_t m v / total_sequences`: every sequence weighs the same (GRPO, GSPO).

  Args:
    values: `[B, A]`, of this micro-batch; masked entries are not read.
    mask: bool `[B, A]`.
    sequence: int `[B, A]`, which of the N sequences owns the token; N on padding.
    sequence_length: f32 `[N]`, action tokens of each sequence of the whole batch; 0 on padding.
    total_sequences: `[]`, sequences with at least one action token in the whole batch.

  Returns:
    `[]`, f32.
  """
  weight = segment_values(1.0 / _at_least_one(sequence_length), sequence)
  return _masked_sum(values * weight.astype(values.dtype), mask) / _at_least_one(total_sequences)


def sequence_sum_norm(
  values: jax.Array, mask: jax.Array, total_sequences: jax.Array | float, *, constant: float
) -> jax.Array:
  """`sum_i sum_t m v / (total_sequences constant)`: no division by a length that the policy chose (Dr.GRPO).

  Liu et al., 2025 (https://arxiv.org/abs/2503.20783).

  Args:
    values: `[B, A]`, of this micro-batch; masked entries are not read.
    mask: bool `[B, A]`.
    total_sequences: `[]`, sequences with at least one action token in the whole batch.
    constant: tokens; the longest that a sequence may get.

  Returns:
    `[]`, f32.
  """
  return _masked_sum(values, mask) / (_at_least_one(total_sequences) * constant)


def prompt_mean(
  values: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array, sequence_group: jax.Array
) -> jax.Array:
  """`sum_p (1 / L_p) sum_{i in p} sum_t m v / prompts`: every prompt weighs the same, and within it every token.

  Khatri et al., 2025, "The art of scaling reinforcement learning compute" (https://arxiv.org/abs/2510.13786), prompt
  averages; L_p counts the tokens of all samples of a prompt.

  Args:
    values: `[B, A]`, of this micro-batch; masked entries are not read.
    mask: bool `[B, A]`.
    sequence: int `[B, A]`, which of the N sequences owns the token; N on padding.
    sequence_length: f32 `[N]`, action tokens of each sequence of the whole batch; 0 on padding.
    sequence_group: int `[N]`, which of at most N prompts each sequence is a sample of; N on padding.

  Returns:
    `[]`, f32.
  """
  tokens = segment_sum(sequence_length, sequence_group, len(sequence_length))
  per_token = 1.0 / (_at_least_one(segment_values(tokens, sequence_group)) * _at_least_one(_count(tokens)))
  return _masked_sum(values * segment_values(per_token, sequence).astype(values.dtype), mask)


def by_token(
  values: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array, sequence_group: jax.Array
) -> jax.Array:
  """`token_mean` in the common signature of `REDUCTIONS`."""
  del sequence, sequence_group  # every token weighs the same
  return token_mean(values, mask, jnp.sum(sequence_length))


def by_sequence(
  values: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array, sequence_group: jax.Array
) -> jax.Array:
  """`sequence_mean` in the common signature of `REDUCTIONS`."""
  del sequence_group  # every sequence weighs the same
  return sequence_mean(values, mask, sequence, sequence_length, _count(sequence_length))


def by_constant(
  values: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  sequence_group: jax.Array,
  *,
  constant: float = 1.0,
) -> jax.Array:
  """`sequence_sum_norm` in the common signature of `REDUCTIONS`.

  Args:
    constant: 1 sums over the tokens, as RLOO does. Dr.GRPO divides by the longest that a sequence may get: say it.
  """
  del sequence, sequence_group  # tokens of all sequences are divided by the same constant
  return sequence_sum_norm(values, mask, _count(sequence_length), constant=constant)


# (values [B, A], mask [B, A], sequence [B, A], sequence_length [N], sequence_group [N], **settings) -> [], with
# denominators from the lengths.
Reduction = Callable[..., jax.Array]
TAKES = ("values", "mask", "sequence", "sequence_length", "sequence_group")
REDUCTIONS: dict[str, Reduction] = {
  "token_mean": by_token,
  "sequence_mean": by_sequence,
  "sequence_sum_norm": by_constant,
  "prompt_mean": prompt_mean,
}
# Of the settings of reductions, by name.
RANGES = {"constant": above(0)}


def token_weights(reduce: Reduction, sequence_length: jax.Array, sequence_group: jax.Array) -> jax.Array:
  """What a reduction puts before the value of a token of each sequence, f32 `[N]`; 0 where the sequence has none.

  Args:
    reduce: linear in its values, with one weight for all tokens of a sequence.
    sequence_length: f32 `[N]`, action tokens of each sequence of the whole batch.
    sequence_group: int `[N]`, of which prompt each sequence is a sample.
  """
  count = sequence_length.shape[0]
  sequence, mask = jnp.arange(count)[None], (sequence_length > 0)[None]
  zeros = jnp.zeros((1, count), jnp.float32)
  return jax.grad(lambda values: reduce(values, mask, sequence, sequence_length, sequence_group))(zeros)[0]


def _masked_sum(values: jax.Array, mask: jax.Array) -> jax.Array:
  if values.shape != mask.shape:
    raise ValueError(f"one mask entry per value: values have shape {values.shape}, mask {mask.shape}")
  return jnp.sum(jnp.where(mask, values, jnp.zeros((), values.dtype)), dtype=jnp.float32)


def _at_least_one(count: jax.Array | float) -> jax.Array:
  return jnp.maximum(jnp.asarray(count, jnp.float32), 1.0)


def _count(sequence_length: jax.Array) -> jax.Array:
  return jnp.sum(sequence_length > 0, dtype=jnp.float32)
