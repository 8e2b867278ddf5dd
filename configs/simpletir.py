"""A calculator that now and then answers with a line of noise, and what to do with trajectories that it leaves lost.

`a*b+c` in two calls. The cold start shows no noise, only, in a tenth of the demonstrations, a "?" behind which the call
is made again. Behind a line of characters that it never saw the policy writes improbable text: a turn without a
complete call and without an answer (SimpleTIR's void turn, here void or malformed: a lost turn). Each sample meets
noise of its own, and four optimiser steps to a batch let the ratios move.

  naive        every trajectory is trained on, and goes on behind a lost turn
  ratio        naive, without tokens whose ratio grew beyond `most_ratio`
  improbable   naive, without tokens that were less probable than e^`least_logp` when sampled
  stop         an episode ends with a lost turn
  mask         and leaves the loss, but not the baseline: SimpleTIR
  drop         and leaves both: the dull baseline

  python experiments/reproduce.py configs/simpletir.py
  python experiments/train.py --config configs/simpletir.py:mask --workdir runs/mask

The rate is the one at which naive begins to lose what the cold start knew (on seed 99: not yet at 5e-4, and at 1.5e-3
mask and stop lose it too; the other arms were not swept, nor were the bounds of the two gates).

Paper: Xue et al., 2025 (https://arxiv.org/abs/2509.02479), GRPO on Qwen2.5-7B with a Python interpreter. Unlike the
paper, a token's mean over the batch is the loss, and a tiny model whose gradients are clipped at norm 1 degrades where
the paper's explodes. Result: not yet run.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last, MeanOfLast, Spent

COLD_START = {"steps": 300, "batch": 64, "learning_rate": 3e-3}

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {
    "open": "<",
    "close": ">",
    "observation_open": "=",
    "observation_close": "\n",
    "answer_open": "[",
    "answer_close": "]",
  },
  "task": {
    "family": "noisy_calculator",
    "tool": "",
    "lost_text": "?",
    "options": {"noise": 0.3, "quiet": COLD_START["steps"] * COLD_START["batch"]},
  },
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 112, "max_turns": 6, "turn_tokens": 14, "seeds": "sample"},
  "engine": {"slots": 48, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 512, "row_actions": 320, "rows": 2},
  "reward": {"correct": 1.0},
  "cold_start": COLD_START,
  "algo": {"reduction": "token_mean", "minibatches": 4, "loss": {"clip_low": 0.2, "clip_high": 0.28}},
  "optimizer": {"learning_rate": 8e-4, "schedule": "constant"},
  "train": {"steps": 30, "eval_every": 15, "checkpoint_every": 30},
  "eval": {"tasks": 128},
}

STOP = {"rollout": {"end_on": ("void", "malformed")}}
GATE = {"policy_loss": "agentrl.ops.gates:gated_ppo"}
CLIP = BASE["algo"]["loss"]

ARMS = {
  "naive": {},
  "ratio": {"algo": {**GATE, "loss": {**CLIP, "most_ratio": 1.28}}},
  "improbable": {"algo": {**GATE, "loss": {**CLIP, "least_logp": -5.0}}},
  "stop": STOP,
  "mask": {**STOP, "algo": {"masked": ("lost_turns",)}},
  "drop": {**STOP, "filters": ("lost_turns",)},
}

SUCCESS = MeanOfLast("eval/success", evaluations=2)

CLAIMS = (
  Claim(
    "masking trajectories with lost turns beats training on all",
    arm="mask",
    against="naive",
    measure=SUCCESS,
    direction="higher",
    published="AIME24 50.5 % against 20.8 % (ablation table)",
  ),
  Claim(
    "and beats ending them without masking",
    arm="mask",
    against="stop",
    measure=SUCCESS,
    direction="higher",
    published="AIME24 50.5 % against 26.1 %",
  ),
  Claim(
    "and leaving out tokens whose ratio grew",
    arm="mask",
    against="ratio",
    measure=SUCCESS,
    direction="higher",
    published="AIME24 50.5 % against 26.3 %",
  ),
  Claim(
    "and leaving out improbable tokens",
    arm="mask",
    against="improbable",
    measure=SUCCESS,
    direction="higher",
    published="AIME24 50.5 % against 23.3 %",
  ),
  Claim(
    "masked gradients are smaller, summed over the steps",
    arm="mask",
    against="naive",
    measure=Spent("optimizer/grad_norm"),
    direction="lower",
    published="spikes against a flat curve (figure 1)",
  ),
  Claim(
    "masking beats dropping from the baseline too",
    arm="mask",
    against="drop",
    measure=SUCCESS,
    direction="higher",
  ),
  Claim("masking learns", arm="mask", against=BEFORE, measure=Last("eval/success"), direction="higher"),
)

# After two steps every turn is lost, and `mask` and `drop` would have nothing to train on.
SMOKE = {"cold_start": {"steps": 40, "batch": 16}, "rollout": {"group_size": 6}}
