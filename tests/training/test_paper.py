"""A paper's arms and its claims."""

import textwrap

import pytest

from agentrl.training import config_values
from agentrl.training.paper import all_claims, arms_of, claims_of

PAPER = """
  BASE = {"seed": 3}
  ARMS = {"plain": {}, "longer": {"train": {"steps": 500}}}
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "paper.py"
  path.write_text(textwrap.dedent(PAPER))
  return path


def test_a_claim_names_arms_that_there_are(file):
  claims = """
    from agentrl.report.claims import Claim
    from agentrl.report.measures import Last
    CLAIMS = (Claim("better", "longer", "plane", Last("eval/success"), "higher"),)
  """
  assert arms_of(file) == ["plain", "longer"] and claims_of(file) == ()
  file.write_text(textwrap.dedent(PAPER) + textwrap.dedent(claims))
  with pytest.raises(config_values.ConfigError, match=r"the claim 'better' names an arm 'plane' that is not in ARMS"):
    claims_of(file)
  file.write_text(textwrap.dedent(PAPER) + textwrap.dedent(claims).replace("plane", "plain"))
  assert list(all_claims(file.parent)) == ["paper"]


@pytest.mark.parametrize(
  ("claims", "words"),
  [
    ('CLAIMS = (Claim("better", "longer", "plain", Last("eval/success"), "higher"))', "CLAIMS is a Claim; .* comma"),
    ('CLAIMS = ("better",)', "CLAIMS is a tuple; a tuple of Claim"),
    ('ARMS = ["plain", "longer"]', r'ARMS must be settings by the name of the arm, such as \{"plain": \{\}\}'),
    ('ARMS = {"plain": None}', "ARMS must be settings by the name"),
    ("ARMS = {}", "ARMS must be settings by the name"),
    ('del ARMS\nCLAIMS = [Claim("better", "a", "b", Last("eval/success"), "higher")]', "has BASE, CLAIMS and no ARMS"),
  ],
)
def test_what_are_no_arms_and_no_claims_is_told(file, claims, words):
  imports = "from agentrl.report.claims import Claim\nfrom agentrl.report.measures import Last\n"
  file.write_text(textwrap.dedent(PAPER) + imports + claims)
  with pytest.raises(config_values.ConfigError, match=rf"paper\.py.* {words}"):
    claims_of(file)


def test_one_run_is_no_paper(tmp_path):
  (tmp_path / "one.py").write_text("def get_config(smoke=False): ...")
  with pytest.raises(config_values.ConfigError, match=r"one\.py has no ARMS: it is one run, for experiments/train\.py"):
    arms_of(tmp_path / "one.py")
