"""Slots on the device, and the one compiled function that moves them.

A slot is a row of tokens and a row of the key-value cache. `tick` applies the host's commands (fork, rewind, feed),
brings every pending token into the cache, decodes up to `decode_tokens` tokens per active slot, and reports. Fork,
rewind and feed are enough for every way of sampling that agentrl has; who wants which is a `Strategy`'s business.

Invariants between ticks, for a slot of `length` tokens:
  the cache is valid for positions `< cached`, and `length - 1 <= cached <= length`;
  decoding feeds the token at `length - 1` again if need be, and writes the new one at `length`.
So a rewind is a smaller `length`, and nothing in the cache is ever cleared.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.models import transformer
from agentrl.named import by_name, check_name
from agentrl.ops.attention import cache as cache_ops
from agentrl.rollout.sampling import Sample, sample_token, token_keys
from agentrl.settings import at_least, check_fields, setting

RUNNING, STOP_TOKEN, LIMIT = 0, 1, 2  # why decoding of a slot ended, in `Events.stopped`
HAS_ROW = 2**30  # in `Slots.waited`
KEEP = -1  # a command entry that leaves its slot as it is


@dataclasses.dataclass(frozen=True)
class EngineConfig:
  """Sizes of the slot engine on one device: the section `engine` of a config, and what a run derives.

  The rows of a tick are fixed, so that numbers do not depend on how many slots happen to wait for their tools: with
  more slots than rows, the rows stay full. A slot keeps its row to the end of its turn, so that turns do not all end
  together; then the longest waiting gets it.

  The trainer has no cache: what `cache_dtype` rounds is a difference between sampler and trainer. On SmolLM2 bf16
  halves the cache of fp32 params for 4e-3 nats of mean |difference|, int8 quarters it (47.8 of 180 MiB) for 2e-2
  (LOG.md, 2026-11-22).

  Attributes:
    positions: S, tokens per slot, prompt included; a run has as many as `rollout.max_tokens`.
  """

  positions: int = 512
  slots: int = setting(32, "B, slots of one device", at_least(1))
  decode_rows: int = setting(0, "slots that decode in one tick, while others wait for their tools; 0: all", at_least(0))
  decode_tokens: int = setting(8, "tokens decoded per slot and tick; the host is asked once a tick", at_least(1))
  feed_tokens: int = setting(
    128, "given tokens that one command may carry for a slot; longer ones take several ticks", at_least(1)
  )
  prefill_tokens: int = setting(32, "tokens of a row of a prefill chunk", at_least(1))
  prefill_rows: int = setting(1, "rows of a prefill chunk; one suits CPUs, several GPUs", at_least(1))
  live_step: int = setting(
    64,
    "attention reads the cache up to the next multiple of this many positions that holds the longest live slot, and "
    "the whole slot where that is over half of it; not read by attention that follows each slot's own length",
    at_least(1),
  )
  attention: str = setting("", 'over the cache: "reference", "xla" or "triton"; empty: by device')
  cache_dtype: str = setting("", 'of keys and values: "float32", "bfloat16" or "int8"; empty: that of the model')

  def __post_init__(self):
    check_fields(self, section="engine")
    if self.positions < 1:
      raise ValueError(f"positions={self.positions} of a slot must be at least 1")
    if self.attention:
      by_name(cache_ops.IMPLEMENTATIONS, self.attention, kind="engine.attention")
    if self.cache_dtype:
      check_name(cache_ops.CACHE_DTYPES, self.cache_dtype, kind="engine.cache_dtype")
    for name in ("prefill_rows", "decode_rows"):
      if getattr(self, name) > self.slots:
        raise ValueError(f"engine.{name}={getattr(self, name)} exceeds engine.slots={self.slots}")

  @property
  def live_lengths(self) -> tuple[int, ...]:
    """Cache lengths that attention is compiled for."""
    if cache_ops.reads_each_slots_length(self.attention or None):
      return (self.cache_positions,)
    step = cache_ops.whole_blocks(self.live_step)
    return (*range(step, self.cache_positions // 2, step), self.cache_positions)

  @property
  def cache_positions(self) -> int:
    """Positions of a slot's cache."""
    return cache_ops.whole_blocks(self.positions)


