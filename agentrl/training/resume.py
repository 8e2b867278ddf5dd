"""Which settings may change where a run goes on: those that move none of its numbers.

Every key of a config is covered by one entry of `FIXED` or of `FREE`, a key or a section; a key that neither names is
fixed. `train.steps` is free as far as the steps that are done keep their learning rates.

One thing may change unnoticed, whether or not it moves numbers: what `redacted.py` leaves out of config.json. That is
every value of a section "env" or "headers", a level of difficulty as well as a token, and every text under a name such
as "secret" or "token". What moves a run's numbers is better given under another name, or as an argument of a command.
"""

from __future__ import annotations

from collections.abc import Sequence

from ml_collections import ConfigDict

from agentrl.training.config_values import Difference

FIXED = (
  "seed", "model", "chat", "task", "curriculum", "engine", "pack", "reward", "reward_options", "filters",
  "filter_options", "cold_start", "tuning", "algorithm", "algo", "optimizer", "eval", "rollout.groups",
  "rollout.group_size", "rollout.max_tokens", "rollout.max_turns", "rollout.turn_tokens", "rollout.temperature",
  "rollout.rounds", "rollout.oversample", "rollout.entropy_window", "rollout.end_on", "rollout.seeds",
  "rollout.strategy", "strategy", "search", "train.source", "train.source_options",
)  # fmt: skip
FREE = (
  "hosting",  # where environments live, and how long they may take before they count as lost
  "rollout.compiled",  # the two loops sample the same
  "rollout.workers",
  "rollout.environment_seconds",  # before an environment counts as failed
  "rollout.max_failed_share",
  "train.steps",  # see `_refused_steps`
  "train.eval_every",  # an evaluation has random numbers of its own, and changes no state
  "train.checkpoint_every",
  "train.trajectories_every",
  "train.saved_trees",
  "mesh",  # the devices at hand: the same sums, to the rounding of another machine
  "wandb",
)
# Of `optimizer.schedule`: those whose rate at a step does not depend on how many steps there are.
ENDLESS_SCHEDULES = ("constant",)


def covers(entry: str, key: str) -> bool:
  """Whether an entry of a table is the key or a section around it."""
  return key == entry or key.startswith(f"{entry}.")


def refused(changes: Sequence[Difference], config: ConfigDict, *, done: int) -> list[str]:
  """One line for each change with which the run cannot go on; none where it can.

  Args:
    changes: from the config of the run to `config`. done: steps of reinforcement learning that are in a checkpoint.
  """
  lines = []
  for change in changes:
    line = f"{change.key}: there {change.old!r}, now {change.new!r}"
    if not any(covers(entry, change.key) for entry in FREE):
      lines.append(line)
    elif change.key == "train.steps" and (reason := _refused_steps(config, done)):
      lines.append(f"{line}: {reason}")
  return lines


def _refused_steps(config: ConfigDict, done: int) -> str:
  """Why a run of which `done` steps are done cannot have the config's number of steps; empty where it can."""
  if config.train.steps < done:
    return f"{done} steps are done"
  schedule = config.optimizer.schedule
  if done and schedule not in ENDLESS_SCHEDULES:
    return (
      f"the rates of optimizer.schedule={schedule!r} depend on the number of steps, and {done} steps were made with "
      f"those of the old one; only a run with {' or '.join(map(repr, ENDLESS_SCHEDULES))} can be given more. To train "
      "this policy on, write it with experiments/export.py and start another run from it: --config.model.source=hf, "
      "--config.model.path=FOLDER, --config.cold_start.steps=0"
    )
  return ""
