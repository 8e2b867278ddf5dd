"""How finely a call is rewarded: whole or not at all, or for its tool, its arguments' names and their values (ToolRL).

A question gives values and asks for one of another type; one call of four offered tools gets it, with 1 to 3 arguments
that are copied or, of a sum, computed. The cold start is cut short: it names the right tool nearly always, and writes a
whole call without a slip in one of sixteen. Then each reward is left to do the rest.

  fine          6 S / S_max - 3 over names, keys and values, and 1 for the format: the paper's reward
  intermediate  the name, and the call as a whole
  coarse        the call as a whole
  smooth        fine, with ranges that go from the format to the calls over the run
  length        fine, and up to 1 for words before the call
  sft           no reward: as many demonstrations more as the others sample episodes

  python experiments/reproduce.py configs/toolrl.py
  python experiments/train.py --config configs/toolrl.py:fine --workdir runs/toolrl

Paper: Qian et al., 2025 (https://arxiv.org/abs/2504.13958), whose steps are those of others' trajectories. Unlike the
paper there is no thinking to be rewarded for, so the words of `length` come of themselves or not at all.
Result: not yet run. The rate is the better one of 3e-4 and 1e-3 for `fine` on seed 99, where 1e-3 unlearns to copy.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last, Spent

STEPS = 60
BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"style": "calls", "named_arguments": True, "observation_open": "=", "observation_close": "\n"},
  "task": {
    "family": "toolworld",
    "tool": "",
    "options": {"pool": 8, "types": 6, "least_parameters": 1, "offered": 4, "single_step": True},
  },
  "rollout": {"groups": 12, "group_size": 8, "max_tokens": 112, "max_turns": 1},
  "engine": {"slots": 48, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 512, "row_actions": 320, "rows": 2},
  "reward": {"toolrl_format": 1.0, "toolrl_correct": 1.0, "call_names": 0.0, "call_keys": 0.0, "call_values": 0.0},
  "cold_start": {"steps": 90, "batch": 64, "learning_rate": 3e-3},
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 3e-4, "schedule": "linear"},
  "train": {"steps": STEPS, "eval_every": 20, "checkpoint_every": 50},
  "eval": {"tasks": 256},
}  # fmt: skip

MORE = BASE["rollout"]["groups"] * BASE["rollout"]["group_size"] * STEPS // BASE["cold_start"]["batch"]
SMOOTH = {"schedule": "smooth", "schedule_options": {"steps": STEPS}}
ARMS = {
  "fine": {},
  "intermediate": {"reward_options": {"toolrl_correct": {"granularity": "intermediate"}}},
  "coarse": {"reward_options": {"toolrl_correct": {"granularity": "coarse"}}},
  "smooth": {"reward_options": {"toolrl_format": SMOOTH, "toolrl_correct": SMOOTH}},
  "length": {
    "reward": {**BASE["reward"], "thought_length": 1.0},
    "reward_options": {"thought_length": {"target": 4.0}},
  },
  "sft": {"cold_start": {"steps": BASE["cold_start"]["steps"] + MORE}, "train": {"steps": 0}},
}

SUCCESS = Last("eval/success")
CLAIMS = (
  Claim("the fine reward learns", arm="fine", against=BEFORE, measure=SUCCESS, direction="higher"),
  Claim(
    "the finer reward is better than all or nothing",
    arm="fine",
    against="coarse",
    measure=SUCCESS,
    direction="higher",
    published="finer beats coarser, BFCL v3",
  ),
  Claim(
    "and better than name and whole call",
    arm="fine",
    against="intermediate",
    measure=SUCCESS,
    direction="higher",
    published="finer beats coarser, BFCL v3",
  ),
  Claim(
    "all or nothing leaves more groups without spread",
    arm="coarse",
    against="fine",
    measure=Spent("rollout/flat_groups"),
    direction="higher",
  ),
  Claim(
    "a smooth schedule is better than none",
    arm="smooth",
    against="fine",
    measure=SUCCESS,
    direction="higher",
    published="53.8 against 53.0 % with 3B, BFCL v3",
  ),
  Claim(
    "a reward for length harms",
    arm="length",
    against="fine",
    measure=SUCCESS,
    direction="lower",
    published="33.2 against 46.2 % with 1.5B, BFCL v3",
  ),
  Claim(
    "the fine reward is better than demonstrations for as long",
    arm="fine",
    against="sft",
    measure=SUCCESS,
    direction="higher",
    published="some 15 points better than supervised learning (abstract)",
  ),
)

SMOKE = {"rollout": {"group_size": 6}}
