"""What stands at a dotted key, and the key that was meant."""

import pytest
from ml_collections import ConfigDict

from agentrl.training.config_keys import entry, is_section, nearest, set_section, unknown_key

CONFIG = ConfigDict({"seed": 3, "algo": {"loss": {"clip_low": 0.2}, "epochs": 1}, "train": {"steps": 5}})


def test_an_entry_is_read_and_a_section_replaced():
  config = ConfigDict(CONFIG)
  assert entry(config, "") is config and entry(config, "algo.loss.clip_low") == 0.2
  set_section(config, "algo.loss", ConfigDict({"tau": 1.0}))
  set_section(config, "train", ConfigDict({"epochs": 2}))
  assert config.algo.to_dict() == {"loss": {"tau": 1.0}, "epochs": 1} and config.train.to_dict() == {"epochs": 2}


@pytest.mark.parametrize(
  ("key", "told"),
  [
    ("train.epochs", "the nearest valid one is 'algo.epochs'"),  # the same name elsewhere
    ("train.step", "the nearest valid one is 'train.steps'"),
    ("sed", "the nearest valid one is 'seed'"),
    ("train.zzz", "'train' has steps"),
    ("zzz", "there are algo, seed, train"),
  ],
)
def test_a_key_that_there_is_not_is_told_with_the_nearest(key, told):
  assert unknown_key(key, CONFIG, "x.py") == f"x.py: unknown config key {key!r}; {told}"


def test_a_value_for_a_section_is_told_its_keys():
  told = "x.py: algo is a section; set one of its keys instead: epochs, loss"
  assert is_section("algo", CONFIG.algo, "x.py") == told


def test_the_nearest_word_or_none():
  assert (nearest("entrpy", ["entropy", "kl"]), nearest("xyz", ["entropy"]), nearest("ab", ["cd"], cutoff=0.0)) == (
    "entropy", "", "cd",
  )  # fmt: skip
