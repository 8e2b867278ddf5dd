"""Runs a paper: its arms x seeds, recorded, drawn, and its claims judged.

  python experiments/reproduce.py configs/quickstart.py --smoke                       all of it, in two steps a run
  python experiments/reproduce.py configs/archer_sixteen.py --seeds 5 --arms archer,ppo
  python experiments/reproduce.py --claims                                            results/CLAIMS.md, of all papers

Runs go to runs/PAPER, their recorded forms to results/PAPER beside the paper's folder configs/, with figures and a
table (with --smoke, of one seed, to runs/PAPER_smoke and runs/PAPER_smoke/results, which are made anew). Killed at any
instant, the same command goes on; seeds that are recorded are not run again. --config.key=value changes a setting of
all runs.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import sys
from collections.abc import Sequence

from agentrl.report import claims_table
from agentrl.report.claims import Claim, runs_of
from agentrl.report.paper import write_paper
from agentrl.report.recorded import record
from agentrl.training import reproduce
from agentrl.training.arms_progress import ArmsProgress, label
from agentrl.training.command_line import EXPECTED, run_command
from agentrl.training.config_values import split_argv
from agentrl.training.disk import write_atomically
from agentrl.training.lock import alone_in
from agentrl.training.paper import all_claims, arms_of, claims_of

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "results"


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  overrides, rest = split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("paper", nargs="?", type=pathlib.Path, help="a file under configs/ that has ARMS")
  parser.add_argument("--seeds", type=int, help="of each arm: 0, 1 and so on; 5 unless given, with --smoke one")
  parser.add_argument("--arms", help="some of them, with commas; all unless given")
  parser.add_argument("--workdir", type=pathlib.Path, help="folder of the run folders")
  parser.add_argument("--out", type=pathlib.Path, help="folder of the recorded runs")
  parser.add_argument("--jobs", type=int, help="processes at a time; a core each unless given, one on an accelerator")
  parser.add_argument("--smoke", action="store_true", help="the variant of two steps of each run")
  parser.add_argument("--claims", action="store_true", help="write results/CLAIMS.md from what is recorded")
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(rest)
  if (arguments.paper is None) != arguments.claims:
    parser.error("name a paper, configs/PAPER.py, or --claims")
  arguments.seeds = (1 if arguments.smoke else 5) if arguments.seeds is None else arguments.seeds
  if arguments.seeds < 1 or (arguments.jobs is not None and arguments.jobs < 1):
    parser.error("--seeds and --jobs are 1 or more")
  return run_command(
    write_claims if arguments.claims else (lambda: run(arguments, overrides)),
    traceback=arguments.traceback,
    interrupted="The same command goes on.",
    expected=(*EXPECTED, reproduce.RunsFailed, reproduce.NoBackend),
  )


def write_claims() -> None:
  """Writes results/CLAIMS.md."""
  page = claims_table.page(all_claims(ROOT / "configs"), RESULTS)
  write_atomically(RESULTS / "CLAIMS.md", page.encode())
  print(f"Wrote {RESULTS / 'CLAIMS.md'}")


def run(arguments: argparse.Namespace, overrides: list[str]) -> None:
  """Runs what is not recorded yet, records it, and writes the page of the paper."""
  names, claims = arms_of(arguments.paper), claims_of(arguments.paper)
  chosen = arguments.arms.split(",") if arguments.arms else names
  name = arguments.paper.stem + ("_smoke" if arguments.smoke else "")
  workdir = arguments.workdir or pathlib.Path("runs") / name
  out = arguments.out or (workdir / "results" if arguments.smoke else results_of(arguments.paper))
  runs = reproduce.plan(
    arguments.paper, chosen, range(arguments.seeds), workdir, overrides=overrides, smoke=arguments.smoke
  )
  with alone_in(workdir, otherwise="give another --workdir"):
    if arguments.smoke and arguments.workdir is None:
      empty(workdir)  # the paper may have changed since
    with alone_in(out, otherwise="give another --out"):
      check_judged(arguments.paper, names, claims, out, overrides=overrides, smoke=arguments.smoke)
      run_missing(runs, claims, out, jobs=arguments.jobs)
      for file in write_paper(out, shown(arguments.paper), names, claims):
        print(f"Wrote {file}")
  print(claims_table.verdicts(claims, out))
  if is_ours(arguments.paper) and out.resolve().parent == RESULTS:
    write_claims()


def is_ours(paper: pathlib.Path) -> bool:
  """Whether a paper is one of this checkout's, whose claims stand in results/CLAIMS.md."""
  return paper.resolve().parent == ROOT / "configs"


