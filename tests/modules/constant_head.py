"""A term with a head that says one number of every state, and lets acting read it."""

import jax.numpy as jnp

from agentrl.algorithms.contract import HeadSpec
from agentrl.algorithms.objective import Term


def constant(*, says=0.25, acting=True):
  """Pulls what the head says towards 0."""
  head = HeadSpec(
    lambda key, model: jnp.float32(says),
    lambda params, hidden: jnp.broadcast_to(params, hidden.shape[:-1]),
    acting=acting,
  )
  return Term(1.0, lambda out, micro: (jnp.square(out.heads["constant"]), {}), heads={"constant": head})
