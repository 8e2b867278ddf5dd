"""`linear_logprob` in tiles of tokens and vocabulary: plain XLA, for every platform.

The forward pass walks over the vocabulary with a running maximum, and keeps per token `logsumexp` and entropy H. The
backward pass computes each tile of logits a second time and adds up

  dL/dz_v = g_logp (1[v = token] - p_v) - g_entropy p_v (log p_v + H),

so that training costs four matrix products where holding the logits costs three, and no memory grows with N V.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero


class Tile(NamedTuple):
  """At most so many tokens and columns of logits are held at a time."""

  tokens: int
  vocabulary: int


# On a CPU a tile should stay near the caches; an accelerator wants few and large products.
CPU_TILE = Tile(tokens=1024, vocabulary=2048)
ACCELERATOR_TILE = Tile(tokens=4096, vocabulary=8192)
_NEVER = -1e30  # logit of a column that does not count; finite, since 0 * -inf is not 0


def chunked(
  hidden: jax.Array, unembed: jax.Array, tokens: jax.Array, temperature: jax.Array, *, tile: Tile | None = None
) -> tuple[jax.Array, jax.Array]:
  """`(logp [N], entropy [N])`, never holding more than one tile of logits.

  Token n goes to tile n modulo the number of tiles, so that rows sharded over a mesh stay where they are.

  Args:
    hidden: `[N, D]`.
    unembed: `[D, V]`; V need not divide into tiles.
    tokens: int `[N]`, in range.
    temperature: f32 `[N]`, a constant.
    tile: None takes the platform's default.
  """
  if tile is None:
    tile = CPU_TILE if jax.default_backend() == "cpu" else ACCELERATOR_TILE
  count = tokens.shape[0]
  least = -(-count // tile.tokens)
  # Tiles that divide the tokens need no padding, which would move rows between devices.
  token_tiles = next((tiles for tiles in range(least, 2 * least) if count % tiles == 0), least)
  padding = -count % token_tiles
  columns = min(tile.vocabulary, unembed.shape[1])

  def split(x, fill):
    padded = jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)
    return padded.reshape(-1, token_tiles, *x.shape[1:]).swapaxes(0, 1)

  outputs = _logprob(columns, split(hidden, 0), unembed.T, split(tokens, 0), split(1.0 / temperature, 1.0))
  logp, entropy = (x.swapaxes(0, 1).reshape(-1)[:count] for x in outputs)
  return logp, entropy


# Below, hidden is [I, N, D], I tiles of N tokens; tokens, scale (1 / temperature) and all results are [I, N]; rows is
# the transposed unembedding [V, D], whose tiles are contiguous.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _logprob(columns, hidden, rows, tokens, scale):
  logp, _, entropy = _forward(columns, hidden, rows, tokens, scale)
  return logp, entropy


def _forward(columns, hidden, rows, tokens, scale):
  """`(logp, logsumexp, entropy)`, each `[I, N]`."""

  def token_tile(tile):
    hidden, tokens, scale = tile

    def vocabulary_tile(running, first):
      return _accumulate(running, *_logits(columns, hidden, rows, scale, first), tokens), None

    zeros = jnp.zeros_like(scale)
    start = (jnp.full_like(scale, _NEVER), zeros, zeros, zeros)
    (peak, total, weighted, taken), _ = jax.lax.scan(vocabulary_tile, start, _tile_starts(columns, rows))
    logsumexp = peak + jnp.log(total)
    return taken - logsumexp, logsumexp, jnp.log(total) - weighted / total

  return jax.lax.map(token_tile, (hidden, tokens, scale))


def _accumulate(running, logits, column, tokens):
  """One more tile of the sums of `e` and `e (z - peak)`, `e = exp(z - peak)`, and of the logit of the taken token."""
  peak, total, weighted, taken = running
  new_peak = jnp.maximum(peak, jnp.max(logits, axis=1))
  distance = logits - new_peak[:, None]
  weight = jnp.exp(distance)
  rescale = jnp.exp(peak - new_peak)
  weighted = rescale * (weighted + (peak - new_peak) * total) + jnp.sum(weight * distance, axis=1)
  total = rescale * total + jnp.sum(weight, axis=1)
  taken = taken + jnp.sum(jnp.where(column[None, :] == tokens[:, None], logits, 0.0), axis=1)
  return new_peak, total, weighted, taken


def _forward_rule(
  columns: int, hidden: CustomVJPPrimal, rows: CustomVJPPrimal, tokens: CustomVJPPrimal, scale: CustomVJPPrimal
):
  logp, logsumexp, entropy = _forward(columns, hidden.value, rows.value, tokens.value, scale.value)
  # An empty tuple or None: the structure of the residuals is static, their leaves are not.
  train_rows = () if rows.perturbed else None
  return (logp, entropy), (hidden.value, rows.value, tokens.value, scale.value, logsumexp, entropy, train_rows)


def _backward_rule(columns, residuals, cotangents):
  """Vocabulary outside, tokens inside: each tile of the unembedding's gradient is summed in fp32 and written once."""
  hidden, rows, tokens, scale, logsumexp, entropy, train_rows = residuals
  logp_bar, entropy_bar = cotangents
  constants = hidden, tokens, scale, logsumexp, entropy

  def logits_bar(logits, column, tokens, scale, logsumexp, entropy, logp_bar, entropy_bar):
    log_p = logits - logsumexp[:, None]
    p = jnp.exp(log_p)
    total = jnp.zeros_like(p)
    if logp_bar is not None:
      total += logp_bar[:, None] * ((column[None, :] == tokens[:, None]).astype(p.dtype) - p)
    if entropy_bar is not None:
      total -= entropy_bar[:, None] * p * (log_p + entropy[:, None])
    return total * scale[:, None]

  def vocabulary_tile(bars, first):
    hidden_bar, rows_bar = bars
    start = _clamped(columns, rows, first)
    tile_rows = jax.lax.dynamic_slice_in_dim(rows, start, columns)

    def token_tile(tile_bar, tile):
      (hidden, tokens, scale, logsumexp, entropy), hidden_bar, logp_bar, entropy_bar = tile
      logits, column = _logits(columns, hidden, rows, scale, first)
      bar = logits_bar(logits, column, tokens, scale, logsumexp, entropy, logp_bar, entropy_bar).astype(hidden.dtype)
      hidden_bar += _matmul("nv,vd->nd", bar, tile_rows)
      if train_rows is not None:
        tile_bar += _matmul("nv,nd->vd", bar, hidden)
      return tile_bar, hidden_bar

    tile_bar = jnp.zeros(tile_rows.shape, jnp.float32) if train_rows is not None else None
    tile_bar, hidden_bar = jax.lax.scan(token_tile, tile_bar, (constants, hidden_bar, logp_bar, entropy_bar))
    if train_rows is not None:
      # The last tile may overlap the one before it, with zeros: add, do not overwrite.
      tile_bar = tile_bar.astype(rows.dtype) + jax.lax.dynamic_slice_in_dim(rows_bar, start, columns)
      rows_bar = jax.lax.dynamic_update_slice_in_dim(rows_bar, tile_bar, start, axis=0)
    return (hidden_bar, rows_bar), None

  logp_bar, entropy_bar = (None if isinstance(bar, SymbolicZero) else bar for bar in (logp_bar, entropy_bar))
  bars = jnp.zeros(hidden.shape, jnp.float32), jnp.zeros_like(rows) if train_rows is not None else None
  (hidden_bar, rows_bar), _ = jax.lax.scan(vocabulary_tile, bars, _tile_starts(columns, rows))
  return hidden_bar.astype(hidden.dtype), rows_bar, None, None


_logprob.defvjp(_forward_rule, _backward_rule, symbolic_zeros=True)


def _tile_starts(columns: int, rows: jax.Array) -> jax.Array:
  return jnp.arange(0, rows.shape[0], columns)


def _clamped(columns: int, rows: jax.Array, first: jax.Array) -> jax.Array:
  return jnp.minimum(first, rows.shape[0] - columns)


def _logits(columns, hidden, rows, scale, first):
  """Logits `[N, columns]` of the tile that begins at column `first`, and their column numbers `[columns]`.

  The last tile begins early enough to be whole; the columns that it shares with the one before count for nothing.
  """
  start = _clamped(columns, rows, first)
  column = start + jnp.arange(columns)
  logits = _matmul("nd,vd->nv", hidden, jax.lax.dynamic_slice_in_dim(rows, start, columns)) * scale[:, None]
  if rows.shape[0] % columns:
    # Not a token's number either: the taken logit is counted once.
    counts = column >= first
    logits, column = jnp.where(counts[None, :], logits, _NEVER), jnp.where(counts, column, -1)
  return logits, column


def _matmul(equation: str, x: jax.Array, y: jax.Array) -> jax.Array:
  return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)