class Slots(NamedTuple):
  """Everything the engine owns on one device."""

  cache: transformer.Cache
  tokens: jax.Array  # int32 [B, S]
  length: jax.Array  # int32 [B]
  cached: jax.Array  # int32 [B], positions whose keys and values are in the cache
  uid: jax.Array  # uint32 [B]
  limit: jax.Array  # int32 [B], length at which decoding stops
  temperature: jax.Array  # f32 [B]
  waited: jax.Array  # int32 [B], ticks that it has waited for a row; HAS_ROW while it has one


class Commands(NamedTuple):
  """What the host asks of one tick. All arrays are per slot; NumPy on the host."""

  fork_from: Any  # int32 [B], slot to copy tokens and cache from; its own index: none
  length: Any  # int32 [B], length to rewind to, after the fork; KEEP: as it is
  feed: Any  # int32 [B, F], given tokens to append, after the rewind
  feed_count: Any  # int32 [B]
  uid: Any  # uint32 [B]
  limit: Any  # int32 [B]
  temperature: Any  # f32 [B]
  active: Any  # bool [B], decode this slot
  done: Any  # bool [1], end of the rollout: this tick does nothing


class Events(NamedTuple):
  """What one tick did. K is `decode_tokens`; entries past `count` are 0.

  An active slot that found no row decoded nothing: its count is 0, and it is still RUNNING.
  """

  tokens: Any  # int32 [B, K]
  logp: Any  # f32 [B, K]
  entropy: Any  # f32 [B, K]
  value: Any  # f32 [B], value head where the first token of this tick was decided; 0 without a head
  count: Any  # int32 [B]
  stopped: Any  # int32 [B], RUNNING, STOP_TOKEN or LIMIT
  work: Any  # int32 [1, 3], tokens prefilled, positions computed in prefill (padding included), decode steps


def empty_slots(model: transformer.ModelConfig, engine: EngineConfig) -> Slots:
  """Slots that hold nothing."""
  zeros = jnp.zeros((engine.slots,), jnp.int32)
  return Slots(
    cache=transformer.empty_cache(model, engine.slots, engine.cache_positions, dtype=engine.cache_dtype or None),
    tokens=jnp.zeros((engine.slots, engine.positions), jnp.int32),
    length=zeros,
    cached=zeros,
    uid=zeros.astype(jnp.uint32),
    limit=zeros,
    temperature=jnp.ones((engine.slots,), jnp.float32),
    waited=zeros,
  )


def no_commands(engine: EngineConfig) -> Commands:
  """Commands that change nothing: fresh NumPy arrays for a strategy to fill in."""
  b = engine.slots
  return Commands(
    fork_from=np.arange(b, dtype=np.int32),
    length=np.full(b, KEEP, np.int32),
    feed=np.zeros((b, engine.feed_tokens), np.int32),
    feed_count=np.zeros(b, np.int32),
    uid=np.zeros(b, np.uint32),
    limit=np.zeros(b, np.int32),
    temperature=np.ones(b, np.float32),
    active=np.zeros(b, bool),
    done=np.zeros(1, bool),
  )


def end_of_rollout(engine: EngineConfig) -> Commands:
  """Commands that end the rollout."""
  commands = no_commands(engine)
  commands.done[:] = True
  return commands


def tick_params(params: Mapping[str, Any], model: transformer.ModelConfig) -> dict[str, Any]:
  """A learner's params ("policy" and whatever `value_of` reads) with the policy laid out for decoding."""
  return {**params, "policy": transformer.decoding_weights(params["policy"], model)}


def make_tick(
  model: transformer.ModelConfig,
  engine: EngineConfig,
  pause_table: np.ndarray,
  value_of: Callable[[Any, jax.Array], jax.Array] | None = None,
) -> Callable[[Any, jax.Array, Slots, Commands], tuple[Slots, Events]]:
  """Builds `tick(params, base_key, slots, commands) -> (slots, events)`, with params from `tick_params`.

  Args:
    pause_table: bool `[V]`, tokens after which a slot waits for the host (a stop token, or one that may complete a
      stop string).
    value_of: `(params, hidden [B, D]) -> f32 [B]`, where a value head is present; see `tick_params`.
  """
  pause_table = np.asarray(pause_table, bool)
  if pause_table.shape != (model.vocab_size,):
    raise ValueError(f"pause_table has shape {pause_table.shape}, the model's vocabulary {model.vocab_size} entries")

  def tick(params, base_key, slots, commands):
    slots = _apply(slots, commands)
    slots, prefilled = _prefill(params["policy"], slots, model, engine)
    read_value = functools.partial(value_of, params) if value_of else lambda hidden: jnp.zeros(hidden.shape[:1])
    decode = functools.partial(_decode, params["policy"], base_key, model, engine, pause_table, read_value)
    slots, events = _on_rows(decode, slots, commands.active, engine)
    return slots, events._replace(work=jnp.concatenate([prefilled, events.work])[None])

  return tick


