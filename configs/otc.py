"""What a lookup is worth where half of the questions are known by heart and the table sometimes errs (OTC).

The cold start teaches 64 facts, and to look things up or not whatever is asked. A lookup of any other key is right with
probability 0.7, the same for all samples of a task. OTC pays a right answer more the closer its calls are to the fewest
that were right in its group; a price on calls is paid for wrong answers too, so that it also pays for giving up.

  em             right answers alone: the outcome reward
  price_02       minus 0.02 for each call, whether the answer is right or wrong; price_40 minus 0.4
  price_02_mean  the price of 0.02, and advantages that are not divided by the group's std
  otc_ppo        OTC's form that compares no samples: fewer calls are better, whatever the task needs
  otc_grpo       OTC's form that knows the fewest calls that sufficed

  python experiments/reproduce.py configs/otc.py

Paper: Wang et al., 2025 (https://arxiv.org/abs/2504.14870). Unlike the paper no task comes twice, so that the fewest
calls are those of the group; its constant c is 1, quoted from a port of it; all arms have one learning rate.
Result (results/otc; means of seeds 0 to 4): before RL 71 % are right with 0.72 calls; em 79 % with 1.37; otc_grpo 75 %
with 0.67, and otc_ppo alike; price_02 and price_40 end with next to no calls and 48 to 50 %: in a group whose lookups
went wrong nothing differs but the price, and the std makes it large. Without the std the price of 0.02 changes nothing:
79 % with 1.39 calls. No rates were swept.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {
    "family": "knowledge", "tool": "lookup", "difficulty": 2,
    "mixture": {"known": {"options": {"known": 1.0}}, "unknown": {"options": {"known": 0.0, "right": 0.7}}},
  },
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 64, "max_turns": 4},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "reward": {"correct": 1.0},
  "cold_start": {
    "steps": 600, "batch": 64, "mix": {"needed": 0.35, "always": 0.35, "never": 0.3}, "learning_rate": 3e-3,
  },
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 120, "eval_every": 30, "checkpoint_every": 120},
  "eval": {"tasks": 256},
}  # fmt: skip

ARMS = {
  "em": {},
  "price_02": {"reward": {"correct": 1.0, "tool_calls": -0.02}},
  "price_40": {"reward": {"correct": 1.0, "tool_calls": -0.4}},
  "price_02_mean": {"reward": {"correct": 1.0, "tool_calls": -0.02}, "algo": {"credit": "dr_grpo"}},
  "otc_ppo": {"reward": {"tool_economy": 1.0}, "reward_options": {"tool_economy": {"smoothing": 1.0}}},
  "otc_grpo": {"reward": {"fewest_tool_calls": 1.0}, "reward_options": {"fewest_tool_calls": {"smoothing": 1.0}}},
}

SUCCESS, CALLS = Last("eval/success"), Last("eval/tool_calls")
NEEDLESS, DEEP = Last("eval/known/tool_calls"), Last("eval/two_hops/success")

CLAIMS = (
  Claim(
    "the outcome reward alone teaches to look up what is known",
    arm="em",
    against=BEFORE,
    measure=NEEDLESS,
    direction="higher",
  ),
  Claim(
    "OTC makes fewer calls than the outcome reward",
    arm="otc_grpo",
    against="em",
    measure=CALLS,
    direction="lower",
    published="0.99 against 3.28 a question (NQ, Qwen2.5-7B)",
  ),
  Claim(
    "OTC looks up less of what is known",
    arm="otc_grpo",
    against="em",
    measure=NEEDLESS,
    direction="lower",
  ),
  Claim(
    "and is right as often or more often",
    arm="otc_grpo",
    against="em",
    measure=SUCCESS,
    direction="higher",
    published="44.4 against 44.9 % (NQ, Qwen2.5-7B)",
  ),
  *(
    Claim(
      f"tasks of two lookups stay open, which a price of {price} closes",
      arm="otc_grpo",
      against=arm,
      measure=DEEP,
      direction="higher",
      published="an additive price is unstable: tools are dropped while answers are wrong",
    )
    for price, arm in ((0.02, "price_02"), (0.4, "price_40"))
  ),
  Claim(
    "OTC looks up less of what is known than a price of 0.02 whose advantages are not divided by the std",
    arm="otc_grpo",
    against="price_02_mean",
    measure=NEEDLESS,
    direction="lower",
  ),
  Claim(
    "and is right more often",
    arm="otc_grpo",
    against="price_02_mean",
    measure=SUCCESS,
    direction="higher",
  ),
  Claim(
    "knowing the fewest calls that suffice keeps them open better than the form without it",
    arm="otc_grpo",
    against="otc_ppo",
    measure=DEEP,
    direction="higher",
  ),
)
