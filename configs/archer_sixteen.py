"""ArCHer on finding one of 16 things by asking: a clone of aimless play, then critics over utterances.

Ten turns, -1 each but for the right guess. The best strategy asks what halves the candidates, and gets -3.5 on average;
the demonstrations ask at random and guess early (-4.6), and so does the clone of them.

  python experiments/train.py --config configs/archer_sixteen.py --workdir runs/archer_sixteen

The baselines beside this file may begin with the clone of a run of their seed:
--config.cold_start.run=runs/archer_sixteen.

Paper: Zhou et al., 2024 (https://arxiv.org/abs/2402.19446). Clipped double Q, and a Q that sees likelihoods, are not
the paper's; without the latter nothing was learned here (LOG.md, 2026-11-21).
Result: -4.9, -4.7, -4.7 to -3.7, -3.7, -3.6 in 2,560 games (seeds 0, 1, 2); first at -3.89, 90 % of the optimum, after
1,120, 1,120 and 1,440, where PPO needs 11,520, 6,400 and 7,680; results/archer_sixteen/.
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
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
    "reward": {"return": 0.0},  # the turns carry it; the part is recorded all the same
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
  if smoke:
    settings["cold_start"] |= {"steps": 1, "batch": 4}
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 1}
    settings["eval"] = {"tasks": 2}
    settings["rollout"] |= {"groups": 2}
    settings["algo"]["critic"] |= {"updates": 2, "batch": 4, "dialogues": 4}
    settings["algo"]["actor"] |= {"updates": 1, "batch": 4, "warmup": 1}
  return run_config(settings, where=__file__)
