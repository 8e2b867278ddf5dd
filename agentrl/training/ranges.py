"""The range of every number in a config: one line per numeric key of `defaults.base_config`.

An algorithm's own numbers have theirs in its module's `RANGES`, beside its `default_config`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ml_collections import ConfigDict

from agentrl import algorithms
from agentrl.ops.ranges import FINITE, Range, above, at_least, between, check_ranges
from agentrl.training.config import flatten

_SHARE = between(0, 1)
_COUNT = at_least(1)
_COUNT_OR_NONE = at_least(0)
_SECONDS = above(0)

RANGES: Mapping[str, Range] = {
  "seed": between(0, 2**32 - 1),  # what a random key takes
  "model.vocabulary": _COUNT_OR_NONE,
  "model.layers": _COUNT,
  "model.width": _COUNT,
  "model.heads": _COUNT,
  "model.kv_heads": _COUNT,
  "model.head_dim": _COUNT,
  "model.ffn": _COUNT,
  "model.rope_base": above(0),
  "task.difficulty": at_least(0),
  "task.examples": _COUNT_OR_NONE,
  "task.call_seconds": _SECONDS,
  "task.max_output_chars": _COUNT,
  "hosting.processes": _COUNT_OR_NONE,
  "hosting.episodes": _COUNT,
  "hosting.retries": _COUNT_OR_NONE,
  "hosting.start_seconds": _SECONDS,
  "hosting.episode_seconds": _SECONDS,
  "rollout.groups": _COUNT,
  "rollout.group_size": _COUNT,
  "rollout.max_tokens": at_least(2, "a token of the prompt, and one that is sampled"),
  "rollout.max_turns": _COUNT,
  "rollout.turn_tokens": _COUNT_OR_NONE,
  "rollout.temperature": above(0, "the update divides by it; only eval.temperature may be 0"),
  "rollout.workers": _COUNT,
  "rollout.environment_seconds": _SECONDS,
  "rollout.rounds": _COUNT,
  "rollout.max_failed_share": _SHARE,
  "rollout.branching.initial": _COUNT,
  "rollout.branching.branches": _COUNT,
  "rollout.branching.window": _COUNT,
  "rollout.branching.alpha": FINITE,
  "rollout.branching.beta": FINITE,
  "rollout.branching.threshold": FINITE,
  "rollout.branching.probability": _SHARE,
  "rollout.branching.weight": FINITE,
  "rollout.reranked.candidates": _COUNT,
  "search.simulations": _COUNT,
  "search.width": _COUNT,
  "search.depth": _COUNT,
  "search.step_tokens": _COUNT,
  "search.parallel": _COUNT,
  "search.c_puct": at_least(0),
  "search.virtual_value": FINITE,
  "search.prior_temperature": above(0),
  "search.saved_trees": _COUNT_OR_NONE,
  "engine.slots": _COUNT,
  "engine.decode_rows": _COUNT_OR_NONE,
  "engine.decode_tokens": _COUNT,
  "engine.feed_tokens": _COUNT,
  "engine.prefill_tokens": _COUNT,
  "engine.prefill_rows": _COUNT,
  "engine.live_step": _COUNT,
  "pack.row_tokens": _COUNT,
  "pack.row_actions": _COUNT,
  "pack.rows": _COUNT,
  "cold_start.steps": _COUNT_OR_NONE,
  "cold_start.batch": _COUNT,
  "cold_start.direct_share": _SHARE,
  "cold_start.learning_rate": at_least(0),
  "optimizer.learning_rate": at_least(0),
  "optimizer.warmup_steps": _COUNT_OR_NONE,
  "optimizer.b1": between(0, 1, below_high=True),
  "optimizer.b2": between(0, 1, below_high=True),
  "optimizer.weight_decay": at_least(0),
  "optimizer.max_grad_norm": above(0, "gradients are scaled down to it; a large number leaves them as they are"),
  "optimizer.value_rate": at_least(0),
  "optimizer.value_warmup": _COUNT_OR_NONE,
  "train.steps": _COUNT_OR_NONE,
  "train.eval_every": _COUNT,
  "train.checkpoint_every": _COUNT,
  "train.trajectories_every": _COUNT,
  "eval.tasks": _COUNT,
  "eval.samples": _COUNT,
  "eval.temperature": at_least(0),
  "eval.search": _COUNT_OR_NONE,
  "mesh.data": _COUNT_OR_NONE,
  "mesh.fsdp": _COUNT,
  "mesh.tensor": _COUNT,
}


def check_numbers(config: ConfigDict) -> None:
  """Raises ValueError where a number is outside its range; names the key and what it may be."""
  of_algorithm = {f"algo.{key}": allowed for key, allowed in algorithms.load(config.algorithm).RANGES.items()}
  check_ranges(flatten(config), {**RANGES, **of_algorithm})
