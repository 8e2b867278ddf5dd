"""What an algorithm is made of whose objective is a list of terms: its state, its batches, its update.

An algorithm adds `prepare`: which trajectories are learned from, and the credit of their tokens. GRPO's is

  learner = make_learner(policy, optimizer, terms, reduce=reduction(cfg), epochs=cfg.epochs, minibatches=...)
  prepare: batch = learner.pack(kept, {"advantages": Column(credit)})
  Algorithm(learner.init, prepare, learner.update, heads=learner.heads)

Credit that reads values or log-probs packs first, asks for them, and adds its columns then:

  batch = learner.pack(kept, {})
  values = unpack(batch, learner.evaluate(state.params, batch, ["value"])["value"], kept)    [T_n] per trajectory
  batch = add_columns(batch, kept, {"advantages": Column(credit(kept, values))})
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from agentrl import credit
from agentrl.algorithms import forward, gradients
from agentrl.algorithms.contract import HeadSpec, LearnerState, Metrics, Policy
from agentrl.algorithms.named_arrays import read_by
from agentrl.algorithms.objective import Term, called, columns_of, heads_of, objective, of_batch
from agentrl.batching.pack import Column, pack
from agentrl.named import by_name, with_settings
from agentrl.ops import corrections, losses
from agentrl.ops import reduce as reduce_lib
from agentrl.ops.reduce import Reduction
from agentrl.types import Batch, Trajectory

# Of the functions that an objective is made of.
OBJECTIVE_RANGES = {
  **{f"loss.{name}": allowed for name, allowed in losses.RANGES.items()},
  **{f"correction_options.{name}": allowed for name, allowed in corrections.RANGES.items()},
  **{f"reduction_options.{name}": allowed for name, allowed in reduce_lib.RANGES.items()},
}
# Of the settings that algorithms of terms share.
RANGES = {
  **OBJECTIVE_RANGES,
  **{f"credit_options.{name}": allowed for name, allowed in credit.RANGES.items()},
  **gradients.RANGES,
}


@dataclasses.dataclass(frozen=True)
class Learner:
  """See the head of this file.

  Attributes:
    heads: what its terms declare, by name.
    columns: what its terms make of trajectories, by name.
    of_batch: what its terms make of a whole batch, by name.
    evaluate: `(params, batch, names) -> {name: f32 [M, B, A]}`, see `forward.make_evaluator`; params as in
      `LearnerState`.
    reduce: the reduction of its objective.
    reads: columns that an update must have, see `Term`.
    epochs, minibatches: of one update.
    step: one optimiser step, from `gradients.make_step`.
  """

  policy: Policy
  optimizer: optax.GradientTransformation
  terms: Sequence[Term]
  heads: Mapping[str, HeadSpec]
  columns: Mapping[str, Callable[[Sequence[Trajectory]], Column]]
  of_batch: Mapping[str, Callable[[Batch, jax.Array], jax.Array]]
  evaluate: Callable[[Mapping[str, Any], Batch, Sequence[str]], dict[str, jax.Array]]
  reduce: Reduction
  reads: frozenset[str]
  epochs: int
  minibatches: int
  step: Callable[..., tuple[LearnerState, Metrics]]

  def init(self, key: jax.Array, params: Any) -> LearnerState:
    """A new state: the policy's params, new heads, and a copy of the policy where a reference is needed."""
    # A single head takes the key itself.
    keys = [key] if len(self.heads) < 2 else jax.random.split(key, len(self.heads))
    named = zip(keys, self.heads.items(), strict=False)
    heads = {name: spec.init(own_key, self.policy.model) for own_key, (name, spec) in named}
    trained = {"policy": params, **heads}
    reference = jax.tree.map(jnp.copy, params) if "ref_logp" in self.reads else None
    return LearnerState(trained, self.optimizer.init(trained), reference, jnp.int32(0))

  def pack(self, trajectories: Sequence[Trajectory], columns: Mapping[str, Column]) -> Batch:
    """A packed batch with these columns and those that terms make of trajectories; raises as `batching.pack.pack`."""
    of_terms = {name: make(trajectories) for name, make in self.columns.items()}
    observed = any(term.observed for term in self.terms)
    return pack(
      trajectories, {**of_terms, **columns}, self.policy.pack, least_trees=self.minibatches, observed=observed
    )

  def old_logp(self, state: LearnerState, batch: Batch) -> jax.Array:
    """Log-probs under the policy as it is, f32 `[M, B, A]`."""
    return self.evaluate({"policy": state.params["policy"]}, batch, ["logp"])["logp"]

  def ref_logp(self, state: LearnerState, batch: Batch) -> jax.Array:
    """Log-probs under the frozen reference, f32 `[M, B, A]`."""
    return self.evaluate({"policy": state.reference}, batch, ["logp"])["logp"]

  def update(self, state: LearnerState, key: jax.Array, batch: Batch) -> tuple[LearnerState, Metrics]:
    """Every epoch and minibatch of one update, see `gradients.run_minibatches`.

    Columns that terms read and the batch has not are computed first. In the first step the log-probs at the start of
    the update are those of the forward pass: a single step needs no others.

    Raises:
      ValueError: a term reads a column that nobody gives.
    """
    several_steps = self.epochs * self.minibatches > 1
    computed = {"ref_logp": self.ref_logp} | ({"old_logp": self.old_logp} if several_steps else {})
    lacking = [name for name in computed if name in self.reads and name not in batch.columns]
    batch = batch.with_columns(**{name: computed[name](state, batch) for name in lacking})
    if missing := sorted(self.reads - {"old_logp", *batch.columns}):
      reader = next((called(term) for term in self.terms if missing[0] in term.reads), "the algorithm")
      raise ValueError(
        f"{reader} reads the column {missing[0]!r}, and this algorithm's batches have none: they have "
        f"{', '.join(sorted(batch.columns))}"
      )
    draw_key = jax.random.fold_in(key, self.epochs)  # epochs take the numbers before
    readers = {name: called(term) for term in self.terms for name in term.of_batch}
    made = {name: make(read_by(batch, readers[name]), draw_key) for name, make in self.of_batch.items()}
    batch = batch.with_columns(**made)
    return gradients.run_minibatches(
      self.step,
      state,
      key,
      batch,
      epochs=self.epochs,
      minibatches=self.minibatches,
      place_batch=self.policy.place_batch,
    )


