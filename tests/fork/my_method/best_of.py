"""Every sample is the best, by its reward, of several independent ones: a strategy as somebody else would write it."""

import dataclasses

from ml_collections import ConfigDict

from agentrl.named import with_settings
from agentrl.rollout.episode import derived_uid
from agentrl.rollout.strategies.contract import Sampler
from agentrl.rollout.strategies.independent import independent
from agentrl.settings import at_least

RANGES = {"tries": at_least(1)}


def default_config():
  return ConfigDict({"tries": 2})  # independent samples, of which the best is kept


def make(surroundings, cfg):
  return with_settings(best_of, cfg, section="strategy")(surroundings)


def best_of(surroundings, *, tries):
  plain = independent(surroundings)

  def sample(collection):
    wanted = {derived_uid("try", r.uid, n): r for r in collection.requests for n in range(tries)}
    groups = [[dataclasses.replace(request, uid=uid) for uid, request in wanted.items()]]
    got = plain.sample(dataclasses.replace(collection, groups=groups))
    best = {}
    for t in collection.grade(got.trajectories):
      rank = (not t.failed, t.reward or 0.0)
      uid = wanted[t.uid].uid
      best[uid] = max(best.get(uid, (rank, t)), (rank, t), key=lambda entry: entry[0])
    return dataclasses.replace(got, trajectories=[dataclasses.replace(best[uid][1], uid=uid) for uid in sorted(best)])

  return Sampler(sample, graded=True, evaluate_with=plain)
