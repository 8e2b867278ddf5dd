"""Functions that cannot be called as what a config has them be."""


def no_mask(logp, old_logp, advantages):
  return -logp * advantages, {}


def swapped(old_logp, logp, advantages, mask, sequence, sequence_length):
  return -logp * advantages, {}


def of_trajectories(trajectories):
  return trajectories


def term(weight):
  return weight
