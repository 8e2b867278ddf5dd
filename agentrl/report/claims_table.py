"""results/CLAIMS.md: what recorded runs say of the claims of papers, as a page."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence

from agentrl.report.claims import BEFORE, Claim, Judgement, Verdict, judge

HEAD = """# Claims

Written by `python experiments/reproduce.py --claims`; a test holds it to the recorded runs beside it.

A claim **holds**, or is **reversed**, where a 95 % interval over seeds leaves out 0 (of costs, which are compared by
their ratio: 1); else it is **undecided**. Seeds whose arms begin with the same cold start are compared one by one, with
Student's interval of their differences; arms without such pairs by their means, with Welch's. An undecided claim says
with how many seeds a difference of this size and spread would be found four times in five: the smallest n with
n >= ((t(0.975, n - 1) + t(0.8, n - 1)) s / d)^2, where d is the mean difference and s the spread of one seed's.

Seeds that all say the same number do not tell their spread, and decide nothing. A run that never got to a value has
spent **at least** its cost: then only the order of the seeds counts, and decides where chance would give so clear an
order in 5 % of cases at most (of pairs the sign test, which six seeds can pass, else the exact rank test, which four of
each arm can).
"""
_COLUMNS = "| claim | what is compared | published | arm, other | difference or ratio (95 %) | seeds | verdict |"


def page(papers: Mapping[str, Sequence[Claim]], results: pathlib.Path) -> str:
  """The whole page.

  Args:
    papers: claims by the name of the config file, without its ending.
    results: holds a folder of recorded runs for each name.
  """
  parts = [HEAD]
  for name, claims in papers.items():
    judgements = [judge(claim, results / name) for claim in claims]
    parts.append(f"## configs/{name}.py\n\n{table(judgements)}")
  return "\n".join(parts)


def table(judgements: Sequence[Judgement]) -> str:
  """One row for each claim, as Markdown; ends with a line end."""
  rows = [_COLUMNS, "|" + "---|" * _COLUMNS[1:].count("|")]
  return "\n".join(rows + [_row(judgement) for judgement in judgements]) + "\n"


def verdicts(claims: Sequence[Claim], results: pathlib.Path) -> str:
  """One line for each claim, for a terminal."""
  return "\n".join(f"{verdict_text(judge(claim, results)).replace('*', '')}  ({claim.says})" for claim in claims)


def _row(judgement: Judgement) -> str:
  claim = judgement.claim
  other = "before RL" if claim.against == BEFORE else f"`{claim.against}`"
  cells = [
    claim.says,
    f"{claim.measure}: `{claim.arm}` {claim.direction} than {other}",
    claim.published or "(ours)",
    _means(judgement),
    _estimate(judgement),
    _seeds(judgement),
    verdict_text(judgement),
  ]
  return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def verdict_text(judgement: Judgement) -> str:
  """The verdict, and of an undecided claim why, or how many seeds would decide it."""
  if judgement.verdict is not Verdict.UNDECIDED:
    return f"**{judgement.verdict.value}**"
  return f"**undecided**: {judgement.note or _needed(judgement)}"


def _needed(judgement: Judgement) -> str:
  if math.isnan(judgement.seeds_needed):
    return "one seed"
  if math.isinf(judgement.seeds_needed):
    return "no difference that a thousand seeds would tell"
  return f"{judgement.seeds_needed:.0f} seeds would tell such a difference"


def _means(judgement: Judgement) -> str:
  if judgement.verdict is Verdict.NOT_RUN:
    return ""
  pairs = zip(judgement.means, judgement.at_least, strict=True)
  return ", ".join(f"{'at least ' if bound else ''}{mean:.4g}" for mean, bound in pairs)


def _estimate(judgement: Judgement) -> str:
  interval = judgement.interval
  if interval is None or all(judgement.at_least):
    return ""
  ratio = judgement.claim.measure.ratio
  numbers = [f"{math.exp(x):.3g}" if ratio else f"{x:+.3g}" for x in interval[:3]]
  sign = "x " if ratio else ""
  if any(judgement.at_least):
    return f"{sign}at {'least' if judgement.at_least[0] else 'most'} {numbers[0]}"
  return f"{sign}{numbers[0]}" + ("" if math.isinf(interval.low) else f" ({numbers[1]} to {numbers[2]})")


def _seeds(judgement: Judgement) -> str:
  if judgement.interval is None:
    return ""
  return f"{judgement.interval.count}" + ("" if judgement.pairs else ", unpaired")
