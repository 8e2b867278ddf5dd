"""Which slot gets which job, on a device that only counts: it writes what a job's uid says."""

import dataclasses
import itertools
import random

import numpy as np
import pytest

from agentrl.rollout import engine as slot_engine
from agentrl.rollout.driver import check_commands
from agentrl.rollout.engine import KEEP, EngineConfig, Events
from agentrl.rollout.slots import Job, SlotAllocator

ENGINE = EngineConfig(slots=4, positions=64, decode_tokens=2, feed_tokens=10, prefill_tokens=4)
WRITES = 3  # tokens of every job


def written(uid, position):
  """The token that a job writes: no two jobs write the same."""
  return 1000 + uid * 100 + position


class Device:
  """Slots as plain lists; checks every command as the driver does, and prefills in chunks as the engine does.

  Attributes:
    rows: tokens of each slot. chunks: where the prefill chunk began that each cached token went through; a token that
      decoding fed has None. lengths: what the commands of the last tick rewound to, by slot. fed, forks: counts.
  """

  def __init__(self, engine):
    self.engine, self.rows, self.chunks = engine, [[] for _ in range(engine.slots)], [[] for _ in range(engine.slots)]
    self.fed = self.forks = 0
    self.before, self.commands = [], None

  def tick(self, commands):
    check_commands(commands, np.asarray([len(row) for row in self.rows]), self.engine)
    self.before, self.commands = self.rows, commands
    self.forks += int(np.sum(commands.fork_from != np.arange(self.engine.slots)))
    self.fed += int(np.sum(commands.feed_count))
    self.rows = [list(self.rows[source]) for source in commands.fork_from]
    self.chunks = [list(self.chunks[source]) for source in commands.fork_from]
    blank = np.zeros((self.engine.slots, self.engine.decode_tokens))
    events = Events(blank.astype(int), blank, blank, blank[:, 0], *np.zeros((2, self.engine.slots), int), None)
    for b, row in enumerate(self.rows):
      if commands.length[b] != KEEP:
        del row[commands.length[b] :], self.chunks[b][commands.length[b] :]
      row += commands.feed[b, : commands.feed_count[b]].tolist()
      self._prefill(row, self.chunks[b])
      if commands.active[b]:
        self._decode(b, row, commands, events)
    return events

  def _prefill(self, row, chunks):
    while len(chunks) < len(row) - 1:
      start = len(chunks)
      chunks += [start] * min(self.engine.prefill_tokens, len(row) - 1 - start)

  def _decode(self, b, row, commands, events):
    events.value[b] = sum(row)
    while events.count[b] < self.engine.decode_tokens and events.stopped[b] == 0:
      token = written(int(commands.uid[b]), len(row))
      self.chunks[b][len(row) - 1 :] = [None]
      events.tokens[b, events.count[b]] = token
      row.append(token)
      events.count[b] += 1
      if len(row) >= commands.limit[b]:
        events.stopped[b] = slot_engine.LIMIT

  def placed(self):
    """(slot, tokens taken over) of the jobs that got a slot in the last tick."""
    return [(b, int(length)) for b, length in enumerate(self.commands.length) if length != KEEP]


def job_of(prefix, uid, on_done=lambda job: None, writes=WRITES):
  return Job(prefix, uid, prefix.end + writes, 1.0, lambda tokens, start: None, on_done)


def play(slots, device, first, below=lambda job: ()):
  """Runs jobs `(prefix, uid)`; `below(job)` gives those that follow one. Returns all that were done, by uid."""
  done = {}

  def finished(job):
    done[job.uid] = job
    for prefix, uid in below(job):
      slots.submit(job_of(prefix, uid, finished))

  for prefix, uid in first:
    slots.submit(job_of(prefix, uid, finished))
  while slots.busy:
    slots.absorb(device.tick(slots.commands()))
  return done


def made(**engine):
  engine = dataclasses.replace(ENGINE, **engine)
  return SlotAllocator(engine), Device(engine)


def assert_continues_its_prefix(job):
  row = job.prefix.read()
  assert job.tokens == [written(job.uid, len(row) + n) for n in range(WRITES)] and job.value == sum(row)
  assert job.after.read() == row + job.tokens


def two_trees(slots):
  prompts = [slots.prompt([1, 2, 3, 4, 5]), slots.prompt([1, 2, 7])]
  return [(prompt, 1 + n + 4 * p) for p, prompt in enumerate(prompts) for n in range(3)]


