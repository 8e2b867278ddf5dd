import importlib
import sys

import pytest

from agentrl.named import by_name, check_name, check_takes, module_by_name, noting, settings_of, with_settings

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
  with pytest.raises(ValueError, match=r"algo\.loss\.tao: did you mean 'tau'\? smooth takes tau"):
    with_settings(sapo, {"tao": 2.0}, section="algo.loss", called="smooth")
  with pytest.raises(ValueError, match=r"algo\.loss\.tau: <lambda> takes no settings"):
    with_settings(lambda logp: logp, {"tau": 2.0}, section="algo.loss")


DUE = ("logp", "mask")


def test_a_function_that_can_be_called_so_is_welcome():
  for function in (
    lambda logp, mask: 0, lambda a, b, *, tau=1.0: 0, lambda a, b, c=None: 0, lambda *arrays: 0, lambda a, mask, /: 0,
  ):  # fmt: skip
    check_takes(function, DUE, named="it")
  check_takes(lambda *, tau=1.0: 0, (), named="it")


@pytest.mark.parametrize(
  ("function", "told"),
  [
    (lambda logp: 0, r"^it takes \(logp\), and is called with \(logp, mask\)"),
    (lambda logp, mask, more: 0, r"^it takes \(logp, mask, more\), and is called with \(logp, mask\)"),
    (lambda mask, logp: 0, r"^it takes \(mask, logp\), and is called with \(logp, mask\)"),
    (lambda *, tau=1.0: 0, r"^it takes \(no positional argument\), and is called with \(logp, mask\)"),
    (3.0, "^it must be a function, not a float"),
  ],
)
def test_a_function_that_cannot_be_called_so_is_refused(function, told):
  with pytest.raises(ValueError, match=told):
    check_takes(function, DUE, named="it")


def test_what_a_function_takes_is_checked_where_its_name_is_resolved(own):
  with pytest.raises(ValueError, match=rf"'{own}:sapo' takes \(logp\), and is called with \(logp, mask"):
    by_name({}, f"{own}:sapo", kind="policy loss", takes=DUE)
  with pytest.raises(ValueError, match=r"the term '.*' takes \(logp\), and is called with \(settings alone\)"):
    by_name({}, f"{own}:sapo", kind="term", takes=())


def typed(x, *, k: int = 2, share: float = 0.5, on: bool = True, name: str = "a", most: int | None = None,
          need: "float", bound: "float | None" = 2.0, plain=3, free=None, many=(1,)):  # fmt: skip
  return k, share, most, need, bound, free, many


@pytest.mark.parametrize(
  ("given", "told"),
  [
    ({"k": 2.5}, "x.k of typed must be of type int, not float: 2.5"),
    ({"k": "x"}, "x.k of typed must be of type int, not str: 'x'"),
    ({"k": True}, "x.k of typed must be of type int, not bool"),
    ({"k": None}, "x.k of typed must be of type int, not NoneType"),
    ({"share": "0.5"}, "x.share of typed must be of type float, not str"),
    ({"share": True}, "x.share of typed must be of type float, not bool"),
    ({"on": 1}, "x.on of typed must be of type bool, not int"),
    ({"name": 1}, "x.name of typed must be of type str, not int"),
    ({"most": 1.5}, "x.most of typed must be of type None or int, not float"),
    ({"need": "1"}, "x.need of typed must be of type float, not str"),
    ({"bound": "1"}, "x.bound of typed must be of type None or float, not str"),
    ({"plain": 0.5}, "x.plain of typed must be of type int, not float"),
  ],
)
def test_a_setting_of_another_type_is_named(given, told):
  with pytest.raises(ValueError, match=f"^{told}"):
    with_settings(typed, {"need": 1.0, **given}, section="x")


def test_settings_of_the_right_types_pass():
  settings = {"k": 3, "share": 1, "most": 4, "need": 2, "bound": None, "free": "any", "many": [2]}
  found = with_settings(typed, settings, section="x")(0)
  assert found == (3, 1.0, 4, 2.0, None, "any", [2]) and isinstance(found[1], float) and isinstance(found[3], float)


def test_a_setting_that_is_no_keyword_only_argument_says_where_settings_stand():
  def scaled(value, by=2.0):
    return by * value

  with pytest.raises(ValueError, match=r"x\.by: 'by' is no setting of scaled.* stand behind a `\*`: def scaled"):
    with_settings(scaled, {"by": 2.0}, section="x")


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
