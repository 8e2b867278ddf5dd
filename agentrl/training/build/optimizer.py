"""From the section `optimizer` to an optimiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from agentrl.algorithms.contract import HeadSpec, rate_groups
from agentrl.named import by_name
from agentrl.ops.precision import with_float32_masters
from agentrl.settings import above, at_least, between, setting


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
  """AdamW, its rate and its schedule."""

  learning_rate: float = setting(1e-4, "at its peak", at_least(0))
  warmup_steps: int = setting(0, "over which the rate rises from 0", at_least(0))
  schedule: str = setting("constant", 'after the warm-up: "constant", "linear" or "cosine" to 0 at the last step')
  b1: float = setting(0.9, "decay of the first moment", between(0, 1, below_high=True))
  b2: float = setting(0.95, "decay of the second moment", between(0, 1, below_high=True))
  weight_decay: float = setting(0.0, "decoupled, times the rate", at_least(0))
  max_grad_norm: float = setting(
    1.0, "global norm", above(0, "gradients are scaled down to it; a large number leaves them as they are")
  )
  value_rate: float = setting(1.0, "learning rate of heads, as a multiple of the policy's", at_least(0))
  value_warmup: int = setting(0, "steps, at first, in which only heads learn", at_least(0))


def make_optimizer(
  settings: OptimizerSettings, steps: int, heads: Mapping[str, HeadSpec], *, section: str = "optimizer"
) -> optax.GradientTransformation:
  """AdamW behind clipping by global norm, with warm-up, schedule and a pace for each rate group of heads.

  Its arithmetic is float32, whatever the dtype of the params; see `ops/precision.py`.

  Args:
    settings: see the class.
    steps: of the optimiser, in the whole run.
    heads: what is trained beside the policy, by its key.
    section: of the config, which has the schedule.
  """
  peak, warmup = settings.learning_rate, settings.warmup_steps
  after = {
    "constant": lambda: optax.constant_schedule(peak),
    "linear": lambda: optax.linear_schedule(peak, 0.0, max(1, steps - warmup)),
    "cosine": lambda: optax.cosine_decay_schedule(peak, max(1, steps - warmup)),
  }
  decay = by_name(after, settings.schedule, kind=f"{section}.schedule")()
  rate = optax.join_schedules([optax.linear_schedule(0.0, peak, max(1, warmup)), decay], [warmup])
  return with_float32_masters(
    optax.chain(
      optax.clip_by_global_norm(settings.max_grad_norm),
      optax.adamw(rate, b1=settings.b1, b2=settings.b2, weight_decay=settings.weight_decay),
      _paced(rate_groups(heads), settings.value_rate, settings.value_warmup),
    )
  )


def _paced(groups: Mapping[str, str], value_rate: float, value_warmup: int) -> optax.GradientTransformation:
  """Scales the steps of each part of what is trained as its rate group says, see `contract.RATE_GROUPS`."""

  def init(params):
    if unknown := sorted(set(params) - set(groups)):
      raise ValueError(f"{unknown[0]!r} is trained, and the algorithm's heads(cfg) does not declare it as a head")
    return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

  def update(updates, state, params=None):
    del params
    paces = {"policy": jnp.where(state.count < value_warmup, 0.0, 1.0), "value": value_rate}
    scaled = {
      name: jax.tree.map(lambda a, by=paces[groups[name]]: a * jnp.asarray(by, a.dtype), tree)
      for name, tree in updates.items()
    }
    return scaled, optax.ScaleByScheduleState(optax.safe_increment(state.count))

  return optax.GradientTransformation(init, update)
