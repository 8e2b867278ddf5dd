"""Algorithms of terms whose batches carry the credit of their tokens, which a function named in the config assigns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import learner
from agentrl.algorithms.contract import Algorithm, LearnerState, Metrics, Policy
from agentrl.algorithms.learner import Learner
from agentrl.algorithms.objective import Term
from agentrl.batching.filters import with_reward
from agentrl.batching.masks import Masking, make_masking
from agentrl.batching.pack import Column, NothingToPack, add_columns, unpack
from agentrl.credit import ChosenCredit, make_credit
from agentrl.credit.contract import Credit, Declared
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
    for name in set(names) - {"logp"}:
      if not self._learns.heads:
        raise ValueError(f"the credit asks the head {name!r} for values, and no term of the algorithm trains a head")
      check_name(self._learns.heads, name, kind="head")
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
  masking: Masking,
) -> tuple[Batch, Metrics]:
  """Packs trajectories, and adds "advantages", "returns" where the credit has them, and what was computed for it.

  Args:
    share: what a token counts that several trajectories hold, see `SHARED_TOKENS`.
    computed: of "logp" and heads, what is wanted in any case: one forward pass gives them together.
    masking: of the trajectories that the credit sees, which are not packed for the loss.

  Raises:
    NothingToPack, ValueError, NonFinite: as `batching.pack.pack`; or the credit takes no branches, and there are some;
      or all are masked.
  """
  batch = learns.pack(trajectories, {})
  if credit.declared.chains and any(t.parent is not None for t in trajectories):
    raise ValueError("this credit goes from token to token: it needs trajectories in one piece, and some are branches")
  asked = Asked(learns, state, batch, trajectories)
  if computed:
    asked.compute(computed)
  given, columns = Given(batch, trajectories, credit.assign(asked, trajectories)), asked.columns
  metrics = given.credit.metrics
  if masking.rules:
    given, columns = without_masked(learns, given, columns, masking)
    trained = np.float32(len(given.trajectories))
    metrics = {**metrics, "update/trajectories": trained, "update/masked": 1 - trained / len(trajectories)}
  batch, trajectories, found = given
  batch = share(learns, batch, trajectories, found.advantages)
  if found.returns is not None:
    batch = add_columns(batch, trajectories, {"returns": Column(found.returns, shared="owner")})
  return batch.with_columns(**columns), metrics


class Given(NamedTuple):
  """Trajectories as they are packed, and their credit."""

  batch: Batch
  trajectories: Sequence[Trajectory]
  credit: Credit


def without_masked(
  learns: Learner, given: Given, columns: Mapping[str, jax.Array], masking: Masking
) -> tuple[Given, dict[str, jax.Array]]:
  """What is left of it where rules mask trajectories, and of columns `[M, B, A]` that were computed for all.

  Raises:
    NothingToPack: all of them are masked; names the rules.
  """
  batch, trajectories, credit = given
  trained = masking.trained(trajectories)
  if len(trained) == len(trajectories):
    return given, dict(columns)
  if not trained:
    raise NothingToPack(f"algo.masked={tuple(masking.rules)} masked all {len(trajectories)} of them")
  uids = {t.uid for t in trained}
  stays = np.asarray([t.uid in uids for t in trajectories])
  lengths = np.asarray([np.sum(t.action_mask) for t in trajectories], np.float32)
  factors = masking.factors(learns.reduce, lengths, batch.sequence_group[: len(lengths)], stays)
  advantages = [a * factor for a, factor in zip(itertools.compress(credit.advantages, stays), factors, strict=True)]
  returns = None if credit.returns is None else list(itertools.compress(credit.returns, stays))
  smaller = learns.pack(trained, {})
  per_token = {name: unpack(batch, values, trajectories) for name, values in columns.items()}
  kept = {name: Column(list(itertools.compress(arrays, stays)), shared="owner") for name, arrays in per_token.items()}
  added = add_columns(smaller, trained, kept)
  rest = Given(smaller, trained, credit._replace(advantages=advantages, returns=returns))
  return rest, {name: added.columns[name] for name in columns}


def once(learns: Learner, batch: Batch, trajectories: Sequence[Trajectory], advantages: Sequence[np.ndarray]) -> Batch:
  """A token counts once, with the mean advantage of those who hold it."""
  del learns
  return add_columns(batch, trajectories, {"advantages": Column(advantages, shared="mean")})


def per_branch(
  learns: Learner, batch: Batch, trajectories: Sequence[Trajectory], advantages: Sequence[np.ndarray]
) -> Batch:
  """A token's loss is the sum of the losses that it would have in a row of each who holds it."""
  lengths = np.asarray([np.sum(t.action_mask) for t in trajectories], np.float32)
  group = batch.sequence_group
  # In rows that repeat what they share.
  apart = np.asarray(token_weights(learns.reduce, lengths, group[: len(lengths)]))
  weighed = [a * weight for a, weight in zip(advantages, apart, strict=True)]
  batch = add_columns(batch, trajectories, {"advantages": Column(weighed, shared="sum")})
  together = np.append(np.asarray(token_weights(learns.reduce, batch.sequence_length, group)), np.float32(1))
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
    cfg: has credit, credit_options, masked, masked_options, masked_denominator, reduction, reduction_options, epochs
      and minibatches.
    terms: of its objective.
    share, computed: see `credited`.

  Raises:
    ValueError: the credit asks for a head that no term trains, or the reduction spoils it.
  """
  chosen = make_credit(cfg.credit, cfg.credit_options)
  masking = make_masking(cfg.masked, cfg.masked_options, cfg.masked_denominator)
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
    kept = with_reward(trajectories)
    batch, metrics = credited(learns, state, kept, chosen, share=share, computed=computed, masking=masking)
    if "returns" in learns.reads and "returns" not in batch.columns:
      raise ValueError(
        f"algo.credit={cfg.credit!r} does not say which values are to be learned, and a term learns them: choose one "
        "that does, such as 'gae' or 'value_baseline'"
      )
    return batch, metrics

  declared = {name: getattr(chosen.declared, name) for name in ("compares", "chains", "siblings")}
  return Algorithm(learns.init, prepare, learns.update, heads=learns.heads, rewards=True, **declared)


def _check(declared: Declared, learns: Learner, cfg: ConfigDict) -> None:
  """Raises ValueError where an algorithm lacks a head that its credit asks for, or its reduction spoils the credit."""
  if lacking := [head for head in declared.heads if head not in learns.heads]:
    raise ValueError(
      f"algo.credit={cfg.credit!r} asks the head {lacking[0]!r} for values, and no term of this algorithm trains it: "
      "choose an algorithm that does, such as 'ppo', or add such a term under algo.terms"
    )
  weights = np.asarray(token_weights(learns.reduce, jnp.asarray([1.0, 2.0]), jnp.arange(2)))
  if declared.siblings and weights[0] != weights[1]:
    raise ValueError(
      f"algo.credit={cfg.credit!r} fits sums of log-probs, which algo.reduction={cfg.reduction!r} would divide by "
      "lengths; choose 'token_mean' or 'sequence_sum_norm'"
    )
