"""The terms of objectives. Each is a function whose keyword-only arguments are its settings.

A config adds terms to the objective of any algorithm, each under a label, with its weight and its settings:

  "algo": {"terms": {"imitate": {"term": "likelihood", "weight": 0.1},
                     "progress": {"term": "my_project.progress:term", "weight": 0.5, "hidden": 16}}}
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from agentrl.algorithms.contract import HeadSpec
from agentrl.algorithms.forward import Outputs
from agentrl.algorithms.objective import Diagnostics, Term, per_token_of
from agentrl.batching.pack import Column
from agentrl.models import heads
from agentrl.named import by_name, check_takes, settings_of, with_settings
from agentrl.ops import corrections, imitation_losses, losses, surrogates, value_losses
from agentrl.ops.kl import KL_ESTIMATORS
from agentrl.ops.segments import segment_sum
from agentrl.types import Batch, Trajectory


def policy_gradient(
  *,
  policy_loss: str = "ppo",
  loss: Mapping[str, Any] = {},
  correction: str = "none",
  correction_options: Mapping[str, Any] = {},
) -> Term:
  """A policy loss of the column "advantages", corrected for a sampler other than the policy that learns.

  Args:
    policy_loss: name in `ops.losses.POLICY_LOSSES`, or the import path of yours.
    loss: keyword arguments of it.
    correction: name in `ops.corrections.CORRECTIONS`, or the import path of yours.
    correction_options: keyword arguments of it.
  """
  chosen_loss = by_name(losses.POLICY_LOSSES, policy_loss, kind="policy loss")
  chosen_correction = by_name(corrections.CORRECTIONS, correction, kind="correction", takes=corrections.TAKES)
  declared = surrogates.declared_by(chosen_loss)
  takes = (*surrogates.TAKES, "marked") if declared.marks else surrogates.TAKES
  check_takes(chosen_loss, takes, named=f"the policy loss {policy_loss!r}")
  if corrections.is_by_denominator(chosen_correction) and not declared.ratio:
    raise ValueError(
      f"algo.correction={correction!r} puts the sampler into the denominator of the ratio, and "
      f"algo.policy_loss={policy_loss!r} has no ratio: nothing would be corrected; choose a correction with a weight, "
      "such as 'truncated', or a loss with a ratio, such as 'ppo'"
    )
  surrogate = with_settings(chosen_loss, loss, section="algo.loss")
  correct = with_settings(chosen_correction, correction_options, section="algo.correction_options")

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    columns, sequences = micro.columns, (micro.action_sequence, micro.sequence_length)
    shape = micro.action_mask.shape
    corrected = correct(columns["old_logp"], columns["sampler_logp"], micro.action_mask, *sequences)
    _check_corrected(corrected, shape, named=f"algo.correction={correction!r}")
    pooled = _turns(micro) if declared.turns else sequences
    marked = (columns["marked"] > 0,) if declared.marks else ()
    given = surrogate(out.logp, corrected.denominator, columns["advantages"], micro.action_mask, *pooled, *marked)
    values, flags = per_token_of(given, shape, named=f"algo.policy_loss={policy_loss!r}")
    difference = jnp.abs(jnp.where(micro.action_mask, columns["old_logp"] - columns["sampler_logp"], 0.0))
    diagnostics = {f"policy/{name}": value for name, value in flags.items()}
    diagnostics |= {
      "sampler/logp_diff_mean": difference,
      "sampler/logp_diff_max": difference,
      "sampler/outside_0.9_1.1": _outside(columns["old_logp"] - columns["sampler_logp"], micro.action_mask),
    }
    return values * corrected.weight, diagnostics

  columns = {"turn": turn_numbers} if declared.turns else {}
  marks = {"marked": _marker(declared.marks, {**settings_of(chosen_loss), **loss})} if declared.marks else {}
  return Term(1.0, per_token, reads=("old_logp", "advantages"), columns=columns, of_batch=marks)


def _check_corrected(given: Any, shape: Sequence[int], *, named: str) -> None:
  """Raises ValueError where a correction, which `named` says, gave something else than arrays of the shape (B, A)."""
  if not isinstance(given, corrections.Corrected):
    raise ValueError(f"{named} must give a Corrected(denominator, weight); it gave a {type(given).__name__}")
  for name, array in given._asdict().items():
    if jnp.shape(array) != shape:
      raise ValueError(f"{named} must give a {name} of shape [B, A] = {shape}; its shape is {jnp.shape(array)}")


def _marker(marks: Callable[..., jax.Array], settings: Mapping[str, Any]) -> Callable[[Batch, jax.Array], jax.Array]:
  """`(batch, key) -> f32 [M, B, A]`: 1 where a loss has its token marked, see `surrogates.Declared`.

  The number drawn for a token hangs on the key, its trajectory and its place there: not on the row it lies in.
  """
  own = {name: value for name, value in settings.items() if name in inspect.signature(marks).parameters}

  @jax.jit
  def mark(batch: Batch, key: jax.Array) -> jax.Array:
    def drawn(sequence: jax.Array, offset: jax.Array) -> jax.Array:
      return jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, sequence), offset))

    places = batch.action_sequence.ravel(), batch.action_offset.ravel()
    draw = jax.vmap(drawn)(*places).reshape(batch.action_mask.shape)
    logp, advantages = batch.columns["sampler_logp"], batch.columns["advantages"]
    return marks(logp, advantages, batch.action_mask, draw, **own).astype(jnp.float32)

  return mark


def turn_numbers(trajectories: Sequence[Trajectory]) -> Column:
  """The number of the turn that each token belongs to, within its trajectory."""
  return Column([t.turn.astype(np.float32) for t in trajectories], shared="owner")


def _turns(micro: Batch) -> tuple[jax.Array, jax.Array]:
  """Which turn of the micro-batch each listed token is in, int32 `[B, A]`, and the tokens of every turn, f32 `[N T]`.

  All tokens that a trajectory owns stand in one row, so that a micro-batch has turns as a whole.
  """
  most = micro.tokens.shape[-1]  # turns of a trajectory: each has a token of a row
  turn = micro.action_sequence * most + micro.columns["turn"].astype(jnp.int32)
  return turn, segment_sum(micro.action_mask.astype(jnp.float32), turn, micro.sequence_length.shape[0] * most)


def _outside(log_ratio: jax.Array, mask: jax.Array) -> jax.Array:
  """Whether a ratio is more than 0.1 from 1."""
  return jnp.abs(jnp.expm1(jnp.where(mask, log_ratio, 0.0))) > 0.1


def kl(*, estimator: str = "k3") -> Term:
  """KL of the policy to the frozen reference, by an estimator of `ops.kl.KL_ESTIMATORS`, or yours."""
  estimate = by_name(KL_ESTIMATORS, estimator, kind="KL estimator", takes=("logp", "ref_logp", "mask"))

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    divergence = estimate(out.logp, micro.columns["ref_logp"], micro.action_mask)
    return divergence, {"policy/kl_ref": divergence}

  return Term(1.0, per_token, reads=("ref_logp",), named=f"the KL estimator {estimator!r}")


def entropy() -> Term:
  """Minus the entropy of the policy: an entropy bonus."""

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    del micro
    return -out.entropy, {}

  return Term(1.0, per_token)


def likelihood() -> Term:
  """Minus the log-likelihood of the tokens: imitation."""

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    return imitation_losses.negative_log_likelihood(out.logp, micro.action_mask), {}

  return Term(1.0, per_token)


def observations() -> Term:
  """Minus the log-likelihood of what the policy reads behind its turns: it learns what the world answers.

  `-sum_t log pi(o_t | context)` over observation tokens, with the marks that the chat format puts around them, as a
  further term of a policy's objective: ECHO, 2026, quoted from memory. The log-probs come from the same forward pass,
  at the batch's temperature. A batch lists these tokens beside the sampled ones, so that `pack.row_actions` must have
  room for both; a trajectory without observations adds nothing.
  """

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    loss = imitation_losses.negative_log_likelihood(out.logp, micro.observed)
    return loss, {"observations/loss": loss}

  return Term(1.0, per_token, observed=True)


def value(*, hidden: int = 0, detach: bool = False, clip: float | None = None) -> Term:
  """Half the squared error of the head "value" to the column "returns".

  Args:
    hidden: width of the head's hidden layer; 0: the head is linear.
    detach: stop the gradient at the trunk.
    clip: how far a value may move from the column "old_values" before it is not pulled further; None: as far as it
      likes.
  """

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    values, columns, mask = out.heads["value"], micro.columns, micro.action_mask
    if clip is None:
      error = value_losses.squared_value_loss(values, columns["returns"], mask)
    else:
      error = value_losses.clipped_value_loss(values, columns["old_values"], columns["returns"], mask, clip=clip)
    return error, {"value/loss": error}

  reads = ("returns",) if clip is None else ("returns", "old_values")
  return Term(1.0, per_token, heads={"value": value_head(hidden=hidden, detach=detach)}, reads=reads)


def value_head(*, hidden: int = 0, detach: bool = False) -> HeadSpec:
  """A head that says what a state is worth, see `models.heads.init_value_head`; a search may read it.

  Args:
    hidden: width of its hidden layer; 0: it is linear. detach: its loss does not move the trunk.
  """

  def apply(params: Any, states: jax.Array) -> jax.Array:
    return heads.apply_value_head(params, jax.lax.stop_gradient(states) if detach else states)

  return HeadSpec(lambda key, model: heads.init_value_head(key, model, hidden), apply, acting=True)


TERMS: dict[str, Callable[..., Term]] = {
  "policy_gradient": policy_gradient,
  "kl": kl,
  "entropy": entropy,
  "likelihood": likelihood,
  "observations": observations,
  "value": value,
}


def weighed(term: Term, weight: float) -> list[Term]:
  """The term with a weight, in a list; an empty one where the weight is 0: such a term costs nothing."""
  return [term._replace(weight=term.weight * weight)] if weight else []


def from_config(section: ConfigDict) -> list[Term]:
  """The terms that the section `algo.terms` of a config adds, see above.

  Raises:
    ValueError: a term without "term" or "weight", with a name that there is not, or with a setting that it has not.
  """
  found = []
  for label, settings in section.to_dict().items():
    where = f"algo.terms.{label}"
    if not isinstance(settings, Mapping) or not {"term", "weight"} <= set(settings):
      raise ValueError(f'{where} must be a section with "term", a name or an import path, and "weight"')
    own = {name: setting for name, setting in settings.items() if name not in ("term", "weight")}
    make = by_name(TERMS, settings["term"], kind="term", takes=())
    term, named = with_settings(make, own, section=where)(), f"{where}, which is {settings['term']!r},"
    if not isinstance(term, Term):
      raise ValueError(f"{named} must give a Term; it gave a {type(term).__name__}")
    check_takes(term.per_token, ("outputs", "micro"), named=f"`per_token` of {named}")
    found += weighed(term._replace(named=named), settings["weight"])
  return found