def make_learner(
  policy: Policy,
  optimizer: optax.GradientTransformation,
  terms: Sequence[Term],
  *,
  reduce: Reduction,
  epochs: int = 1,
  minibatches: int = 1,
  reads: Sequence[str] = (),
) -> Learner:
  """Builds what the update compiles.

  Args:
    terms: of the objective, those of `algo.terms` among them.
    reduce: normaliser of the terms that have none of their own, see `reduction`.
    epochs, minibatches: of one update.
    reads: "ref_logp" where the algorithm itself needs the reference.
  """
  heads, chosen = heads_of(terms), objective(policy, terms, reduce)
  return Learner(
    policy=policy,
    optimizer=optimizer,
    terms=tuple(terms),
    heads=heads,
    columns=columns_of(terms),
    of_batch=of_batch(terms),
    evaluate=forward.make_evaluator(policy, heads),
    reduce=reduce,
    reads=frozenset(reads).union(*(term.reads for term in terms)),
    epochs=epochs,
    minibatches=minibatches,
    step=gradients.make_step(chosen.loss, optimizer, chosen.masks),
  )


def reduction(cfg: ConfigDict) -> Reduction:
  """The reduction that `cfg.reduction` names, with the settings of `cfg.reduction_options`."""
  chosen = by_name(reduce_lib.REDUCTIONS, cfg.reduction, kind="reduction", takes=reduce_lib.TAKES)
  return with_settings(chosen, cfg.reduction_options, section="algo.reduction_options", called=cfg.reduction)
