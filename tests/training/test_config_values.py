"""Config files: every wrong input names the file, the key and what to write instead."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_dict

from agentrl.named import by_path
from agentrl.training import config as config_lib
from agentrl.training import config_values
from agentrl.training.config_keys import entry
from agentrl.training.config_values import ConfigError
from agentrl.training.defaults import run_config

SOURCE = """
  from ml_collections import ConfigDict, config_dict

  def get_config(smoke=False):
    c = ConfigDict()
    c.seed = 0
    c.name = "run"
    c.shuffle = True
    c.limit = None
    c.lengths = [16, 32]
    c.weights = {"correct": 1.0}
    c.ref = config_dict.placeholder(str)
    c.algo = {"name": "grpo", "bounds": {"clip_low": 0.2, "clip_high": 0.28}}
    c.steps = 2 if smoke else 100
    return c
"""


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "small.py"
  file.write_text(textwrap.dedent(SOURCE))
  return file


def test_load_reads_both_variants_and_locks(path):
  assert config_lib.load(path).steps == 100
  config = config_lib.load(path, smoke=True)
  assert config.steps == 2
  assert config.lengths == (16, 32)
  with pytest.raises(AttributeError):
    config.unheard_of = 1


@pytest.mark.parametrize(
  ("override", "read", "expected"),
  [
    ("--config.seed=3", lambda c: c.seed, 3),
    ("--config.algo.bounds.clip_high=1", lambda c: c.algo.bounds.clip_high, 1.0),
    ("algo.bounds.clip_high=3e-1", lambda c: c.algo.bounds.clip_high, 0.3),
    ("--config.shuffle=false", lambda c: c.shuffle, False),
    ("--config.name=a=b", lambda c: c.name, "a=b"),
    ("--config.name=12", lambda c: c.name, "12"),
    ("--config.lengths=(8,)", lambda c: c.lengths, (8,)),
    ("--config.lengths=[]", lambda c: c.lengths, ()),
    ("--config.limit=7", lambda c: c.limit, 7),
    ("--config.limit=many", lambda c: c.limit, "many"),
    ("--config.ref=runs/a", lambda c: c.ref, "runs/a"),
    ("--config.ref=None", lambda c: c.ref, None),
  ],
)
def test_overrides(path, override, read, expected):
  value = read(config_lib.load(path, [override]))
  assert value == expected
  assert type(value) is type(expected)


def test_later_override_wins_and_leaves_the_rest(path):
  config = config_lib.load(path, ["--config.seed=3", "--config.seed=4"])
  assert config_values.differences(config_lib.load(path), config) == [("seed", 0, 4)]


@pytest.mark.parametrize(
  ("override", "words"),
  [
    ("--config.learning_rate=3", ["'learning_rate'", "there are algo, lengths"]),
    ("--config.sed=3", ["small.py", "'sed'", "'seed'"]),
    ("--config.algo.bounds.clip_hihg=1", ["'algo.bounds.clip_hihg'", "'algo.bounds.clip_high'"]),
    ("--config.clip_high=1", ["'clip_high'", "'algo.bounds.clip_high'"]),
    ("--config.algos.name=ppo", ["'algos.name'", "'algo.name'"]),
    ("--config.seed.x=1", ["'seed.x'", "'seed'"]),
    ("--config.seed=1.5", ["seed", "int", "1.5"]),
    ("--config.seed=True", ["seed", "int", "bool"]),
    ("--config.seed=None", ["seed", "int", "NoneType"]),
    ("--config.seed=many", ["seed", "int", "'many'"]),
    ("--config.shuffle=1", ["shuffle", "bool", "int"]),
    ("--config.algo=grpo", ["algo", "section"]),
    ("--config.algo={}", ["algo", "section"]),
    ("--config.seed", ["--config.seed", "section.key=value"]),
    ("--config.limit=1e999", ["limit", "inf"]),
  ],
)
def test_a_wrong_override_is_named(path, override, words):
  with pytest.raises(ConfigError) as error:
    config_lib.load(path, [override])
  assert all(word in str(error.value) for word in words), str(error.value)


def task_config(**options):
  """Defaults without options, and a config over them that sets some."""
  defaults = {"task": {"family": "x", "options": {}}, "reward": {}}
  return config_values.resolve(
    config_values.resolve({}, defaults, where="a"), {"task": {"options": options}}, where="b"
  )


@pytest.mark.parametrize(
  ("override", "expected"),
  [
    ("--config.task.options.seed=3", {"database": "geography", "seed": 3}),
    ("--config.task.options.database=flights", {"database": "flights"}),
    ('--config.task.options={"steps": 8}', {"steps": 8}),
    ("--config.task.options={}", {}),
    ("--config.task.options.a.b=python", {"database": "geography", "a": {"b": "python"}}),
  ],
)  # fmt: skip
def test_options_take_any_key(override, expected):
  config = task_config(database="geography")
  changed = config_values.override(config, [override], where="c")
  assert changed.task.options.to_dict() == expected
  assert config.task.options.to_dict() == {"database": "geography"} and changed.is_locked


RULE = [  # an override, and the same in a derived config
  ("--config.task.options.seed=3", {"task.options.seed": 3}),
  ("--config.task.options.a.b=python", {"task.options.a.b": "python"}),
  ('--config.task.options={"steps": 8}', {"task": {"options": {"steps": 8}}}),
  ('--config.task.options={"steps": 8}', {"task.options": {"steps": 8}}),
  ("--config.task.options={}", {"task": {"options": {}}}),
  ('--config.reward={"economy": 0.5}', {"reward": {"economy": 0.5}}),
  ("--config.reward.economy=0.5", {"reward.economy": 0.5}),
  ("--config.task.tool=sql", {"task": {"tool": "sql"}}),
  ("--config.task.tool=sql", {"task.tool": "sql"}),
  ("--config.rollout.entropy_window=5", {"rollout": {"entropy_window": 5}}),
  ("--config.algorithm=ppo", {"algorithm": "ppo"}),
]


@pytest.mark.parametrize(("override", "derived"), RULE)
def test_a_command_line_and_a_derived_config_merge_alike(override, derived):
  settings = {"task": {"options": {"database": "geography"}}, "reward": {"correct": 1.0}, "algo": {"kl_coef": 0.5}}
  base = run_config(settings, where="base")
  typed = config_values.override(base, [override], where="typed")
  assert config_values.differences(typed, run_config(derived, where="derived", base=base)) == []
  assert config_values.differences(typed, base) != []


@pytest.mark.parametrize("derived", [{"task.optoins.a": 1}, {"task.tool.a": 1}, {"rollout.strategyy": "x"}])
def test_a_dotted_key_that_is_not_there_is_named(derived):
  with pytest.raises(ConfigError, match=f"here: unknown config key '{next(iter(derived))}'; the nearest valid one is"):
    run_config(derived, where="here")


def test_an_import_path_may_be_a_key():
  path = "my_project.rewards:toolrl"
  config = config_values.resolve({"reward": {}, "reward_options": {}}, {"reward": {path: 1.0, "correct": 2}}, where="a")
  config = config_values.resolve(config, {"reward_options": {path: {"most": 3}}}, where="b")
  assert by_path(config.reward) == {path: 1.0, "correct": 2}
  assert by_path(config.reward_options.to_dict()) == {path: {"most": 3}}
  assert config_values.from_json(config_values.to_json(config)) == config
  for override in (f'--config.reward={{"{path}": 0.5}}', f"--config.reward.{path}=0.5"):
    assert by_path(config_values.override(config, [override], where="c").reward)[path] == 0.5
  inner = [f"--config.reward_options.{path}.{name}=5" for name in ("most", "b.c")]
  typed = config_values.override(config, inner, where="d")
  assert by_path(typed.reward_options.to_dict()) == {path: {"most": 5, "b": {"c": 5}}}


def test_the_settings_of_a_loss_take_the_place_of_those_of_another_loss():
  settings = {"algo": {"loss": {"clip_low": 0.2}, "correction_options": {"cap": 2.0}, "reduction_options": {"a": 1.0}}}
  base = run_config(settings, where="base")
  mine = {"policy_loss": "my_project.losses:mine", "loss": {"tau": 2.0}, "correction_options": {}}
  derived = run_config({"algo": {**mine, "reduction_options": {"constant": 8.0}}}, where="derived", base=base).algo
  assert derived.loss.to_dict() == {"tau": 2.0} and derived.correction_options.to_dict() == {}
  assert derived.reduction_options.to_dict() == {"constant": 8.0}
  typed = config_values.override(base, ["--config.algo.loss={}", "--config.algo.loss.tau=2.0"], where="typed").algo
  assert typed.loss.to_dict() == {"tau": 2.0}


@pytest.mark.parametrize(
  ("overrides", "key", "expected"),
  [
    (["algo.kl_coef=0.1", "algorithm=ppo"], "algo.kl_coef", 0.1),
    (["strategy.candidates=7", "rollout.strategy=reranked"], "strategy.candidates", 7),
    (["cold_start.algo.epochs=3", "cold_start.algorithm=ppo"], "cold_start.algo.epochs", 3),
    (["algo.loss.clip_low=0.1", "algo.policy_loss=gspo", "algorithm=ppo"], "algo.loss", {"clip_low": 0.1}),
    (["algo.loss.tau=2.0", "algo.loss={}", "algo.policy_loss=gspo"], "algo.loss", {}),
    (["algo.policy_loss=gspo", "algo.policy_loss=ppo"], "algo.loss", {"clip_low": 0.3}),  # the choice of the base
    (["task.options.steps=8", "task.family=sql_qa"], "task.options", {"steps": 8}),
  ],
)
def test_the_order_of_overrides_does_not_matter_to_what_a_choice_brings(overrides, key, expected):
  settings = {"algo": {"loss": {"clip_low": 0.3}}, "task": {"options": {"digits": 4}}}
  base = run_config(settings, where="base")
  for order in (overrides, sorted(overrides, key=lambda text: "loss={}" in text)):
    value = entry(config_values.override(base, [f"--config.{text}" for text in order], where="typed"), key)
    assert (value.to_dict() if isinstance(value, ConfigDict) else value) == expected


@pytest.mark.parametrize("reverse", [False, True])
def test_each_order_of_a_choice_and_a_setting_of_it_gives_the_same(reverse):
  overrides = ["--config.algo.kl_coef=0.1", "--config.algorithm=ppo", "--config.algo.policy_loss=gspo"]
  config = config_lib.load("configs/quickstart.py", overrides[::-1] if reverse else overrides)
  assert (config.algorithm, config.algo.kl_coef, config.algo.policy_loss) == ("ppo", 0.1, "gspo")


@pytest.mark.parametrize(
  ("choice", "section"),
  [
    ("algo.policy_loss=ppo", "algo.loss"),
    ("algo.credit=opo", "algo.credit_options"),
    ("algo.reduction=token_mean", "algo.reduction_options"),
    ("algo.correction=none", "algo.correction_options"),
    ("cold_start.algo.reduction=sequence_mean", "cold_start.algo.reduction_options"),
    ("task.family=sql_qa", "task.options"),
    ("task.tool=python", "task.tool_options"),
    ("curriculum.name=uniform", "curriculum.options"),
  ],
)
def test_the_settings_of_a_choice_do_not_pass_to_another_one(choice, section):
  key, name = choice.split("=")
  chosen = {"algo": {"policy_loss": "gspo", "correction": "truncated"}, "curriculum": {"name": "my_project:mine"}}
  base = run_config(chosen, where="base")
  base = config_values.resolve(base, {section: {"clip": 3e-4}}, where="base")
  assert entry(base, section).to_dict() == {"clip": 3e-4}
  for changed in (
    config_values.override(base, [f"--config.{choice}"], where="typed"),
    config_values.resolve(base, {key: name}, where="new"),
  ):
    assert entry(changed, section).to_dict() == {}
  same = config_values.override(base, [f"--config.{key}={entry(base, key)}"], where="typed")
  assert entry(same, section).to_dict() == {"clip": 3e-4}
  given = config_values.resolve(base, {key: name, section: {"own": 1}}, where="new")
  assert entry(given, section).to_dict() == {"own": 1}


@pytest.mark.parametrize("text", ["3", "{1: 2", "database"])
def test_options_as_a_whole_are_a_mapping(text):
  with pytest.raises(ConfigError, match=r"task.options is a section: set one of its keys, .*KEY=VALUE"):
    config_values.override(task_config(), [f"--config.task.options={text}"], where="c")


def test_split_argv():
  argv = ["--workdir", "runs/a", "--config.seed=1", "--smoke", "--config.name=b"]
  assert config_values.split_argv(argv) == (["--config.seed=1", "--config.name=b"], ["--workdir", "runs/a", "--smoke"])


def test_a_space_does_for_the_equals_sign():
  argv = ["--config.seed", "1", "--smoke", "--config.name"]
  assert config_values.split_argv(argv) == (["--config.seed=1", "--config.name"], ["--smoke"])


def test_another_algorithm_brings_its_own_defaults():
  config = config_lib.load("configs/quickstart.py", ["--config.algorithm=ppo", "--config.algo.value_coef=0.9"])
  assert config.algorithm == "ppo" and config.algo.value_coef == 0.9 and "value_clip" in config.algo
  same = config_lib.load("configs/quickstart.py", ["--config.algorithm=grpo"])
  assert same.algo == config_lib.load("configs/quickstart.py").algo


@pytest.mark.parametrize(
  ("override", "told"),
  [
    ("optimizer.lr=3", r"unknown config key 'optimizer\.lr'; 'optimizer' has .*learning_rate, "),
    ("optimizer.learning_rate=nan", r"learning_rate must be of type float, written as 0\.5 or 1e-3, and 'nan' is not"),
    ("filters=foo", r"""filters must be of type tuple, written as "\('a', 'b'\)", and 'foo' is not"""),
    ("model.layers=two", "layers must be of type int, written as 3, and 'two' is not"),
    ("rollout.compiled=yes", "compiled must be of type bool, written as true, and 'yes' is not"),
  ],
)
def test_a_wrong_override_is_told_what_would_be_right(override, told):
  with pytest.raises(ConfigError, match=told):
    config_lib.load("configs/quickstart.py", [f"--config.{override}"])


def test_the_algorithm_of_the_cold_start_brings_its_own_defaults():
  base = run_config({"cold_start": {"algo": {"epochs": 2}}}, where="test")
  assert (base.cold_start.algo.epochs, base.cold_start.algo.top_share, base.algo.epochs) == (2, 1.0, 1)
  ppo = config_values.resolve(base, {"cold_start": {"algorithm": "ppo", "algo": {"value_coef": 0.25}}}, where="test")
  assert ppo.cold_start.algo.value_coef == 0.25 and "top_share" not in ppo.cold_start.algo and ppo.algo == base.algo
  changed = config_values.override(base, ["--config.cold_start.algo.reduction_options.constant=3.0"], where="test")
  assert changed.cold_start.algo.reduction_options.constant == 3.0
  with pytest.raises(ConfigError, match=r"unknown config key 'cold_start.algo.epocs'; .*'cold_start.algo.epochs'"):
    config_values.resolve(base, {"cold_start": {"algo": {"epocs": 2}}}, where="test")
  assert config_values.from_json(config_values.to_json(ppo)) == ppo


def test_resolve_checks_nested_keys_and_leaves_its_inputs_alone():
  defaults = ConfigDict({"loss": {"clip": 0.2}, "weights": {}, "epochs": 1})
  merged = config_values.resolve(defaults, {"loss": {"clip": 1}, "weights": {"economy": 0.1}}, where="algo")
  assert merged.to_dict() == {"loss": {"clip": 1.0}, "weights": {"economy": 0.1}, "epochs": 1}
  assert defaults.to_dict() == {"loss": {"clip": 0.2}, "weights": {}, "epochs": 1}
  with pytest.raises(ConfigError, match=r"algo: unknown config key 'loss.clap'; the nearest valid one is 'loss.clip'"):
    config_values.resolve(defaults, {"loss": {"clap": 1}}, where="algo")
  with pytest.raises(ConfigError, match="'epoch'"):
    config_values.resolve(defaults, ConfigDict({"epoch": 1}), where="algo")


def test_placeholders_keep_their_type_through_resolve():
  defaults = ConfigDict({"limit": config_dict.placeholder(int)})
  once = config_values.resolve(defaults, {}, where="a")
  assert config_values.resolve(once, {"limit": 3}, where="a").limit == 3
  with pytest.raises(ConfigError, match="int"):
    config_values.resolve(once, {"limit": "3"}, where="a")


def test_differences_name_each_key():
  old, new = {"a": 1, "b": {"c": 2, "e": 1}, "f": 1}, {"a": 1, "b": {"c": 3, "d": 4}, "f": 1.0}
  absent = config_values.ABSENT
  assert config_values.differences(old, new) == [("b.c", 2, 3), ("b.d", absent, 4), ("f", 1, 1.0), ("b.e", 1, absent)]


finite = st.floats(allow_nan=False, allow_infinity=False)
json_leaves = st.none() | st.booleans() | st.integers() | finite | st.text(max_size=4)
names = st.text("abcdefgh_", min_size=1, max_size=4)
configs = st.dictionaries(
  names,
  st.recursive(json_leaves | st.lists(json_leaves, max_size=3), lambda leaf: st.dictionaries(names, leaf, max_size=3)),
)


@settings(max_examples=30)
@given(configs)
def test_json_round_trip(values):
  config = config_values.resolve({}, values, where="test")
  again = config_values.from_json(config_values.to_json(config))
  assert config_values.differences(config, again) == []
  assert config_values.to_json(again) == config_values.to_json(config)
