"""Algorithms of terms whose batches carry the credit of their tokens, which a function named in the config assigns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import learner
from agentrl.algorithms.contract import Algorithm, LearnerState, Metrics, Policy
from agentrl.algorithms.learner import Learner
from agentrl.algorithms.objective import Term
from agentrl.batching.filters import with_reward
from agentrl.batching.pack import Column, add_columns, unpack
from agentrl.credit import ChosenCredit, make_credit
from agentrl.credit.contract import Declared
from agentrl.named import check_name
from agentrl.ops.reduce import token_weights
from agentrl.types import Batch, Trajectory

# (learner, batch, trajectories, advantages f32 [T_n] each) -> the batch with the column "advantages"
Share = Callable[[Learner, Batch, Sequence[Trajectory], Sequence[np.ndarray]], Batch]


class Asked:
  """What a credit function may ask of a packed batch, see `credit.contract.Learner`.

  Attributes:
    columns: what was computed, f32 [M, B, A] each, under the names by which terms read it: "old_logp", "ref_logp",
      "old_values" of the head "value", and "old_NAME" of another one.
  """

  def __init__(self, learns: Learner, state: LearnerState, batch: Batch, trajectories: Sequence[Trajectory]):
    self.reward_weights = dict(learns.policy.reward_weights)
    self.columns: dict = {}
    self._learns, self._state, self._batch, self._trajectories = learns, state, batch, trajectories

  def compute(self, names: Sequence[str]) -> None:
    """Computes "logp" and values of heads in one forward pass.

    Raises:
      ValueError: there is no such head.
    """
    for name in names:
      check_name(["logp", *self._learns.heads], name, kind="head")
    said = self._learns.evaluate(self._state.params, self._batch, names)
    self.columns |= {_column_of(name): said[name] for name in names}

  def values(self, name: str = "value") -> list[np.ndarray]:
    """See `credit.contract.Learner`."""
    return self._said(name)

  def logp(self) -> list[np.ndarray]:
    """See `credit.contract.Learner`."""
    return self._said("logp")

  def ref_logp(self) -> list[np.ndarray]:
    """See `credit.contract.Learner`."""
    if self._state.reference is None:
      raise ValueError("the credit asks for `ref_logp`, and no reference is kept: let it declare `reference=True`")
    if "ref_logp" not in self.columns:
      self.columns["ref_logp"] = self._learns.ref_logp(self._state, self._batch)
    return unpack(self._batch, self.columns["ref_logp"], self._trajectories)

  def _said(self, name: str) -> list[np.ndarray]:
    column = _column_of(name)
    if column not in self.columns:
      self.compute([name])
    return unpack(self._batch, self.columns[column], self._trajectories)


def _column_of(name: str) -> str:
  """How terms call what "logp", or a head, was at the start of the update."""
  return "old_values" if name == "value" else f"old_{name}"


def credited(
  learns: Learner,
  state: LearnerState,
  trajectories: Sequence[Trajectory],
  credit: ChosenCredit,
  *,
  share: Share,
  computed: Sequence[str] = (),
) -> tuple[Batch, Metrics]:
  """Packs trajectories, and adds "advantages", "returns" where the credit has them, and what was computed for it.

  Args:
    share: what a token counts that several trajectories hold, see `SHARED_TOKENS`.
    computed: of "logp" and heads, what is wanted in any case: one forward pass gives them together.

  Raises:
    NothingToPack, ValueError, NonFinite: as `batching.pack.pack`; or the credit takes no branches, and there are some.
  """
  batch = learns.pack(trajectories, {})
  if credit.declared.chains and any(t.parent is not None for t in trajectories):
    raise ValueError("this credit goes from token to token: it needs trajectories in one piece, and some are branches")
  asked = Asked(learns, state, batch, trajectories)
  if computed:
    asked.compute(computed)
  found = credit.assign(asked, trajectories)
  batch = share(learns, batch, trajectories, found.advantages)
  if found.returns is not None:
    batch = add_columns(batch, trajectories, {"returns": Column(found.returns, shared="owner")})
  return batch.with_columns(**asked.columns), found.metrics


def once(learns: Learner, batch: Batch, trajectories: Sequence[Trajectory], advantages: Sequence[np.ndarray]) -> Batch:
  """A token counts once, with the mean advantage of those who hold it."""
  del learns
  return add_columns(batch, trajectories, {"advantages": Column(advantages, shared="mean")})


def per_branch(
  learns: Learner, batch: Batch, trajectories: Sequence[Trajectory], advantages: Sequence[np.ndarray]
) -> Batch:
  """A token's loss is the sum of the losses that it would have in a row of each who holds it."""
  lengths = np.asarray([np.sum(t.action_mask) for t in trajectories], np.float32)
  apart = np.asarray(token_weights(learns.reduce, lengths))  # in rows that repeat what they share
  weighed = [a * weight for a, weight in zip(advantages, apart, strict=True)]
  batch = add_columns(batch, trajectories, {"advantages": Column(weighed, shared="sum")})
  together = np.append(np.asarray(token_weights(learns.reduce, batch.sequence_length)), np.float32(1))
  return batch.with_columns(advantages=batch.columns["advantages"] / together[batch.action_sequence])