def three_below(slots, depth):
  def below(job):
    if len(str(job.uid)) > depth:
      return []
    return [(slots.extended(job.after, [job.uid % 5, 3]), 10 * job.uid + n) for n in range(3)]

  return below


# ---- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 4, 40])
@pytest.mark.parametrize("reuse", [True, False])
def test_every_job_continues_its_own_prefix(count, reuse):
  engine = dataclasses.replace(ENGINE, slots=count)
  slots, device = SlotAllocator(engine, reuse=reuse), Device(engine)
  done = play(slots, device, two_trees(slots), three_below(slots, 3))
  assert len(done) > 100
  for job in done.values():
    assert_continues_its_prefix(job)


def test_random_orders_give_the_same():
  ends = []
  for seed in range(3):
    slots, device = made()
    order = two_trees(slots)
    random.Random(seed).shuffle(order)
    done = play(slots, device, order, three_below(slots, 2))
    ends.append({uid: tuple(job.tokens) for uid, job in done.items()})
  assert ends[0] == ends[1] == ends[2]


def test_tokens_past_the_end_are_dropped_and_fed_to_nobody():
  slots, device = made()
  seen = []

  def find_end(tokens, start):
    seen.append((len(tokens), start))
    return 3 if len(tokens) > 3 else None

  job = Job(slots.prompt([1, 2, 3]), 5, 60, 1.0, find_end, lambda job: None)
  slots.submit(job)
  while slots.busy:
    slots.absorb(device.tick(slots.commands()))
  assert seen == [(2, 0), (4, 2)] and len(device.rows[job.slot]) == 7
  assert job.tokens == job.after.read(3) == [written(5, 3 + n) for n in range(3)] and len(job.logp) == 3
  following = play(slots, device, [(slots.extended(job.after, [9]), 6)])[6]
  assert_continues_its_prefix(following)
  assert device.fed == 3 + 1


# ---- what is shared --------------------------------------------------------------------------------------------------


def longest(prefix, row, prompts):
  """The longest beginning of a prefix, in whole pieces, with which a row begins; brute force.

  A prompt's last token was fed by decoding: a whole chunk is one of a longer prompt.
  """
  fed = max((len(prompt) for prompt in prompts if row[: len(prompt)] == prompt), default=len(row))
  ends = [shorter.end for shorter in prefix.chain() if not shorter.whole or shorter.end < fed]
  return max((end for end in ends if row[:end] == prefix.read()[:end]), default=0)


class RandomPlay:
  """Episodes of several turns that begin at random times, with prompts that begin alike; `live` at once, at most."""

  def __init__(self, seed, *, slots=5, live=5, prompts=6):
    self.rng = random.Random(seed)
    self.slots, self.device = made(slots=slots, positions=200)
    common = self.rng.choices(range(9), k=30)
    self.prompts = [common[: self.rng.randrange(30)] + self.rng.choices(range(9), k=9) for _ in range(prompts)]
    self.prompts.append(self.prompts[0][: len(self.prompts[0]) - 3])  # wholly the beginning of another
    self.live, self.resting, self.jobs, self.given = live, [], [], 0
    self.uids = itertools.count(1)

  def submit(self, prefix, turns):
    def ended(job):
      if turns == 1:
        self.slots.close(job.after)
      else:
        self.resting.append((job.after, turns - 1))

    self.jobs.append(job_of(prefix, next(self.uids), ended, self.rng.randint(1, 5)))
    self.slots.submit(self.jobs[-1])

  def go_on(self):
    """Some environments answer; some episodes begin."""
    self.rng.shuffle(self.resting)
    for _ in range(self.rng.randint(0, len(self.resting))):
      prefix, turns = self.resting.pop()
      observation = self.rng.choices(range(9), k=self.rng.randint(0, 14))
      self.given += len(observation)
      self.submit(self.slots.extended(prefix, observation), turns)
    going_on = len(self.resting) + sum(job.after is None for job in self.jobs)
    for _ in range(self.rng.randint(0, self.live - going_on)):
      self.submit(self.slots.prompt(self.rng.choice(self.prompts)), self.rng.randint(1, 4))

  def ticks(self, count):
    for _ in range(count):
      self.go_on()
      events = self.device.tick(self.slots.commands())
      yield
      self.slots.absorb(events)

  def live_job(self, b):
    return next(job for job in self.jobs if job.slot == b and job.after is None)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("live", [5, 9])
