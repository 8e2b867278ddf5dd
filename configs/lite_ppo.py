"""Which tricks matter: a mean and a spread of the group or of the batch, tokens or sequences that weigh the same.

The paper tries the tricks of reinforcement learning for reasoning in one code base, and finds that two are enough: the
mean reward of the group with the spread of the whole batch (advantages), and every token of the batch with the same
weight (loss). "Lite PPO" is plain PPO clipping with these two. Here a tiny model does sums with a calculator, three
easy ones to one hard; and, for what a spread does to small differences of reward, it is asked for facts that it knows
or has to look up, at a price of 0.02 a lookup.

  grpo            mean and spread of the group; sequences weigh the same
  group_token     the same; tokens weigh the same
  mean_token      mean of the group, no spread; tokens
  batch_token     mean and spread of the batch; tokens
  lite            mean of the group, spread of the batch; tokens
  free_group      facts, no price; spread of the group
  price_group     facts, 0.02 a lookup; spread of the group
  price_batch     facts, 0.02 a lookup; spread of the batch

  python experiments/reproduce.py configs/lite_ppo.py
  python experiments/train.py --config configs/lite_ppo.py:lite --workdir runs/lite

Paper: Liu et al., 2025, "Part I: Tricks or traps? A deep dive into RL for LLM reasoning"
(https://arxiv.org/abs/2508.08221). Unlike the paper there is one size of model, and no aligned one.
Result: not yet run.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last, MeanOfLast

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {
    "family": "arithmetic",
    "tool": "calculator",
    "mixture": {"easy": {"difficulty": 1, "weight": 3.0}, "hard": {"difficulty": 2, "weight": 1.0}},
  },
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 64, "max_turns": 3},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "reward": {"correct": 1.0},
  "cold_start": {"steps": 450, "batch": 64, "mix": {"needed": 0.25, "never": 0.75}, "learning_rate": 3e-3},
  "algo": {"credit": "grpo", "reduction": "sequence_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 60, "eval_every": 20, "checkpoint_every": 60},
  "eval": {"tasks": 256},
}

FACTS = {
  "task": {"family": "knowledge", "tool": "lookup", "difficulty": 1, "mixture": {}},
  "cold_start": {"steps": 600, "mix": {"needed": 0.5, "always": 0.5}},
}
PRICE = {"reward": {"correct": 1.0, "tool_calls": -0.02}}
ARMS = {
  "grpo": {},
  "group_token": {"algo": {"reduction": "token_mean"}},
  "mean_token": {"algo": {"credit": "dr_grpo", "reduction": "token_mean"}},
  "batch_token": {"algo": {"credit": "whitened_reward", "reduction": "token_mean"}},
  "lite": {"algo": {"credit": "batch_std", "reduction": "token_mean"}},
  "free_group": FACTS | {"algo": {"reduction": "token_mean"}},
  "price_group": FACTS | PRICE | {"algo": {"reduction": "token_mean"}},
  "price_batch": FACTS | PRICE | {"algo": {"credit": "batch_std", "reduction": "token_mean"}},
}

SUCCESS = MeanOfLast("eval/success", 2)
LOOKUPS = Last("eval/known/tool_calls")

CLAIMS = (
  Claim("Lite PPO learns", arm="lite", against=BEFORE, measure=Last("eval/success"), direction="higher"),
  Claim(
    "the two tricks together are better than GRPO",
    arm="lite",
    against="grpo",
    measure=SUCCESS,
    direction="higher",
    published="ahead of GRPO and DAPO on the mean of six benchmarks, Qwen3-8B base; read in a third-party note",
  ),
  Claim(
    "the mean of the batch in place of that of the group is worse",
    arm="batch_token",
    against="lite",
    measure=SUCCESS,
    direction="lower",
    published="collapses where rewards are skewed",
  ),
  Claim(
    "tokens that weigh the same are better than sequences that do",
    arm="group_token",
    against="grpo",
    measure=SUCCESS,
    direction="higher",
    published="faster and higher on base models",
  ),
  Claim(
    "outcome alone makes the policy look up what it knows",
    arm="free_group",
    against=BEFORE,
    measure=LOOKUPS,
    direction="higher",
  ),
  Claim(
    "under the spread of the group a price of 0.02 becomes the signal: known facts are looked up less than with lite",
    arm="price_group",
    against="price_batch",
    measure=LOOKUPS,
    direction="lower",
    published="dividing by a small spread of the group amplifies noise; drop it or take the batch's",
  ),
)

SMOKE = {"train": {"eval_every": 1}}  # a claim is about the mean of two evaluations
