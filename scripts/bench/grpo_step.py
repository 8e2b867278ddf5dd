"""One GRPO step of SmolLM2-135M: 4 prompts of 160 tokens x 8 samples of 32, fp32, one update.

  python scripts/bench/grpo_step.py [--steps 4]
  scripts/bench/grpo_step_trl.sh                  the same beside TRL, with the ratio

Every sample is exactly 32 tokens long; rewards are random, so that every group is trained on.
"""

import argparse
import json
import pathlib
import time

import jax
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from agentrl import algorithms
from agentrl.algorithms.contract import Policy
from agentrl.batching.pack import PackConfig
from agentrl.models.weights import gguf
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.driver import Driver
from agentrl.rollout.engine import EngineConfig
from agentrl.training import sharding
from agentrl.types import StopReason, Trajectory


class FixedLength:
  """Samples `group` continuations of `new` tokens of each prompt: what the peers' benchmark does."""

  def __init__(self, prompts, group, new, engine):
    self._prompts, self._group, self._new, self._engine = prompts, group, new, engine
    self._phase = 0
    self.sampled = {"tokens": [], "logp": [], "entropy": []}
    self.trajectories = []

  def step(self, events):
    commands = slot_engine.no_commands(self._engine)
    leaders = np.arange(self._engine.slots) // self._group * self._group
    length = self._prompts.shape[1]
    commands.uid[:], commands.limit[:] = np.arange(self._engine.slots), length + self._new
    self._phase += 1
    if self._phase == 1:
      first = leaders == np.arange(self._engine.slots)
      commands.feed[first, :length], commands.feed_count[first] = self._prompts, length
      return commands
    if self._phase == 2:
      commands.fork_from[:] = leaders
    else:
      for name in self.sampled:
        self.sampled[name].append(getattr(events, name))
    if self._phase == 2 + -(-self._new // self._engine.decode_tokens):
      commands.done[:] = True
      self._finish()
    commands.active[:] = True
    return commands

  def _finish(self):
    new, length = {k: np.concatenate(v, axis=1) for k, v in self.sampled.items()}, self._prompts.shape[1]
    rng = np.random.default_rng(0)
    for row in range(self._engine.slots):
      tokens = np.concatenate([self._prompts[row // self._group], new["tokens"][row]]).astype(np.int32)
      mask = np.arange(len(tokens)) >= length
      padded = {k: np.where(mask, np.pad(new[k][row], (length, 0)), 0).astype(np.float32) for k in ("logp", "entropy")}
      self.trajectories.append(
        Trajectory(
          tokens, mask, padded["logp"], padded["entropy"], np.where(mask, 0, -1).astype(np.int32),
          np.where(mask, 0, -1).astype(np.int32), (), "bench", row // self._group, row, StopReason.LENGTH_LIMIT,
          {}, float(rng.random()),
        )
      )  # fmt: skip


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--steps", type=int, default=4, help="the first compiles and is not counted")
  parser.add_argument("--prompts", type=int, default=4)
  parser.add_argument("--group", type=int, default=8)
  parser.add_argument("--prompt-len", type=int, default=160)
  parser.add_argument("--max-new", type=int, default=32)
  parser.add_argument("--out", type=pathlib.Path, help="write seconds per step here, as JSON")
  a = parser.parse_args()
  slots = a.prompts * a.group
  engine = EngineConfig(
    slots=slots, positions=a.prompt_len + a.max_new, decode_tokens=16, feed_tokens=a.prompt_len, prefill_tokens=32,
    prefill_rows=4, live_step=64,
  )  # fmt: skip
  pack = PackConfig(a.prompt_len + a.group * a.max_new, a.group * a.max_new, 1, sequences=slots)
  grpo = algorithms.load("grpo")
  model, params = gguf.load(gguf.smollm2_path(), remat="dots")
  algorithm = grpo.make(Policy(model, pack), optax.adamw(1e-6), grpo.default_config())
  state = algorithm.init(jax.random.key(0), params)
  mesh = sharding.make_mesh(1)
  driver = Driver(model, engine, np.zeros(model.vocab_size, bool), mesh=mesh)
  rng, rows = np.random.default_rng(0), []
  for step in range(a.steps):
    prompts = rng.integers(20, 49000, (a.prompts, a.prompt_len)).astype(np.int32)
    strategy = FixedLength(prompts, a.group, a.max_new, engine)
    started = time.perf_counter()
    driver.run({"policy": state.params["policy"]}, jax.random.key(step), [strategy])
    sampled = time.perf_counter()
    batch, _ = algorithm.prepare(state, strategy.trajectories)
    state, metrics = algorithm.update(state, jax.random.key(step), batch)
    jax.block_until_ready(state)
    rows.append((sampled - started, time.perf_counter() - sampled))
    assert metrics["sampler/logp_diff_mean"] < 1e-4
  sample, update = np.median(rows[1:], axis=0)
  table = Table("", "seconds", "tokens/s")
  table.add_row("sampling (completion tokens)", f"{sample:.2f}", f"{slots * a.max_new / sample:.0f}")
  both = slots * (a.prompt_len + a.max_new)
  table.add_row("update (prompt and completion of every sample)", f"{update:.2f}", f"{both / update:.0f}")
  table.add_row("step", f"{sample + update:.2f}", "")
  Console().print(f"agentrl, JAX {jax.__version__}, {jax.devices()[0].device_kind}, median of {a.steps - 1} steps")
  Console().print(table)
  if a.out:
    a.out.write_text(json.dumps({"sample_s": sample, "update_s": update, "step_s": sample + update}) + "\n")


if __name__ == "__main__":
  main()