def results_of(paper: pathlib.Path) -> pathlib.Path:
  """Where its recorded runs go unless told otherwise: results/NAME beside the folder configs/ that it stands in.

  A paper that stands in a folder of another name has results/NAME beside itself.
  """
  folder = paper.resolve().parent
  return (folder.parent if folder.name == "configs" else folder) / "results" / paper.stem


def shown(paper: pathlib.Path) -> str:
  """How a page names the file of a paper: below the checkout where it is one of ours, else as it was given."""
  return f"configs/{paper.name}" if is_ours(paper) else str(paper)


def empty(folder: pathlib.Path) -> None:
  """Removes what an earlier run left in a folder, but for what keeps other processes out."""
  for left in folder.iterdir():
    if left.is_dir():
      shutil.rmtree(left)
    elif left.name != ".lock":
      left.unlink()


def check_judged(
  file: pathlib.Path,
  names: list[str],
  claims: tuple[Claim, ...],
  out: pathlib.Path,
  *,
  overrides: list[str],
  smoke: bool,
) -> None:
  """Checks all recorded runs of a paper: claims are judged by them beside those that this command makes.

  Args:
    names: arms of the paper, also those that are not run.
    overrides, smoke: of the command.

  Raises:
    ConfigError: a recorded run was made with other settings, or is not done.
    ValueError: a recorded run has not kept what a claim reads.
  """
  for arm in names:
    for kept in runs_of(out, arm).values():
      one = reproduce.as_recorded(file, arm, kept, overrides=overrides, smoke=smoke)
      reproduce.check_recorded(one, kept)
      reproduce.check_finished(one, kept)
      check_measured(claims, arm, kept)  # a claim that is newer than the recorded run may ask for what it dropped


def run_missing(runs: list[reproduce.Run], claims: tuple[Claim, ...], out: pathlib.Path, *, jobs: int | None) -> None:
  """Runs and records those of the runs that are not recorded.

  Args:
    jobs: processes at a time; None: `reproduce.default_jobs`.

  Raises:
    ValueError: the first run that is done did not measure what a claim reads.
  """
  metrics = {claim.measure.metric for claim in claims}
  costs = {claim.measure.cost for claim in claims} - {""}
  missing = []
  for one in runs:
    if not one.is_cold_start and not (out / one.arm / one.path.name).is_dir():
      missing += [one] if one.begins_with in (None, *missing) else [one.begins_with, one]
  if not missing:
    return
  jobs = jobs or reproduce.default_jobs()
  with ArmsProgress(missing, jobs=jobs) as progress:

    def finished(one: reproduce.Run) -> None:
      if not one.is_cold_start:
        record(one.path, out / one.arm / one.path.name, metrics=metrics, costs=costs)
        check_measured(claims, one.arm, one.path)
      progress.note(f"{label(one)}, seed {one.seed}: done")

    reproduce.run_all(missing, jobs=jobs, finished=finished, shown=progress.show)


def check_measured(claims: Sequence[Claim], arm: str, run: pathlib.Path) -> None:
  """Raises ValueError where a run of an arm lacks what a claim about it reads: other runs would lack it too."""
  for claim in claims:
    if arm in claim.arms:
      try:
        claim.measure.read(run, run)
      except ValueError as error:
        raise ValueError(f"the claim {claim.says!r}: {error}") from error


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
