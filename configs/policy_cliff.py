"""Two tables say the same, and a lookup in the second is worth a little more or less: what the policy then prefers.

Half of the demonstrations look in table a, half in table b. The reward is 1 for a right answer, plus e for each lookup
in b. Of the policies with the largest reward the share of b jumps from 0 to 1 as e passes 0: a cliff. With an entropy
bonus of weight w the best share is 1 / (1 + exp(-e / w)), which is smooth. Dividing a group's advantages by their std
makes a small e large where all answers are right.

  mean_less     e = -0.02, advantages minus the group's mean; mean_more: e = 0.02
  std_less      e = -0.02, advantages divided by the group's std too; std_equal: e = 0; std_more: e = 0.02
  entropy_less  as mean_less, with an entropy bonus of 0.1, so that 0.45 would be best; entropy_more: as mean_more, 0.55
  std_entropy   as std_more, with the same bonus: dividing by the std makes e a hundred times as large beside it

  python experiments/reproduce.py configs/policy_cliff.py

Paper: Xu, 2025 (https://arxiv.org/abs/2507.20150), a theory without such a run: task and arms are ours.
Result (results/policy_cliff; lookups in b per question, means of seeds 0 to 4, 0.55 before RL): mean_less 0.11,
mean_more 0.94; std_less 0.01, std_equal 0.61, std_more 1.00; entropy_less 0.47, entropy_more 0.56, where 0.45 and 0.55
would be best; std_entropy 1.00. Success stays at 95 to 100 %.
"""

from agentrl.report.claims import Claim
from agentrl.report.measures import Last

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {"family": "knowledge", "tool": "lookup", "options": {"known": 0.0, "twins": True}},
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 64, "max_turns": 4},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "cold_start": {"steps": 200, "batch": 64, "mix": {"always": 0.5, "second": 0.5}, "learning_rate": 3e-3},
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 3e-4, "schedule": "constant"},
  "train": {"steps": 40, "eval_every": 10, "checkpoint_every": 40},
  "eval": {"tasks": 128},
}


def paid(e: float, **algo) -> dict:
  """An arm whose lookups in table b are worth `e` more."""
  return {
    "reward": {"correct": 1.0, "calls_with": e}, "reward_options": {"calls_with": {"text": "b "}}, "algo": algo
  }  # fmt: skip


ARMS = {
  "mean_less": paid(-0.02, credit="dr_grpo"),
  "mean_more": paid(0.02, credit="dr_grpo"),
  "std_less": paid(-0.02),
  "std_equal": paid(0.0),
  "std_more": paid(0.02),
  "entropy_less": paid(-0.02, credit="dr_grpo", entropy_coef=0.1),
  "entropy_more": paid(0.02, credit="dr_grpo", entropy_coef=0.1),
  "std_entropy": paid(0.02, entropy_coef=0.1),
}

SHARE = Last("eval/reward/calls_with")  # lookups in table b, per task

CLAIMS = (
  Claim(
    "a reward of 0.02 more or less decides which table is asked",
    arm="std_more",
    against="std_less",
    measure=SHARE,
    direction="higher",
    published="the best policy jumps where two are equally good (theory)",
  ),
  Claim(
    "also where advantages are not divided by their std",
    arm="mean_more",
    against="mean_less",
    measure=SHARE,
    direction="higher",
  ),
  Claim(
    "dividing by the std makes it decide sooner", arm="std_more", against="mean_more", measure=SHARE, direction="higher"
  ),
  Claim(
    "an entropy bonus keeps both tables in use",
    arm="entropy_more",
    against="mean_more",
    measure=SHARE,
    direction="lower",
    published="with an entropy bonus the best policy is continuous in the reward (theory)",
  ),
  Claim(
    "also where the second is worth less",
    arm="entropy_less",
    against="mean_less",
    measure=SHARE,
    direction="higher",
    published="with an entropy bonus the best policy is continuous in the reward (theory)",
  ),
  Claim(
    "but not where advantages are divided by their std",
    arm="std_entropy",
    against="entropy_more",
    measure=SHARE,
    direction="higher",
  ),
)