SHARED_TOKENS: dict[str, Share] = {"once": once, "per_branch": per_branch}


def make_credited(
  policy: Policy,
  optimizer: optax.GradientTransformation,
  cfg: ConfigDict,
  terms: Sequence[Term],
  *,
  share: Share = once,
  computed: Sequence[str] = (),
) -> Algorithm:
  """An algorithm of terms over the credit that `cfg.credit` names; see `contract.Algorithm`.

  Args:
    cfg: has credit, credit_options, reduction, reduction_options, epochs and minibatches.
    terms: of its objective.
    share, computed: see `credited`.

  Raises:
    ValueError: the credit asks for a head that no term trains, or the reduction spoils it.
  """
  chosen = make_credit(cfg.credit, cfg.credit_options)
  learns = learner.make_learner(
    policy,
    optimizer,
    terms,
    reduce=learner.reduction(cfg),
    epochs=cfg.epochs,
    minibatches=cfg.minibatches,
    reads=["ref_logp"] if chosen.declared.reference else [],
  )
  _check(chosen.declared, learns, cfg)

  def prepare(state: LearnerState, trajectories: Sequence[Trajectory]):
    batch, metrics = credited(learns, state, with_reward(trajectories), chosen, share=share, computed=computed)
    if "returns" in learns.reads and "returns" not in batch.columns:
      raise ValueError(
        f"algo.credit={cfg.credit!r} does not say which values are to be learned, and a term learns them: choose one "
        "that does, such as 'gae' or 'value_baseline'"
      )
    return batch, metrics

  declared = {name: getattr(chosen.declared, name) for name in ("compares", "chains", "siblings")}
  return Algorithm(learns.init, prepare, learns.update, heads=learns.heads, **declared)


def _check(declared: Declared, learns: Learner, cfg: ConfigDict) -> None:
  """Raises ValueError where an algorithm lacks a head that its credit asks for, or its reduction spoils the credit."""
  if lacking := [head for head in declared.heads if head not in learns.heads]:
    raise ValueError(
      f"algo.credit={cfg.credit!r} asks the head {lacking[0]!r} for values, and no term of this algorithm trains it: "
      "choose an algorithm that does, such as 'ppo', or add such a term under algo.terms"
    )
  weights = np.asarray(token_weights(learns.reduce, jnp.asarray([1.0, 2.0])))
  if declared.siblings and weights[0] != weights[1]:
    raise ValueError(
      f"algo.credit={cfg.credit!r} fits sums of log-probs, which algo.reduction={cfg.reduction!r} would divide by "
      "lengths; choose 'token_mean' or 'sequence_sum_norm'"
    )
