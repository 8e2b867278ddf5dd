"""Fork, rewind and feed: whatever way a slot came to its tokens, it goes on as a fresh one would."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import heads, transformer
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import EngineConfig

ENGINE = EngineConfig(slots=3, positions=64, decode_tokens=6, feed_tokens=24, prefill_tokens=8, live_step=32)
PROMPT, OTHER, OBSERVATION = [5, 9, 2, 7, 11, 3, 8, 1, 4, 6, 10], [3, 3, 9, 1], [12, 13, 14]


def compiled(lab, sizes):
  """A compiled tick that never pauses, and fresh slots."""
  tick = slot_engine.make_tick(lab.model, sizes, np.zeros(lab.model.vocab_size, bool))
  return jax.jit(functools.partial(tick, lab.tick_params, jax.random.key(3))), slot_engine.empty_slots(lab.model, sizes)


@pytest.fixture(scope="module")
def machine(lab):
  return compiled(lab, ENGINE)


def command(slot, *, feed=(), length=slot_engine.KEEP, fork=None, decode=True, uid=77, limit=60):
  commands = slot_engine.no_commands(ENGINE)
  commands.length[slot], commands.feed_count[slot], commands.active[slot] = length, len(feed), decode
  commands.feed[slot, : len(feed)] = feed
  commands.uid[slot], commands.limit[slot] = uid, limit
  commands.fork_from[slot] = slot if fork is None else fork
  return commands


def run(machine, *commands):
  """Runs commands in order from fresh slots; returns all events."""
  step, slots = machine
  history = []
  for one in commands:
    slots, events = step(slots, one)
    history.append(jax.tree.map(np.asarray, events))
  return history


def assert_same_words(got, slot, wanted, wanted_slot):
  assert got.count[slot] == wanted.count[wanted_slot] == ENGINE.decode_tokens
  np.testing.assert_array_equal(got.tokens[slot], wanted.tokens[wanted_slot])
  np.testing.assert_allclose(got.logp[slot], wanted.logp[wanted_slot], rtol=0, atol=2e-5)
  np.testing.assert_allclose(got.entropy[slot], wanted.entropy[wanted_slot], rtol=0, atol=2e-5)


def test_rewind_fork_and_pieces_over_an_int8_cache(lab):
  """What is rounded depends on the token and what came before it, not on how it came there."""
  machine = compiled(lab, dataclasses.replace(ENGINE, cache_dtype="int8"))
  (first,) = run(machine, command(0, feed=PROMPT))
  written = (PROMPT + first.tokens[0].tolist())[:12]
  fresh = run(machine, command(0, feed=written + OBSERVATION))[-1]
  rewound = run(machine, command(0, feed=PROMPT), command(0, length=12, feed=OBSERVATION))[-1]
  forked = run(machine, command(0, feed=PROMPT), command(2, fork=0, length=12, feed=OBSERVATION))[-1]
  pieces = run(machine, command(0, feed=written[:5], decode=False), command(0, feed=written[5:] + OBSERVATION))[-1]
  for got, slot in ((rewound, 0), (forked, 2), (pieces, 0)):
    assert got.count[slot] == ENGINE.decode_tokens
    np.testing.assert_array_equal(got.tokens[slot], fresh.tokens[0])
    np.testing.assert_allclose(got.logp[slot], fresh.logp[0], atol=1e-3)


@pytest.mark.parametrize(("cache_dtype", "bound"), [("float32", 0.0), ("bfloat16", 0.01), ("int8", 0.02)])
def test_a_rounded_cache_moves_logp_within_a_bound(lab, machine, cache_dtype, bound):
  sizes = dataclasses.replace(ENGINE, cache_dtype=cache_dtype)
  (exact,) = run(machine, command(0, feed=PROMPT))
  state = slot_engine.empty_slots(lab.model, sizes).cache
  scales = {"float32"} if cache_dtype == "int8" else set()
  assert {a.dtype.name for a in jax.tree.leaves(state)} == {cache_dtype} | scales
  (got,) = run(compiled(lab, sizes), command(0, feed=PROMPT))
  assert got.tokens[0][0] == exact.tokens[0][0]
  difference = abs(got.logp[0][0] - exact.logp[0][0])
  assert difference <= bound and (difference > 0) == (bound > 0)


def test_only_slots_that_run_are_written(machine):
  """A slot at rest keeps its cache to the last bit."""
  step, slots = machine
  slots, _ = step(slots, command(1, feed=PROMPT, decode=False))
  after, _ = step(slots, command(0, feed=OTHER))
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b[1]), after.cache, slots.cache)


@pytest.mark.parametrize("keep", [1, 7, 8, 11, 13])
def test_rewind_then_continue_equals_a_fresh_start(machine, keep):
  """The cache past the rewind still holds other tokens' keys: none may be seen."""
  first = run(machine, command(0, feed=PROMPT))[0]
  written = (PROMPT + first.tokens[0].tolist())[:keep]
  again = run(machine, command(0, feed=PROMPT), command(0, length=keep, feed=OBSERVATION))[-1]
  fresh = run(machine, command(0, feed=written + OBSERVATION))[-1]
  assert_same_words(again, 0, fresh, 0)


