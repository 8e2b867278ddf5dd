"""The objective: a weighed sum of terms over one forward pass.

  L = sum_i w_i reduce_i(term_i(outputs, micro-batch))

`terms.py` has the terms that there are, `learner.py` what an algorithm of terms is made of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.algorithms.contract import HeadSpec, Policy
from agentrl.algorithms.forward import Outputs, outputs
from agentrl.algorithms.gradients import LossOutput, Mask
from agentrl.algorithms.named_arrays import NamedArrays, read_by
from agentrl.batching.pack import Column
from agentrl.metrics_file import RUN_GROUPS, check_names
from agentrl.ops.reduce import Reduction, token_mean
from agentrl.types import Batch, Trajectory

Diagnostics = Mapping[str, jax.Array]

# Names that no head may have: what they stand for beside heads.
NO_HEADS = {
  "policy": "the policy itself in a learner's params",
  "critic": "what a learner trains apart",
  "logp": "the log-probs of the tokens",
  "entropy": "the entropy of the policy",
}


class Term(NamedTuple):
  """A summand of the objective. A token may carry several terms, and a term may count some of the tokens only.

  Attributes:
    weight: of its reduced values.
    per_token: `(outputs, micro-batch) -> (f32 [B, A], diagnostics)`; values off the mask are not read. Diagnostics are
      arrays `[B, A]` by the name of a metric: of each the mean over the tokens of the term is reported, or the largest,
      at least 0, where the name ends in "_max".
    mask: of a batch, which of its tokens it counts, elementwise; None: all of them.
    observed: its tokens are those that the policy read behind its turns, in place of those that it sampled; batches
      then list them, and the forward pass says their log-probs with the others.
    reduce: its normaliser, from `ops.reduce.REDUCTIONS` or yours; None: the objective's.
    heads: what it reads of `Outputs.heads`, by name; trained with the policy.
    columns: `trajectories -> Column` of what it reads of the batch besides what the algorithm packs, by name.
    of_batch: `(batch, key) -> f32 [M, B, A]` of what it reads that only a whole batch says, such as a rank among all
      tokens, by name; the learner computes it once, at the start of an update.
    named: what an error calls it, such as the key of the config that it comes from; empty: its function.
    reads: columns that an update must have. The learner computes "old_logp", needed where an update takes several
      steps, and "ref_logp" of the frozen reference, which is kept where a term asks for it; whoever prepares the batch
      gives the others, such as "returns".
  """

  weight: float
  per_token: Callable[[Outputs, Batch], tuple[jax.Array, Diagnostics]]
  mask: Mask | None = None
  observed: bool = False
  reduce: Reduction | None = None
  heads: Mapping[str, HeadSpec] = {}
  columns: Mapping[str, Callable[[Sequence[Trajectory]], Column]] = {}
  of_batch: Mapping[str, Callable[[Batch, jax.Array], jax.Array]] = {}
  reads: tuple[str, ...] = ()
  named: str = ""


class Objective(NamedTuple):
  """What `gradients.make_step` takes, see there."""

  loss: Callable[[Any, Batch, Sequence[jax.Array]], LossOutput]
  masks: tuple[Mask, ...]


def called(term: Term) -> str:
  """What an error calls a term."""
  return term.named or f"the term {term.per_token.__qualname__}"


def heads_of(terms: Sequence[Term]) -> dict[str, HeadSpec]:
  """The heads that terms declare, by name.

  Raises:
    ValueError: two of them declare different heads by one name, or one by a name of `NO_HEADS`.
  """
  found: dict[str, HeadSpec] = {}
  for term in terms:
    for name, spec in term.heads.items():
      if name in NO_HEADS:
        raise ValueError(f"a term declares a head called {name!r}, which is {NO_HEADS[name]}: name it otherwise")
      if found.setdefault(name, spec) is not spec:
        raise ValueError(f"two terms declare a head called {name!r}, and they differ: name one of them otherwise")
  return found


def columns_of(terms: Sequence[Term]) -> dict[str, Callable[[Sequence[Trajectory]], Column]]:
  """What terms make of trajectories, by the names of columns.

  Raises:
    ValueError: two of them make different columns of one name.
  """
  return _made([term.columns for term in terms])


def of_batch(terms: Sequence[Term]) -> dict[str, Callable[[Batch, jax.Array], jax.Array]]:
  """What terms make of whole batches, by the names of columns; raises as `columns_of`."""
  return _made([term.of_batch for term in terms])


def _made(columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  found: dict[str, Any] = {}
  for name, make in (entry for made in columns for entry in made.items()):
    if found.setdefault(name, make) is not make:
      raise ValueError(f"two terms make a column called {name!r}, and they differ: name one of them otherwise")
  return found


def objective(policy: Policy, terms: Sequence[Term], reduce: Reduction) -> Objective:
  """The loss that the terms are together; one forward pass serves them all.

  Args:
    reduce: normaliser of the terms that have none of their own.
  """
  heads = heads_of(terms)
  kinds = {(term.observed, term.mask): called(term) for term in terms if term.observed or term.mask is not None}
  masks = tuple(
    functools.partial(_counted, observed=observed, mask=mask, reader=f"the mask of {named}")
    for (observed, mask), named in kinds.items()
  )

  def loss(params: Any, micro: Batch, lengths: Sequence[jax.Array]) -> LossOutput:
    out = outputs(params, micro, policy, heads)
    micro = micro.with_columns(**{"old_logp": jax.lax.stop_gradient(out.logp), **micro.columns})
    sampled = False, None
    counted = {sampled: (micro.action_mask, micro.sequence_length)}
    for kind, mask, length in zip(kinds, masks, lengths, strict=True):
      counted[kind] = mask(micro), length
    summed: dict[tuple, jax.Array] = {}
    found = _Metrics()
    found.add({"policy/entropy": out.entropy}, *counted[sampled])
    for term in terms:
      named = called(term)
      seen = out._replace(heads=NamedArrays(out.heads, what="head", reader=named))
      given = term.per_token(seen, read_by(micro, named))
      values, diagnostics = per_token_of(given, micro.action_mask.shape, named=named)
      kind = term.observed, term.mask
      key = kind, term.reduce or reduce
      weighed = term.weight * values
      summed[key] = summed[key] + weighed if key in summed else weighed
      check_names(diagnostics, named=named, taken=(*RUN_GROUPS, "policy/loss"))
      found.add(diagnostics, *counted[kind])
    shares = [
      reduce_by(values, counted[kind][0], micro.action_sequence, counted[kind][1], micro.sequence_group)
      for (kind, reduce_by), values in summed.items()
    ]
    return LossOutput(sum(shares[1:], shares[0]), found.sums, found.maxima)

  return Objective(loss, masks)


def per_token_of(given: Any, shape: Sequence[int], *, named: str) -> tuple[jax.Array, Diagnostics]:
  """What a function of micro-batches gave, where it is `(values [B, A], diagnostics [B, A] by name)`.

  Values of another shape would be spread over the tokens, and train something else than they say.

  Args:
    given: what it gave, while it is traced.
    shape: (B, A) of the micro-batch.
    named: the function, and the key of the config that chooses it.

  Raises:
    ValueError: it is something else; says what was due and what was given.
  """
  shape = tuple(shape)
  due = f"{named} must give (values [B, A], diagnostics), a pair of an array and a mapping, here with [B, A] = {shape}"
  if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping)):
    told = f"a tuple of {len(given)}" if isinstance(given, tuple) else f"a {type(given).__name__}"
    raise ValueError(f"{due}; it gave {told}" + ("" if not isinstance(given, tuple) else f": {_types(given)}"))
  values, diagnostics = given
  for what, array in {
    "values": values,
    **{f"diagnostic {name!r}": array for name, array in diagnostics.items()},
  }.items():
    if not isinstance(array, jax.Array | np.ndarray):
      raise ValueError(f"{due}; its {what} are a {type(array).__name__}")
    if array.shape != shape:
      raise ValueError(f"{due}; the shape of its {what} is {array.shape}")
  return values, diagnostics


def _types(given: Sequence[Any]) -> str:
  return ", ".join(type(each).__name__ for each in given)


def _counted(micro: Batch, *, observed: bool, mask: Mask | None, reader: str) -> jax.Array:
  """Which listed tokens of a batch a term counts; `reader` is how an error calls its mask."""
  tokens = micro.observed if observed else micro.action_mask
  return tokens if mask is None else tokens & mask(read_by(micro, reader))


class _Metrics:
  """What terms report of a micro-batch: shares of means over the batch, and maxima."""

  def __init__(self):
    self.sums: dict[str, jax.Array] = {}
    self.maxima: dict[str, jax.Array] = {}

  def add(self, diagnostics: Diagnostics, mask: jax.Array, length: jax.Array) -> None:
    """Adds what one term reports of the tokens under its mask `[B, A]`, of which the batch has `length` `[N]`."""
    for name, values in diagnostics.items():
      if name in self.sums or name in self.maxima:
        raise ValueError(f"two terms report a metric called {name!r}")
      values = jax.lax.stop_gradient(values).astype(jnp.float32)
      if name.endswith("_max"):
        self.maxima[name] = jnp.max(jnp.where(mask, values, 0.0))
      else:
        self.sums[name] = token_mean(values, mask, jnp.sum(length))
