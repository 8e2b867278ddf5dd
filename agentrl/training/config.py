"""Config files: what one defines, and the config of a run that it gives.

A file under configs/ is one run, and has

  def get_config(smoke=False)

that returns an `ml_collections.ConfigDict` of JSON values. Or it is a paper, and has `ARMS`, settings by the name of
the arm, the first of which is the default: `configs/X.py:ARM` names another. They lie over `BASE`, what the arms share.
`SMOKE` is what makes this paper small beyond `SMALL`, which makes every paper small; `CLAIMS` see `paper.py`.

A run that is derived from another one starts from it:

  base = config.load(pathlib.Path(__file__).with_name("quickstart.py"), smoke=smoke)
  return config_values.resolve(base, {"seed": 1}, where=__file__)
"""

import importlib.util
import os
import pathlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from agentrl.named import check_name
from agentrl.training import config_values
from agentrl.training.config_keys import entry, nearest
from agentrl.training.config_values import ConfigError
from agentrl.training.defaults import run_config

# The largest values of the variant of two steps, whatever an arm asks for.
SMALL = {
  "cold_start.steps": 2,
  "cold_start.batch": 8,
  "tuning.steps": 2,
  "tuning.batch": 8,
  "tuning.probe.samples": 2,
  "train.steps": 2,
  "train.eval_every": 2,
  "train.checkpoint_every": 1,
  "eval.tasks": 4,
  "rollout.groups": 2,
  "rollout.group_size": 2,
}
_OF_A_PAPER = ("BASE", "ARMS", "SMOKE", "CLAIMS")


def load(path: str | os.PathLike, overrides: Sequence[str] = (), *, smoke: bool = False) -> ConfigDict:
  """Reads `configs/X.py` or `configs/X.py:ARM`, applies overrides, and locks the result.

  Args:
    path: a config file; of a paper the arm behind the colon, and the first one unless there is one.
    overrides: `--config.a.b=value` strings, as `config_values.split_argv` gives them; later ones win. See
      `config_values.override`.
    smoke: asks for the variant of two steps on a CPU.

  Returns:
    A locked `ConfigDict`.

  Raises:
    ConfigError: no such file or arm, a file that is neither a run nor a paper, a value that JSON cannot hold, or a
      wrong override.
  """
  file, arm = split_arm(path)
  config = config_values.checked(_execute(file, arm, smoke), where=str(path))
  return config_values.override(config, overrides, where=str(path))


def split_arm(path: str | os.PathLike) -> tuple[pathlib.Path, str]:
  """The file and the arm of `configs/X.py:ARM`; the arm is empty where none is named."""
  text = os.fspath(path)
  file, dot_py, arm = text.rpartition(".py:")
  return (pathlib.Path(file + ".py"), arm) if dot_py else (pathlib.Path(text), "")


def read_file(file: pathlib.Path) -> ModuleType:
  """A config file as a module, run anew.

  Raises:
    ConfigError: no such file, or it is neither one run nor a paper.
  """
  if not file.is_file():
    others = sorted(str(p) for p in file.parent.glob("*.py")) if file.parent.is_dir() else []
    hint = nearest(str(file), others)
    raise ConfigError(f"there is no config file {file}" + (f"; did you mean {hint}?" if hint else ""))
  spec = importlib.util.spec_from_file_location(f"agentrl_config_{file.stem}", file)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except ConfigError:
    raise
  except ValueError as error:
    raise ConfigError(f"{file}: {error}") from error
  _check_kind(module, file)
  return module


def arm_config(base: Mapping[str, Any], arm: Mapping[str, Any], *, where: str) -> ConfigDict:
  """The config of an arm: the defaults, the base over them, and the arm over it.

  Args:
    base: settings that the arms share.
    arm: settings of this one. An arm with another algorithm than the base's begins with that algorithm's defaults.
    where: the file that says so, for errors.
  """
  return run_config(arm, where=where, base=run_config(base, where=where))


