"""ArCHer on finding one of 16 things by asking: a clone of aimless play, then critics over utterances.

Ten turns, -1 each but for the right guess. The best strategy asks what halves the candidates, and gets -3.5 on average;
the demonstrations ask at random and guess early (-4.6), and the clone of them (-5.4) also guesses what cannot be.

  python experiments/train.py --config configs/archer_sixteen.py --workdir runs/archer_sixteen

Paper: Zhou et al., 2024 (https://arxiv.org/abs/2402.19446).
Result: not recorded; in tries it rose to -4.5 in 1,200 games and fell back, since Q does not learn in time which
guesses fit the answers (LOG.md, 2026-11-21). Clipped double Q and the entropy bonus are not the paper's.
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
    "cold_start": {"steps": 400, "batch": 32, "learning_rate": 3e-3},
    "algorithm": "archer",
    "algo": {
      "critic": {"learning_rate": 1e-3, "updates": 40, "batch": 16, "dialogues": 64, "clipped_double_q": True},
      "actor": {"updates": 2, "batch": 256, "warmup": 20, "entropy_coef": 0.03},
    },
    "optimizer": {"learning_rate": 3e-4},
    "train": {"steps": 120, "eval_every": 10, "checkpoint_every": 30},
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
