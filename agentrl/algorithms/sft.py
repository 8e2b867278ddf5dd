"""Supervised fine-tuning on authored or filtered trajectories: the cold start before RL, and behaviour cloning."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict, config_dict

from agentrl.algorithms import gradients
from agentrl.algorithms.contract import Algorithm, LearnerState, Policy
from agentrl.algorithms.gradients import LossOutput
from agentrl.batching.filters import without_failures
from agentrl.batching.pack import pack
from agentrl.ops import losses, reduce
from agentrl.settings import FINITE, between
from agentrl.types import Trajectory


def default_config() -> ConfigDict:
  """Negative log-likelihood of every action token, averaged over tokens."""
  return ConfigDict({
    "reduction": "token_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_constant": 1.0,  # divisor of sequence_sum_norm; read by it alone
    "epochs": 1,
    "minibatches": 1,  # optimiser steps per epoch, of about as many action tokens each
    "min_reward": config_dict.placeholder(float),  # least reward of what is cloned; authored traces have none
    "top_share": 1.0,  # and of those only this share with the highest rewards: filtered behaviour cloning
  })  # fmt: skip


RANGES = {**gradients.RANGES, "min_reward": FINITE, "top_share": between(0, 1, above_low=True)}
optimizer_steps = gradients.minibatch_steps


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  step = gradients.make_step(functools.partial(_loss, policy, gradients.reduction(cfg)), optimizer)

  run = functools.partial(
    gradients.run_minibatches, epochs=cfg.epochs, minibatches=cfg.minibatches, place_batch=policy.place_batch
  )

  def init(key, params):
    del key
    trained = {"policy": params}
    return LearnerState(trained, optimizer.init(trained), None, jnp.int32(0))

  def prepare(state, trajectories: Sequence[Trajectory]):
    del state
    kept = _best(without_failures(trajectories), cfg.min_reward, cfg.top_share)
    batch = pack(kept, {}, policy.pack, least_trees=cfg.minibatches)
    return batch, {"sft/kept": np.float32(len(kept) / len(trajectories))}

  def update(state, key, batch):
    return run(step, state, key, batch)

  return Algorithm(init, prepare, update)


def _best(trajectories: Sequence[Trajectory], least: float | None, share: float) -> list[Trajectory]:
  """Those worth cloning, in the order given; of equal rewards the earlier ones."""
  good = [t for t in trajectories if least is None or t.reward is None or t.reward >= least]
  if share == 1.0:
    return good
  without = [t.uid for t in good if t.reward is None]
  if without:
    raise ValueError(f"algo.top_share={share} compares rewards; trajectory {without[0]} has none")
  best = sorted(range(len(good)), key=lambda n: -good[n].reward)[: math.ceil(share * len(good))]
  return [good[n] for n in sorted(best)]


def _loss(policy, reduction, params, reference, micro) -> LossOutput:
  del reference
  out = gradients.action_outputs(params["policy"], micro, policy)
  per_token = losses.negative_log_likelihood(out.logp, micro.action_mask)
  entropy = reduce.token_mean(out.entropy, micro.action_mask, jnp.sum(micro.sequence_length))
  loss = reduction(per_token, micro.action_mask, micro.action_sequence, micro.sequence_length)
  return LossOutput(loss, {"policy/entropy": jax.lax.stop_gradient(entropy)}, {})
