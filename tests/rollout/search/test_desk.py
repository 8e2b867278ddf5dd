"""Which slot gets which job, with a device that only counts: it writes what a job's uid says."""

import dataclasses
import random

import numpy as np
import pytest

from agentrl.rollout import engine as slot_engine
from agentrl.rollout.driver import check_commands
from agentrl.rollout.engine import KEEP, EngineConfig, Events
from agentrl.rollout.search.desk import Desk, Job

ENGINE = EngineConfig(slots=4, positions=64, decode_tokens=2, feed_tokens=4, prefill_tokens=4)
WRITES = 3  # tokens of every job


class Device:
  """Slots as plain lists; checks every command as the driver does."""

  def __init__(self, engine):
    self.engine, self.rows = engine, [[] for _ in range(engine.slots)]
    self.fed = self.forks = 0

  def tick(self, commands):
    check_commands(commands, np.asarray([len(row) for row in self.rows]), self.engine)
    self.forks += int(np.sum(commands.fork_from != np.arange(self.engine.slots)))
    rows = [list(self.rows[source]) for source in commands.fork_from]
    blank = np.zeros((self.engine.slots, self.engine.decode_tokens))
    events = Events(blank.astype(int), blank, blank, blank[:, 0], *np.zeros((2, self.engine.slots), int), None)
    for b, row in enumerate(rows):
      if commands.length[b] != KEEP:
        del row[commands.length[b] :]
      row += commands.feed[b, : commands.feed_count[b]].tolist()
      self.fed += int(commands.feed_count[b])
      if commands.active[b]:
        self._decode(b, row, commands, events)
    self.rows = rows
    return events

  def _decode(self, b, row, commands, events):
    events.value[b] = sum(row)
    while events.count[b] < self.engine.decode_tokens and events.stopped[b] == 0:
      token = (int(commands.uid[b]) + 7 * len(row)) % 50
      events.tokens[b, events.count[b]] = token
      row.append(token)
      events.count[b] += 1
      if len(row) >= commands.limit[b]:
        events.stopped[b] = slot_engine.LIMIT


def play(desk, device, jobs_below, first):
  """Runs jobs; `jobs_below(job)` gives those that follow one. Returns all that were done, by uid."""
  done = {}

  def finished(job):
    done[job.uid] = job
    for prefix, uid in jobs_below(job):
      submit(prefix, uid)

  def submit(prefix, uid):
    desk.submit(Job(prefix, uid, prefix.end + WRITES, 1.0, lambda tokens: None, finished))

  for prefix, uid in first(desk):
    submit(prefix, uid)
  while desk.busy:
    desk.absorb(device.tick(desk.commands()))
  return done


def wanted(prefix, uid):
  row = [token for link in reversed(list(prefix.chain())) for token in link.tokens]
  start, total = len(row), sum(row)
  while len(row) < start + WRITES:
    row.append((uid + 7 * len(row)) % 50)
  return row[start:], total


def two_trees(desk):
  prompts = [desk.link(None, [1, 2, 3, 4, 5]), desk.link(None, [1, 2, 7])]
  return [(prompt, 1 + n + 4 * p) for p, prompt in enumerate(prompts) for n in range(3)]


def three_below(desk, depth):
  def below(job):
    if len(str(job.uid)) > depth:
      return []
    prefix = desk.link(desk.link(job.prefix, job.tokens), [job.uid % 5, 3])  # an observation
    return [(prefix, 10 * job.uid + n) for n in range(3)]

  return below


@pytest.mark.parametrize("slots", [1, 3, 4, 40])
@pytest.mark.parametrize("reuse", [True, False])
def test_every_job_continues_its_own_prefix(slots, reuse):
  engine = dataclasses.replace(ENGINE, slots=slots)
  desk, device = Desk(engine, reuse=reuse), Device(engine)
  done = play(desk, device, three_below(desk, 3), two_trees)
  assert len(done) > 100
  for job in done.values():
    tokens, total = wanted(job.prefix, job.uid)
    assert job.tokens == tokens and job.value == total


def test_room_for_all_feeds_every_token_once():
  engine = dataclasses.replace(ENGINE, slots=400)
  desk, device = Desk(engine), Device(engine)
  done = play(desk, device, three_below(desk, 3), two_trees)
  observations = {job.prefix for job in done.values() if job.prefix.parent is not None}
  assert device.fed == 5 + 1 + sum(len(link.tokens) for link in observations)


def test_scarce_slots_feed_again_but_less_than_without_reuse():
  fed = {}
  for reuse in (True, False):
    desk, device = Desk(ENGINE, reuse=reuse), Device(ENGINE)
    play(desk, device, three_below(desk, 3), two_trees)
    fed[reuse] = device.fed
  assert fed[True] < 0.5 * fed[False]


def test_what_prompts_begin_with_is_fed_once():
  common = list(range(20))
  tails = [[30, 31], [32], [33, 34, 35], []]
  device = Device(ENGINE)
  desk = Desk(ENGINE)
  prompts = [desk.link(None, common + tail) for tail in tails]
  done = play(desk, device, lambda job: (), lambda desk: [(prompt, uid) for uid, prompt in enumerate(prompts)])
  for uid, prompt in enumerate(prompts):
    assert (done[uid].tokens, done[uid].value) == wanted(prompt, uid)
  assert device.fed == 20 + sum(map(len, tails)) and device.forks == 3


def test_the_prompt_that_begins_most_alike_is_forked():
  device, desk = Device(ENGINE), Desk(ENGINE)
  near, far = [*range(10), 40, 41], [*range(4), 42, 43]
  below = {0: [(desk.link(None, [*range(10), 44]), 2)]}
  done = play(
    desk,
    device,
    lambda job: below.get(job.uid, ()),
    lambda desk: [(desk.link(None, near), 0), (desk.link(None, far), 1)],
  )
  assert sorted(done) == [0, 1, 2] and device.fed == 12 + 2 + 1


def test_a_prefix_is_made_once():
  desk = Desk(ENGINE)
  one = desk.link(desk.link(None, [1, 2]), np.asarray([3]))
  assert one is desk.link(desk.link(None, (1, 2)), [3]) and one.end == 3
  assert desk.link(one, []) is one


def test_closed_and_doubled_prefixes_go_first():
  desk, device = Desk(ENGINE), Device(ENGINE)
  prompt = desk.link(None, [1, 2, 3])
  kept = play(desk, device, lambda job: [], lambda desk: [(prompt, n) for n in range(4)])
  links = [desk.link(prompt, kept[n].tokens) for n in range(4)]
  desk.close(links[2])
  closed = device.rows.index([1, 2, 3, *kept[2].tokens])
  play(desk, device, lambda job: [], lambda desk: [(desk.link(None, [30, 31]), 77)])
  assert device.rows[closed][:2] == [30, 31]


def test_random_orders_give_the_same():
  ends = []
  for seed in range(3):
    desk, device = Desk(ENGINE), Device(ENGINE)
    order = two_trees(desk)
    random.Random(seed).shuffle(order)
    done = play(desk, device, three_below(desk, 2), lambda desk, order=order: order)
    ends.append({uid: tuple(job.tokens) for uid, job in done.items()})
  assert ends[0] == ends[1] == ends[2]
