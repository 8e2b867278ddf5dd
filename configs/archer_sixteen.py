"""ArCHer on finding one of 16 things by asking: a clone of aimless play, then critics over whole utterances.

Ten turns, -1 each but for the right guess. The best strategy asks what halves the candidates, and gets -3.5 on average;
the demonstrations ask at random and guess early (-4.6), and so does the clone of them. ArCHer's critics learn from a
replay of turns what an utterance is worth, and the policy's tokens get their utterance's advantage.

  archer       the method
  ppo          token-level PPO: the turns' rewards on their last tokens, a critic on every token
  reinforce    the return of the whole game, less the mean of others about the same thing
  chai         the policy stays the clone, and says the best of five utterances by ArCHer's critics: games are played so
               from the first, and evaluations too, but for the one before RL. As in ArCHer V is of the clone's own
               utterances: it says what they are worth to a clone that goes on without re-ranking
  filtered_bc  the tenth of the games with the highest returns is cloned

  python experiments/reproduce.py configs/archer_sixteen.py
  python experiments/train.py --config configs/archer_sixteen.py:ppo --workdir runs/ppo

Paper: Zhou et al., 2024 (https://arxiv.org/abs/2402.19446), and for the arms Schulman et al., 2017
(https://arxiv.org/abs/1707.06347), Ahmadian et al., 2024 (https://arxiv.org/abs/2402.14740), Verma et al., 2022
(https://arxiv.org/abs/2204.08426). Clipped double Q, and a Q that sees likelihoods, are not the paper's; without the
latter nothing was learned here (LOG.md, 2026-11-21). CHAI is unlike the paper's code, which re-ranks V's utterances
too, and by the target critic.
Result (seeds 0, 1, 2; results/archer_sixteen): from -4.9, -4.7, -4.7 ArCHer gets to -3.7, -3.7, -3.6 in 2,560 games;
first at -3.89, 90 % of the optimum, after 1,120, 1,120 and 1,440, where PPO needs 11,520, 6,400 and 7,680. In 25,600
games PPO and REINFORCE get to -3.5, -3.5, -3.6. CHAI is at -3.7, -3.9, -3.6 after 160 games, and then between -3.6 and
-4.7: -4.0, -4.4, -4.3 after 960. Filtered cloning falls to -6.8, -7.6, -6.9 in 6,400: lucky guesses have the highest
returns.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import AtEqual, CostToReach, Last

BASE = {
  "model": {"layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 192, "vocabulary": 512},
  "chat": {"style": "dialogue"},
  "task": {
    "family": "twenty_questions",
    "tool": "",
    "options": {"table": "sixteen", "demonstrator": "random", "guess_share": 0.5, "turns": 10},
  },
  "rollout": {"groups": 32, "group_size": 1, "max_tokens": 144, "max_turns": 10, "turn_tokens": 12},
  "engine": {"slots": 32, "decode_tokens": 12, "feed_tokens": 128, "prefill_tokens": 64, "prefill_rows": 4},
  "pack": {"row_tokens": 144, "row_actions": 120, "rows": 16},
  "reward": {"turn_rewards": 1.0},
  "cold_start": {"steps": 1600, "batch": 64, "learning_rate": 3e-3, "schedule": "linear"},
  "algorithm": "archer",
  "algo": {
    "critic": {
      "learning_rate": 1e-3,
      "updates": 40,
      "batch": 16,
      "dialogues": 64,
      "clipped_double_q": True,
      "likelihood": True,
    },
    "actor": {"updates": 2, "batch": 256, "warmup": 15},
  },
  # At a constant rate the actor outpaced its critics after 1,500 games, and fell back.
  "optimizer": {"learning_rate": 3e-4, "schedule": "linear"},
  "train": {"steps": 80, "eval_every": 5, "checkpoint_every": 20},
  "eval": {"tasks": 160},
}

ARMS = {
  "archer": {},
  "ppo": {
    "algorithm": "ppo",
    # Returns are large beside the clone's first values: the critic learns them first, fast, and off the trunk.
    "algo": {"minibatches": 2, "value_detach": True, "value_clip": 10.0, "credit_options": {"gae_lambda": 0.98}},
    "optimizer": {"learning_rate": 2e-4, "schedule": "constant", "value_rate": 10.0, "value_warmup": 40},
    "rollout": {"groups": 64},
    "train": {"steps": 400, "eval_every": 20},
  },
  "reinforce": {
    "algorithm": "grpo",
    "algo": {"credit": "leave_one_out", "policy_loss": "reinforce", "reduction": "sequence_sum_norm"},
    "reward": {"return": 1.0},
    "rollout": {"groups": 16, "group_size": 4},
    "optimizer": {"learning_rate": 3e-4, "schedule": "constant"},
    "train": {"steps": 400, "eval_every": 20},
  },
  "chai": {
    "rollout": {"strategy": "reranked"},
    "strategy": {"candidates": 5},
    "algo": {"actor": {"updates": 0}},
    "train": {"steps": 30},
  },
  "filtered_bc": {
    "algorithm": "sft",
    "algo": {"top_share": 0.1},
    "reward": {"return": 1.0},
    "optimizer": {"learning_rate": 5e-4, "schedule": "constant"},
    "rollout": {"groups": 64},
    "train": {"steps": 100, "eval_every": 10},
  },
}

GAMES, RETURN = "rollout/trajectories", "eval/reward/return"
NEAR_OPTIMUM = CostToReach(cost=GAMES, metric=RETURN, threshold=-3.89)  # 90 % of the best strategy's -3.5

CLAIMS = (
  Claim(
    "critics of utterances need fewer games than token-level PPO",
    arm="archer",
    against="ppo",
    measure=NEAR_OPTIMUM,
    direction="lower",
    published="about 100 times fewer (abstract, figure 3)",
  ),
  Claim(
    "and fewer than REINFORCE",
    arm="archer",
    against="reinforce",
    measure=NEAR_OPTIMUM,
    direction="lower",
  ),
  Claim(
    "they stay there after fewer games than PPO",
    arm="archer",
    against="ppo",
    measure=CostToReach(cost=GAMES, metric=RETURN, threshold=-3.89, held=True),
    direction="lower",
  ),
  Claim(
    "an actor that is trained is better than re-ranking by the same critics",
    arm="archer",
    against="chai",
    measure=Last(RETURN),
    direction="higher",
    published="ahead of CHAI (figure 3)",
  ),
  Claim(
    "it is better than filtered cloning",
    arm="archer",
    against="filtered_bc",
    measure=AtEqual(metric=RETURN, cost=GAMES),
    direction="higher",
    published="ahead of filtered cloning (figure 3)",
  ),
  Claim(
    "filtered cloning improves on the clone",
    arm="filtered_bc",
    against=BEFORE,
    measure=Last(RETURN),
    direction="higher",
  ),
)

SMOKE = {
  "cold_start": {"steps": 1, "batch": 4},
  "eval": {"tasks": 2},
  "algo": {
    "critic": {"updates": 2, "batch": 4, "dialogues": 4},
    "actor": {"batch": 4, "warmup": 1},
  },
}