# ---- apply --------------------------------------------------------------------------------------------------------


def _apply(slots: Slots, commands: Commands) -> Slots:
  """Fork, rewind, take over the host's settings, append the given tokens."""
  slots = _fork(slots, commands.fork_from)
  length = jnp.where(commands.length == KEEP, slots.length, commands.length)
  rows, offset = jnp.arange(length.shape[0])[:, None], jnp.arange(commands.feed.shape[1])[None]
  given = offset < commands.feed_count[:, None]
  column = jnp.where(given, length[:, None] + offset, slots.tokens.shape[1])
  return slots._replace(
    tokens=slots.tokens.at[rows, column].set(commands.feed, mode="drop"),
    cached=jnp.minimum(slots.cached, length),
    length=length + commands.feed_count,
    uid=commands.uid,
    limit=commands.limit,
    temperature=commands.temperature,
    waited=jnp.where(commands.length == KEEP, slots.waited, 0),  # a turn that begins has no row of the one before it
  )


def _fork(slots: Slots, fork_from: jax.Array) -> Slots:
  """Copies rows one by one in place: no second cache is ever held. A source is never itself a destination."""
  own = jnp.arange(fork_from.shape[0])
  forked = fork_from != own

  def copy_row(state):
    slots, left = state
    to = jnp.argmax(left)
    source = fork_from[to]
    cache = jax.tree.map(lambda a: a.at[to].set(a[source]), slots.cache)
    return slots._replace(cache=cache), left.at[to].set(False)

  slots, _ = jax.lax.while_loop(lambda state: jnp.any(state[1]), copy_row, (slots, forked))
  return slots._replace(tokens=slots.tokens[fork_from], length=slots.length[fork_from], cached=slots.cached[fork_from])


# ---- prefill ------------------------------------------------------------------------------------------------------


def _pending(slots: Slots) -> jax.Array:
  """Tokens per slot to bring into the cache before it can decode: all but the last, which decoding feeds itself."""
  return jnp.maximum(slots.length - 1 - slots.cached, 0)


def _prefill(
  weights: Any, slots: Slots, model: transformer.ModelConfig, engine: EngineConfig
) -> tuple[Slots, jax.Array]:
  """Chunks until nothing is pending. Returns the slots and int32 [2]: tokens fed, positions computed."""

  def chunk(state):
    slots, work = state
    pending, rows = jax.lax.top_k(_pending(slots), engine.prefill_rows)
    count = jnp.minimum(pending, engine.prefill_tokens)
    starts = slots.cached[rows]
    column = jnp.minimum(starts[:, None] + jnp.arange(engine.prefill_tokens)[None], engine.positions - 1)
    tokens = slots.tokens[rows[:, None], column]
    cache = transformer.prefill_chunk(
      weights, slots.cache, rows, tokens, starts, config=model, attention=engine.attention or None
    )
    computed = engine.prefill_rows * engine.prefill_tokens
    work = work + jnp.stack([jnp.sum(count), jnp.int32(computed)])
    return slots._replace(cache=cache, cached=slots.cached.at[rows].add(count)), work

  state = (slots, jnp.zeros((2,), jnp.int32))
  return jax.lax.while_loop(lambda state: jnp.any(_pending(state[0]) > 0), chunk, state)


# ---- decode -------------------------------------------------------------------------------------------------------


def _on_rows(
  decode: Callable[[Slots, jax.Array], tuple[Slots, Events]], slots: Slots, active: jax.Array, engine: EngineConfig
) -> tuple[Slots, Events]:
  """Runs `decode(slots, active)` on a copy of `decode_rows` of the active slots; what it adds is put back."""
  if engine.decode_rows in (0, engine.slots):
    return decode(slots, active)
  waiting, chosen = jax.lax.top_k(jnp.where(active, 1 + slots.waited, 0), engine.decode_rows)
  part, done = decode(jax.tree.map(lambda a: a[chosen], slots), waiting > 0)
  written = slots.length[chosen][:, None] - 1 + jnp.arange(engine.decode_tokens)[None]
  cache = transformer.copy_positions(slots.cache, part.cache, chosen, written)
  slots = jax.tree.map(
    lambda whole, rows: whole.at[chosen].set(rows), slots._replace(cache=None), part._replace(cache=None)
  )._replace(cache=cache)
  waited = jnp.where(active, slots.waited + 1, 0).at[chosen].set(jnp.where(waiting > 0, HAS_ROW, 0))
  blank = _blank_events(engine, stopped=jnp.full((engine.slots,), RUNNING))
  events = jax.tree.map(
    lambda whole, rows: whole.at[chosen].set(rows), blank._replace(work=None), done._replace(work=None)
  )
  return slots._replace(waited=waited), events._replace(work=done.work)