def test_rewind_without_feed_samples_the_same_again(machine):
  first, again = run(machine, command(0, feed=PROMPT), command(0, length=len(PROMPT)))
  assert_same_words(again, 0, first, 0)


def test_another_uid_samples_something_else(machine):
  first, other = run(machine, command(0, feed=PROMPT), command(0, length=len(PROMPT), uid=78))
  assert first.tokens[0].tolist() != other.tokens[0].tolist()


def test_a_fork_goes_on_as_its_source_would(machine):
  source = command(1, feed=PROMPT, decode=False)
  forked = run(machine, command(2, feed=OTHER), source, command(2, fork=1))[-1]
  fresh = run(machine, command(0, feed=PROMPT))[-1]
  assert_same_words(forked, 2, fresh, 0)


def test_fork_and_rewind_in_one_tick(machine):
  forked = run(machine, command(0, feed=PROMPT), command(1, fork=0, length=6, feed=OBSERVATION))[-1]
  fresh = run(machine, command(0, feed=PROMPT[:6] + OBSERVATION))[-1]
  assert_same_words(forked, 1, fresh, 0)


def test_a_source_is_not_disturbed_by_its_fork(machine):
  lone = run(machine, command(0, feed=PROMPT), command(0))[-1]
  both, forking = command(0), command(1, fork=0, length=4, feed=OTHER)
  for mine, other in zip(both, forking, strict=True):
    if len(mine) == ENGINE.slots:
      mine[1] = other[1]
  got = run(machine, command(0, feed=PROMPT), both)[-1]
  assert got.count[1] == ENGINE.decode_tokens
  assert_same_words(got, 0, lone, 0)


def test_a_prompt_in_pieces_equals_a_prompt_at_once(machine):
  pieces = run(machine, command(0, feed=PROMPT[:5], decode=False), command(0, feed=PROMPT[5:]))[-1]
  assert_same_words(pieces, 0, run(machine, command(0, feed=PROMPT))[-1], 0)


def test_decoding_ends_at_the_limit(machine):
  (events,) = run(machine, command(0, feed=PROMPT, limit=len(PROMPT) + 4))
  assert events.count[0] == 4 and events.stopped[0] == slot_engine.LIMIT
  (events,) = run(machine, command(0, feed=PROMPT, limit=len(PROMPT)))
  assert events.count[0] == 0 and events.stopped[0] == slot_engine.LIMIT


def test_decoding_pauses_after_a_token_of_the_table(lab, machine):
  words = run(machine, command(0, feed=PROMPT))[0].tokens[0].tolist()
  table = np.zeros(lab.model.vocab_size, bool)
  table[words[2]] = True
  tick = slot_engine.make_tick(lab.model, ENGINE, table)
  _, events = jax.jit(tick)(lab.tick_params, jax.random.key(3), machine[1], command(0, feed=PROMPT))
  first = words.index(words[2])
  assert events.count[0] == first + 1 and events.stopped[0] == slot_engine.STOP_TOKEN
  assert np.asarray(events.tokens)[0].tolist() == words[: first + 1] + [0] * (5 - first)


def test_work_is_counted(machine):
  (events,) = run(machine, command(0, feed=PROMPT))
  # 10 of 11 prompt tokens are prefilled, in two chunks of 8 positions; 6 tokens are decoded.
  assert events.work[0].tolist() == [10, 16, 6]


def test_a_chunk_whose_padding_lies_past_the_cache_harms_nothing(machine):
  """Fed in other portions, the same 60 of 64 positions; the last chunk of one of them starts at 59 and is 8 long."""
  words = np.random.default_rng(0).integers(1, 20, 60).tolist()
  portions = [(11, 24, 24, 1), (24, 24, 12)]
  ends = []
  for portion in portions:
    cuts = np.cumsum([0, *portion])
    feeds = [words[a:b] for a, b in itertools.pairwise(cuts)]
    *before, last = [command(0, feed=feed, decode=False) for feed in feeds]
    last.active[0], last.limit[0] = True, 64
    ends.append(run(machine, *before, last)[-1])
  assert [int(e.count[0]) for e in ends] == [4, 4]
  np.testing.assert_array_equal(ends[0].tokens[0], ends[1].tokens[0])
  np.testing.assert_allclose(ends[0].logp[0], ends[1].logp[0], atol=2e-5)