def test_a_job_takes_over_the_longest_beginning_that_a_slot_holds(seed, live):
  play, taken = RandomPlay(seed, live=live), []
  for _ in play.ticks(60):
    commands = play.device.commands
    changed = (commands.length != KEEP) | (commands.feed_count > 0)  # by another job, maybe before this one looked
    for b, length in play.device.placed():
      prefix = play.live_job(b).prefix
      held = [longest(prefix, row, play.prompts) for row in play.device.before]
      assert max(n for other, n in enumerate(held) if other == b or not changed[other]) <= length <= max(held)
      taken.append(length)
  assert len(taken) > 40 and sum(length > 0 for length in taken) > 20


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("live", [5, 9])
def test_a_prompt_goes_through_the_same_chunks_whoever_was_fed_it_first(seed, live):
  play, seen = RandomPlay(seed, live=live), 0
  for _ in play.ticks(60):
    for job in play.jobs:
      if job.slot is not None and job.after is None and play.device.commands.active[job.slot]:
        *_, last = [prefix for prefix in job.prefix.chain() if prefix.read() in play.prompts] or [None]
        end = 0 if last is None else last.end - 1
        chunks = play.device.chunks[job.slot][:end]
        assert chunks == [n // 4 * 4 for n in range(end)]
        seen += end > 8
  assert seen > 40


@pytest.mark.parametrize("seed", range(6))
def test_where_open_prefixes_and_jobs_have_room_nothing_is_fed_twice(seed):
  play = RandomPlay(seed, prompts=1)
  play.prompts = [[n] * 5 for n in range(1000)]  # nothing in common
  play.rng.shuffle(play.prompts)
  play.rng.choice = lambda prompts: prompts.pop()
  for _ in play.ticks(80):
    pass
  begun = 1000 - len(play.prompts)
  waiting = sum(job.prefix.end - job.prefix.parent.end for job in play.jobs if job.slot is None)
  assert begun > 20 and play.device.fed <= 5 * begun + play.given - waiting


@pytest.mark.parametrize("seed", [10, 19, 52, 179])
def test_where_open_prefixes_and_jobs_have_room_no_sampled_token_is_fed(seed):
  """Episodes of one prompt fork from each other's slots, while others of them wait for their environments."""
  play, resumed = RandomPlay(seed, prompts=2), 0
  for _ in play.ticks(60):
    for b, length in play.device.placed():
      prefix = play.live_job(b).prefix
      sampled = [job.after.end for job in play.jobs if job.after in prefix.chain()]
      assert length >= max(sampled, default=0)
      resumed += len(sampled) > 0
  assert resumed > 20


def test_room_for_all_feeds_every_token_once():
  slots, device = made(slots=400)
  done = play(slots, device, two_trees(slots), three_below(slots, 3))
  observations = {job.prefix for job in done.values() if job.prefix.read()[-1] == 3}
  assert len(observations) > 50 and device.fed == 5 + 3 + 2 * len(observations)


def test_scarce_slots_feed_again_but_less_than_without_reuse():
  fed = {}
  for reuse in (True, False):
    slots, device = SlotAllocator(ENGINE, reuse=reuse), Device(ENGINE)
    play(slots, device, two_trees(slots), three_below(slots, 3))
    fed[reuse] = device.fed
  assert fed[True] < 0.6 * fed[False]


def test_what_prompts_begin_with_is_fed_once():
  common = list(range(20))
  tails = [[30, 31], [32], [33, 34, 35], []]
  slots, device = made()
  prompts = [slots.prompt(common + tail) for tail in tails]
  done = play(slots, device, [(prompt, uid) for uid, prompt in enumerate(prompts)])
  for job in done.values():
    assert_continues_its_prefix(job)
  assert device.fed == 20 + sum(map(len, tails)) and device.forks == 3


def test_the_prompt_that_begins_most_alike_is_forked_in_whole_chunks():
  slots, device = made()
  near, far = slots.prompt([*range(10), 40, 41]), slots.prompt([*range(4), 42, 43])
  below = {0: [(slots.prompt([*range(10), 44]), 2)]}
  done = play(slots, device, [(near, 0), (far, 1)], lambda job: below.get(job.uid, ()))
  assert sorted(done) == [0, 1, 2] and device.fed == 12 + 2 + 3  # of the third its first 8 tokens are there


def test_siblings_wait_for_a_prompt_that_is_coming():
  slots, device = made()
  prompt = slots.prompt(range(25))
  play(slots, device, [(prompt, uid) for uid in range(4)])
  assert device.fed == 25 and device.forks == 3


# ---- which slot ------------------------------------------------------------------------------------------------------


def test_a_prefix_is_made_once():
  slots, _ = made()
  one = slots.extended(slots.prompt([1, 2, 3, 4, 5]), np.asarray([3]))
  assert one is slots.extended(slots.prompt((1, 2, 3, 4, 5)), [3])
  assert one.end == 6 and one.read() == [1, 2, 3, 4, 5, 3] and [one.read(n) for n in (4, 6)] == [[5, 3], []]
  assert slots.extended(one, []) is one
  assert [prefix.end for prefix in slots.prompt(range(8)).chain()] == [8, 4]


def test_a_turn_goes_on_in_its_own_slot():
  slots, device = made()
  done = play(slots, device, [(slots.prompt([n]), n) for n in range(4)])
  where = {uid: job.slot for uid, job in done.items()}
  done = play(slots, device, [(slots.extended(done[n].after, [7, 8]), n) for n in (2, 0, 3, 1)])
  assert {uid: job.slot for uid, job in done.items()} == where and device.forks == 0 and device.fed == 4 + 8


def test_a_slot_that_is_not_needed_is_rewound_and_not_copied():
  slots, device = made()
  prompt = slots.prompt([1, 2, 3])
  done = play(slots, device, [(prompt, 0)])
  slots.close(done[0].after)
  assert play(slots, device, [(prompt, 1)])[1].slot == done[0].slot
  assert device.forks == 0 and device.fed == 3


def test_a_prefix_that_is_open_is_forked_and_stays():
  slots, device = made()
  prompt = slots.prompt([1, 2, 3])
  done = play(slots, device, [(prompt, 0)])
  branch = play(slots, device, [(prompt, 1)])[1]
  assert branch.slot != done[0].slot and device.forks == 1 and device.fed == 3
  assert play(slots, device, [(done[0].after, 2)])[2].slot == done[0].slot and device.fed == 3


def test_a_branch_leaves_a_slot_that_samples_on():
  slots, device = made()
  first = play(slots, device, [(slots.prompt([1, 2, 3]), 0)])[0]
  behind = slots.extended(first.after, [7])
  slots.submit(job_of(behind, 1, writes=20))
  for _ in range(3):
    slots.absorb(device.tick(slots.commands()))
  branch = play(slots, device, [(behind, 2)])[2]
  assert_continues_its_prefix(branch)
  assert branch.slot != first.slot and device.fed == 3 + 1 and device.forks == 1


def test_closed_prefixes_go_first_and_then_those_that_were_used_the_longest_ago():
  slots, device = made()
  done = play(slots, device, [(slots.prompt([n, n]), n) for n in range(4)])
  slots.close(done[2].after)
  assert play(slots, device, [(slots.prompt([30]), 4)])[4].slot == done[2].slot
  again = play(slots, device, [(done[0].after, 5)])[5]  # the others were used before it
  assert again.slot == done[0].slot
  assert play(slots, device, [(slots.prompt([31]), 6)])[6].slot == done[1].slot


def test_a_slot_that_others_fork_from_is_waited_for():
  """Two slots: the idle one is the source of a fork in this tick, and may not be changed in it."""
  slots, device = made(slots=2)
  done = play(slots, device, [(slots.prompt([1, 2]), 0)])
  slots.submit(job_of(slots.prompt([1, 2]), 1))
  slots.submit(job_of(slots.prompt([5]), 2))
  device.tick(slots.commands())
  assert device.forks == 1 and [b for b, _ in device.placed()] == [1 - done[0].slot]


def test_a_job_waits_for_its_own_slot_that_others_fork_from_and_takes_no_other():
  """Three slots: 0 goes on in the tick in which a sibling forks from it; what the other idle slot holds is open."""
  slots, device = made(slots=3)
  done = play(slots, device, [(slots.prompt([1, 2]), 0), (slots.prompt([5]), 1)])
  goes_on = job_of(slots.extended(done[0].after, [7]), 3)
  for job in (job_of(slots.prompt([1, 2]), 2), goes_on):
    slots.submit(job)
  slots.absorb(device.tick(slots.commands()))
  assert device.forks == 1 and goes_on.slot is None
  later = play(slots, device, [(slots.extended(done[1].after, [8]), 4)])[4]
  assert (goes_on.slot, later.slot) == (done[0].slot, done[1].slot)
  assert device.forks == 1 and device.fed == 2 + 1 + 1 + 1
  for job in (goes_on, later):
    assert_continues_its_prefix(job)