def small_arm_config(
  base: Mapping[str, Any], arm: Mapping[str, Any], smoke: Mapping[str, Any], *, where: str
) -> ConfigDict:
  """An arm's variant of two steps: `arm_config`, nothing above `SMALL`, and further settings over it.

  Args:
    base: as in `arm_config`.
    arm: as in `arm_config`.
    smoke: what makes this paper small. What it says of an algorithm or a strategy is for the base's: where the arm has
      another one, it is left out.
    where: the file that says so, for errors.
  """
  start = run_config(base, where=where)
  config = run_config(arm, where=where, base=start)
  small = {key: min(entry(config, key), most) for key, most in SMALL.items()}
  config = run_config(small, where=where, base=config)
  for key, section in config_values.SECTIONS_OF_MODULES.items():
    if entry(config, key) != entry(start, key):
      smoke = _without(smoke, section.name)
  return run_config(smoke, where=where, base=config)


def _without(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
  """Settings without the section at a dotted key."""
  name, _, rest = key.partition(".")
  inner = {name: _without(settings[name], rest)} if rest and name in settings else {}
  return {**{other: value for other, value in settings.items() if other != name}, **inner}


def _check_kind(module: ModuleType, file: pathlib.Path) -> None:
  """Raises ConfigError unless the file is one run or a paper, and not something of both."""
  defined = vars(module)
  of_a_paper = [name for name in _OF_A_PAPER if name in defined]
  if "get_config" in defined and "ARMS" in defined:
    raise ConfigError(f"{file} has ARMS and get_config: a paper's arms lie over its BASE, so leave get_config out")
  if "get_config" not in defined and "ARMS" not in defined:
    also = (
      f"{', '.join(of_a_paper)} and no ARMS" if of_a_paper else "neither ARMS nor a function get_config(smoke=False)"
    )
    raise ConfigError(f"{file} has {also}: a config file is a paper with ARMS, or one run with get_config")
  if "ARMS" in defined and not _is_named_settings(module.ARMS):
    raise ConfigError(f'{file}: ARMS must be settings by the name of the arm, such as {{"plain": {{}}}}')
  if "ARMS" in defined and "BASE" not in defined:
    raise ConfigError(f"{file} has ARMS and no BASE, what its arms share; where they share nothing, write BASE = {{}}")
  for name in ("BASE", "SMOKE"):
    if not isinstance(defined.get(name, {}), Mapping):
      raise ConfigError(f'{file}: {name} must be settings, such as {{"train": {{"steps": 100}}}}')


def _is_named_settings(arms: Any) -> bool:
  """Whether it is a mapping of names to settings, and not empty."""
  pairs = arms.items() if isinstance(arms, Mapping) else ()
  return bool(pairs) and all(isinstance(name, str) and isinstance(settings, Mapping) for name, settings in pairs)


def _execute(file: pathlib.Path, arm: str, smoke: bool) -> ConfigDict:
  module = read_file(file)
  if "ARMS" in vars(module):
    return _arm(module, file, arm or next(iter(module.ARMS)), smoke)
  if arm:
    raise ConfigError(f"{file} has no ARMS, so there is no arm {arm!r}: leave :{arm} out")
  config = module.get_config(smoke=smoke)
  if not isinstance(config, ConfigDict):
    raise ConfigError(
      f"get_config of {file} returned {type(config).__name__}; it must return an ml_collections.ConfigDict"
    )
  return config


def _arm(module: ModuleType, file: pathlib.Path, arm: str, smoke: bool) -> ConfigDict:
  try:
    check_name(module.ARMS, arm, kind="arm")
  except ValueError as error:
    raise ConfigError(f"{file}: {error}") from error
  base, settings, where = module.BASE, module.ARMS[arm], str(file)
  if smoke:
    return small_arm_config(base, settings, getattr(module, "SMOKE", {}), where=where)
  return arm_config(base, settings, where=where)
