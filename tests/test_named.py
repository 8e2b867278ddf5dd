import importlib
import sys

import pytest

from agentrl.named import by_name, check_name, module_by_name, noting, settings_of, with_settings

LOSSES = {"ppo": 1, "gspo": 2}


@pytest.fixture
def own(tmp_path, monkeypatch):
  """A module that is not ours, on the path."""
  (tmp_path / "my_project_of_names.py").write_text("def sapo(logp, *, tau=1.0): return logp * tau\n")
  (tmp_path / "my_broken_one.py").write_text("import nowhere_to_be_found\n")
  monkeypatch.syspath_prepend(tmp_path)
  importlib.invalidate_caches()
  yield "my_project_of_names"
  for name in ("my_project_of_names", "my_broken_one"):
    sys.modules.pop(name, None)


def test_gives_the_entry():
  assert by_name(LOSSES, "gspo", kind="policy loss") == 2


def test_an_unknown_name_is_answered_with_the_nearest_and_all():
  with pytest.raises(ValueError, match=r"no policy loss is called 'gpso': did you mean 'gspo'\? known: gspo, ppo"):
    by_name(LOSSES, "gpso", kind="policy loss")
  with pytest.raises(ValueError, match="called 'xxxx': known: gspo, ppo; one of yours is written as its import path"):
    by_name(LOSSES, "xxxx", kind="policy loss")


def test_an_import_path_leads_to_a_function_of_somebody_elses(own):
  sapo = by_name(LOSSES, f"{own}:sapo", kind="policy loss")
  assert settings_of(sapo) == {"tau": 1.0}
  assert with_settings(sapo, {"tau": 2.0}, section="algo.loss")(3.0) == 6.0


def test_a_wrong_import_path_says_what_is_wrong(own):
  with pytest.raises(ValueError, match=r"has no 'sappo', which the policy loss .* names; did you mean 'sapo'\?"):
    by_name(LOSSES, f"{own}:sappo", kind="policy loss")
  with pytest.raises(ModuleNotFoundError, match=r"no module 'not_there' for the policy loss 'not_there': is the fol"):
    by_name(LOSSES, "not_there:sapo", kind="policy loss")
  with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):  # its own trouble, told as it is
    by_name(LOSSES, "my_broken_one:sapo", kind="policy loss")


def test_a_setting_that_a_function_has_not_is_answered_with_the_nearest(own):
  sapo = by_name(LOSSES, f"{own}:sapo", kind="policy loss")
  with pytest.raises(ValueError, match=r"algo\.loss\.tao: did you mean 'tau'\? sapo takes tau"):
    with_settings(sapo, {"tao": 2.0}, section="algo.loss")
  with pytest.raises(ValueError, match=r"algo\.loss\.tau: <lambda> takes no settings"):
    with_settings(lambda logp: logp, {"tau": 2.0}, section="algo.loss")


def test_a_setting_that_a_function_needs_is_asked_for():
  def scaled(value, *, by, plus=0.0):
    return by * value + plus

  assert with_settings(scaled, {"by": 2.0}, section="algo.credit_options")(3.0) == 6.0
  with pytest.raises(ValueError, match=r"algo\.credit_options lacks by, which scaled needs"):
    with_settings(scaled, {"plus": 1.0}, section="algo.credit_options")


def test_modules_are_found_by_name_and_by_import_path(own):
  table = ("decoder", "encoder")
  assert module_by_name(table, "decoder", kind="codec", package="json").__name__ == "json.decoder"
  assert module_by_name({"abc": "json.encoder"}, "abc", kind="codec").__name__ == "json.encoder"
  assert module_by_name(table, own, kind="codec", package="json", needs=("sapo",)).__name__ == own
  with pytest.raises(ValueError, match=rf"the module '{own}' is no codec: it lacks make"):
    module_by_name(table, own, kind="codec", package="json", needs=("sapo", "make"))
  with pytest.raises(ValueError, match=r"no codec is called 'decodr': did you mean 'decoder'\? known: decoder, enc"):
    module_by_name(table, "decodr", kind="codec", package="json")
  with pytest.raises(ModuleNotFoundError, match=r"no module 'my_projec' for the codec 'my_projec\.x'"):
    module_by_name(table, "my_projec.x", kind="codec", package="json")


def test_names_without_functions_are_checked_alike():
  check_name(("ppo", "gspo"), "ppo", kind="loss")
  with pytest.raises(ValueError, match=r"no loss is called 'gpso': did you mean 'gspo'\? known: gspo, ppo$"):
    check_name(("ppo", "gspo"), "gpso", kind="loss")


def test_an_error_of_somebody_s_function_says_whose_it_was():
  with pytest.raises(KeyError) as error, noting("in algo.credit='mine'"):
    {}["x"]
  assert error.value.__notes__ == ["in algo.credit='mine'"]