def _decode(
  weights: Any,
  base_key: jax.Array,
  model: transformer.ModelConfig,
  engine: EngineConfig,
  pause_table: np.ndarray,
  read_value: Callable[[jax.Array], jax.Array],
  slots: Slots,
  active: jax.Array,
) -> tuple[Slots, Events]:
  """Up to K tokens per active slot, ending early when none is left running."""
  pauses = jnp.asarray(pause_table)

  def running(events):
    return active & (events.stopped == RUNNING) & (events.count < engine.decode_tokens)

  def step(state):
    slots, events = state
    runs = running(events)
    hidden, cache = _feed_last(weights, slots, runs, model, engine)
    keys = token_keys(base_key, slots.uid, slots.length)
    sample = sample_token(transformer.output_major(hidden, weights.unembed), keys, slots.temperature)
    stopped = jnp.where(pauses[sample.token], STOP_TOKEN, jnp.where(slots.length + 1 >= slots.limit, LIMIT, RUNNING))
    events = events._replace(
      value=jnp.where(runs & (events.count == 0), read_value(hidden), events.value),
      stopped=jnp.where(runs, stopped, events.stopped),
    )
    return _append(slots._replace(cache=cache), sample.token, runs), _report(events, sample, runs)

  blank = _blank_events(engine, stopped=jnp.where(active & (slots.length >= slots.limit), LIMIT, RUNNING))
  return jax.lax.while_loop(lambda state: jnp.any(running(state[1])), step, (slots, blank))


def _blank_events(engine: EngineConfig, stopped: jax.Array) -> Events:
  per_slot = jnp.zeros(stopped.shape, jnp.int32)
  per_token = jnp.zeros((*stopped.shape, engine.decode_tokens), jnp.float32)
  return Events(
    tokens=per_token.astype(jnp.int32),
    logp=per_token,
    entropy=per_token,
    value=per_slot.astype(jnp.float32),
    count=per_slot,
    stopped=stopped.astype(jnp.int32),
    work=jnp.zeros((1,), jnp.int32),
  )


def _feed_last(
  weights: Any, slots: Slots, runs: jax.Array, model: transformer.ModelConfig, engine: EngineConfig
) -> Any:
  """Feeds every slot's last token, reading as much of the cache as the longest running slot needs."""
  lengths = jnp.asarray(engine.live_lengths, jnp.int32)
  live = jnp.searchsorted(lengths, jnp.max(jnp.where(runs, slots.length, 0)), side="left")
  last = jnp.maximum(slots.length - 1, 0)
  tokens = jnp.take_along_axis(slots.tokens, last[:, None], axis=1)[:, 0]
  return transformer.decode_step(
    weights, slots.cache, tokens, last, runs, live,
    config=model, live_lengths=engine.live_lengths, attention=engine.attention or None,
  )  # fmt: skip


def _append(slots: Slots, token: jax.Array, runs: jax.Array) -> Slots:
  """Appends one token to the running slots; the one before it is in the cache now."""
  rows, column = jnp.arange(token.shape[0]), jnp.where(runs, slots.length, slots.tokens.shape[1])
  return slots._replace(
    tokens=slots.tokens.at[rows, column].set(token, mode="drop"),
    cached=jnp.where(runs, slots.length, slots.cached),
    length=slots.length + runs.astype(jnp.int32),
  )


def _report(events: Events, sample: Sample, runs: jax.Array) -> Events:
  """Appends one sampled token to the report of the running slots."""
  rows, column = jnp.arange(runs.shape[0]), jnp.where(runs, events.count, events.tokens.shape[1])
  return events._replace(
    tokens=events.tokens.at[rows, column].set(sample.token, mode="drop"),
    logp=events.logp.at[rows, column].set(sample.logp, mode="drop"),
    entropy=events.entropy.at[rows, column].set(sample.entropy, mode="drop"),
    count=events.count + runs.astype(jnp.int32),
    work=events.work + jnp.sum(runs, dtype=jnp.int32),
  )
