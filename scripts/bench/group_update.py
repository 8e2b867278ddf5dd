"""One update of a group of SmolLM2-135M: its prompt once in the row, against once per sample.

    python scripts/bench/group_update.py                    # 8 samples of 32 tokens on a prompt of 160, fp32
    python scripts/bench/group_update.py --groups 4 --rows 4        # micro-batches of about as many tokens either way
    python scripts/bench/group_update.py --group 64 --new 16

Both sides are the same GRPO update (forward, backward, AdamW) of the same trajectories; only `share_prefixes` differs.
Repeated samples lie one a row, without padding. Tokens are those that a trainer counts: prompt and completion of every
sample. The two are interleaved and ratios are medians of the pairs', since other load on the machine hits both; it
disturbs processor time, `cpu`, least.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from agentrl import algorithms
from agentrl.algorithms.contract import Policy
from agentrl.batching.pack import PackConfig
from agentrl.models.transformer import ModelConfig, init_params
from agentrl.types import StopReason, Trajectory

SMOLLM2 = ModelConfig(
  vocab_size=49_152, width=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn=1536, rope_base=1e5, remat="dots"
)


def trajectories(groups, group, prompt, new):
  """Random tokens; every reward differs, so that every token is trained on."""
  rng = np.random.default_rng(0)
  prompts = rng.integers(0, SMOLLM2.vocab_size, (groups, prompt))
  mask = np.arange(prompt + new) >= prompt
  zeros, turn = np.zeros(prompt + new, np.float32), np.where(mask, 0, -1).astype(np.int32)

  def sample(n):
    tokens = np.concatenate([prompts[n // group], rng.integers(0, SMOLLM2.vocab_size, new)]).astype(np.int32)
    return Trajectory(
      tokens, mask, zeros, zeros, turn, turn, (), "bench", n // group, n, StopReason.LENGTH_LIMIT, {}, rng.random()
    )

  return [sample(n) for n in range(groups * group)]


def updater(pack, rollouts, params):
  """Function of nothing that takes one update, and its compiled step is warm."""
  grpo = algorithms.load("grpo")
  algorithm = grpo.make(Policy(SMOLLM2, pack), optax.adamw(1e-6), grpo.default_config())
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  batch, _ = algorithm.prepare(state, rollouts)

  def update():
    nonlocal state
    state, metrics = algorithm.update(state, jax.random.key(0), batch)
    jax.block_until_ready(state)
    return float(metrics["optimizer/grad_norm"])

  return update


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--groups", type=int, default=1, help="prompts of an update")
  parser.add_argument("--rows", type=int, default=1, help="shared rows of a micro-batch; repeated ones: a group's")
  parser.add_argument("--group", type=int, default=8, help="samples of a prompt")
  parser.add_argument("--prompt", type=int, default=160)
  parser.add_argument("--new", type=int, default=32, help="tokens of a sample")
  parser.add_argument("--repeats", type=int, default=7)
  a = parser.parse_args()
  rollouts, samples = trajectories(a.groups, a.group, a.prompt, a.new), a.groups * a.group
  params = init_params(jax.random.key(0), SMOLLM2)
  packs = {
    "repeated": PackConfig(a.prompt + a.new, a.new, a.group, sequences=samples, share_prefixes=False),
    "shared": PackConfig(a.prompt + a.group * a.new, a.group * a.new, a.rows, sequences=samples),
  }
  updates = {name: updater(pack, rollouts, params) for name, pack in packs.items()}
  norms = [update() for update in updates.values()]
  assert abs(norms[0] / norms[1] - 1) < 1e-3, f"gradients differ: norms {norms}"
  taken = {name: [] for name in updates}
  for _ in range(a.repeats):
    for name, update in updates.items():
      wall, cpu = time.perf_counter(), time.process_time()
      update()
      taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
  tokens = samples * (a.prompt + a.new)
  computed = {"repeated": tokens, "shared": a.groups * (a.prompt + a.group * a.new)}
  print(f"{a.groups} x {a.group} samples of {a.new} tokens on a prompt of {a.prompt}; JAX {jax.__version__}\n")
  print("| prompt | tokens computed | s/update | tokens/s | against repeated | cpu s | cpu against repeated |")
  print("|---|---|---|---|---|---|---|")
  for name, times in taken.items():
    (wall, cpu), gain = np.median(times, axis=0), np.median(np.divide(taken["repeated"], times), axis=0)
    print(
      f"| {name} | {computed[name]} | {wall:.2f} | {tokens / wall:.0f} | {gain[0]:.2f} | {cpu:.2f} | {gain[1]:.2f} |"
    )


if __name__ == "__main__":
  main()
