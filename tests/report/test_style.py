"""One set of colours for figures and page, and a style sheet that fits what the page writes."""

import itertools
import re

import pytest
from matplotlib.colors import to_rgb

from agentrl.report import curves, style, write_report

RULES = re.findall(r"([^{}]+)\{([^{}]*)\}", style.CSS.replace("@media (max-width: 760px) {", ""))
USED = set(re.findall(r"var\(--([\w-]+)\)", style.CSS))
DEFINED = set(re.findall(r"--([\w-]+):", style.CSS))
UNSTYLED = {"observation", "strata"}  # a block like any other; what the choice of a stratum looks into


def variable(name):
  return re.search(rf"--{name}: (#[0-9a-f]{{6}})", style.CSS)[1]


def contrast_with_white(colour):
  """WCAG 2.1: 1 is none, 21 is black; 3 is asked of graphics, 4.5 of text."""
  linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
  return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_page_and_figures_share_their_colours():
  assert variable("grey") == style.GREY
  assert variable("blue") == style.COLOURS[0]
  assert variable("good") == style.COLOURS[2]


def test_curves_of_a_panel_can_be_told_apart():
  assert max(len(panel.curves) for panel in curves.PANELS) <= len(style.COLOURS)
  for one, other in itertools.combinations(style.COLOURS, 2):
    assert sum(abs(a - b) for a, b in zip(to_rgb(one), to_rgb(other), strict=True)) > 0.3, (one, other)


@pytest.mark.parametrize("colour", style.COLOURS)
def test_curves_are_seen_on_white(colour):
  assert contrast_with_white(colour) >= 3


@pytest.mark.parametrize("name", ["ink", "grey", "bad"])
def test_text_is_readable_on_white(name):
  assert contrast_with_white(variable(name)) >= 4.5


def test_every_variable_is_defined():
  unknown = USED - DEFINED
  assert unknown == {"w"}  # each token sets its own, in its style attribute


def test_every_variable_is_used():
  assert not DEFINED - USED


def test_braces_are_balanced():
  depths = list(itertools.accumulate({"{": 1, "}": -1}.get(c, 0) for c in style.CSS))
  assert min(depths) == 0
  assert depths[-1] == 0


def test_every_class_has_a_rule_and_every_rule_a_class(run_path):
  page = re.sub(r"<style>.*?</style>", "", write_report(run_path).read_text(), flags=re.DOTALL)
  written = {name for names in re.findall(r"class=[\"']([^\"']*)[\"']", page) for name in names.split()}
  styled = {name for selector, _ in RULES for name in re.findall(r"\.([a-z][\w-]*)", selector)}
  assert written - styled == UNSTYLED
  assert styled - written == set()