def test_a_value_head_reports_the_value_where_the_first_token_of_the_tick_was_decided(lab):
  head = {"weight": jnp.linspace(-1.0, 1.0, lab.model.width), "bias": jnp.float32(0.25)}
  params = {"policy": lab.params, "value": head}
  tick = slot_engine.make_tick(
    lab.model, ENGINE, np.zeros(lab.model.vocab_size, bool), lambda p, h: heads.apply_value_head(p["value"], h)
  )
  step = jax.jit(functools.partial(tick, slot_engine.tick_params(params, lab.model), jax.random.key(3)))
  (events,) = run((step, slot_engine.empty_slots(lab.model, ENGINE)), command(1, feed=PROMPT))
  assert events.count[1] > 1  # those after the first change nothing
  fed = jnp.asarray([PROMPT], jnp.int32)
  positions = jnp.arange(fed.shape[1], dtype=jnp.int32)[None]
  hidden = transformer.forward(lab.params, fed, positions, jnp.full_like(fed, fed.shape[1]), config=lab.model)
  wanted = heads.apply_value_head(params["value"], hidden)[0, -1]
  np.testing.assert_allclose(events.value[1], wanted, atol=1e-5)
  assert abs(float(wanted)) > 1e-3 and events.value[0] == 0


def test_slots_without_a_row_wait_for_the_end_of_a_turn_and_say_what_they_would_alone(lab, machine):
  sizes = dataclasses.replace(ENGINE, decode_rows=2)
  go_on = slot_engine.no_commands(sizes)
  go_on.active[:], go_on.uid[:], go_on.limit[:] = True, [78, 79, 77], len(PROMPT) + 12
  start = go_on._replace(feed=np.zeros((3, ENGINE.feed_tokens), np.int32), feed_count=np.full(3, len(PROMPT), np.int32))
  start.feed[:, : len(PROMPT)] = PROMPT
  rest = go_on._replace(active=np.array([False, True, True]))  # the first slot's turn is over: it waits for its tool
  with_two_rows = compiled(lab, sizes)
  history = run(with_two_rows, start, rest, rest)
  counts = [events.count.tolist() for events in history]
  assert counts == [[6, 6, 0], [0, 6, 6], [0, 0, 6]]  # slot 1 keeps its row; slot 2 gets the one that slot 0 left
  assert [int(reason) for reason in history[2].stopped[1:]] == [slot_engine.LIMIT] * 2
  alone = np.concatenate([e.tokens[0] for e in run(machine, command(0, feed=PROMPT), command(0))])
  shared = np.concatenate([events.tokens[2][: events.count[2]] for events in history])
  np.testing.assert_array_equal(shared, alone)
  anew = start._replace(length=np.array([0, slot_engine.KEEP, slot_engine.KEEP]))
  anew = anew._replace(feed_count=np.array([len(PROMPT), 0, 0]))  # the first slot's next turn begins at once
  assert [events.count.tolist() for events in run(with_two_rows, start, anew)] == [[6, 6, 0], [0, 6, 6]]


def test_idle_slots_stay_as_they_are(machine):
  step, slots = machine
  slots, _ = step(slots, command(1, feed=PROMPT, decode=False))
  after, events = step(slots, command(0, feed=OTHER))
  assert events.count.tolist() == [6, 0, 0]
  np.testing.assert_array_equal(after.tokens[1], slots.tokens[1])
  assert after.length[1] == len(PROMPT)


@pytest.mark.parametrize("name", ["slots", "decode_tokens", "feed_tokens", "prefill_tokens", "live_step"])
def test_sizes_must_be_positive(name):
  with pytest.raises(ValueError, match=f"engine.{name}=0 must be at least 1"):
    EngineConfig(**{name: 0})


@pytest.mark.parametrize(
  ("setting", "message"),
  [
    ({"attention": "tirton"}, "no engine.attention is called 'tirton': did you mean 'triton'"),
    ({"cache_dtype": "int4"}, "no engine.cache_dtype is called 'int4': did you mean 'int8'"),
    ({"cache_dtype": "json:dumps"}, "no engine.cache_dtype is called 'json:dumps': known: bfloat16, float32, int8$"),
  ],
)
def test_unknown_names_are_refused(setting, message):
  with pytest.raises(ValueError, match=message):
    EngineConfig(**setting)


def test_attention_that_follows_each_slots_length_needs_no_live_lengths():
  assert EngineConfig(positions=200, live_step=32, attention="triton").live_lengths == (256,)


def test_sizes_must_fit_each_other(lab):
  with pytest.raises(ValueError, match=r"engine.prefill_rows=5 exceeds engine.slots=4"):
    EngineConfig(slots=4, prefill_rows=5)
  with pytest.raises(ValueError, match=r"engine.decode_rows=5 exceeds engine.slots=4"):
    EngineConfig(slots=4, decode_rows=5)
  with pytest.raises(ValueError, match="positions=0 of a slot must be at least 1"):
    EngineConfig(positions=0)
  with pytest.raises(ValueError, match=r"engine.decode_rows=-1 must be at least 0"):
    EngineConfig(decode_rows=-1)
  with pytest.raises(ValueError, match="pause_table has shape"):
    slot_engine.make_tick(lab.model, ENGINE, np.zeros(3, bool))


@pytest.mark.parametrize(
  ("positions", "step", "lengths"), [(500, 24, (64, 128, 192, 512)), (256, 64, (64, 256)), (9, 64, (64,))]
)
def test_live_lengths_are_steps_up_to_half_the_slot_and_then_all_of_it(positions, step, lengths):
  assert EngineConfig(positions=positions, live_step=step, prefill_tokens=8).live_lengths == lengths
