"""Makes TextWorld games ahead: `python -m agentrl.envs.adapters.textworld --count 1000`."""

from __future__ import annotations

import argparse
import concurrent.futures
from collections.abc import Sequence

from agentrl.envs.adapters.textworld import games, generate
from agentrl.envs.tasks.shared import splits


def main(arguments: Sequence[str] | None = None) -> None:
  """Makes games ahead; see the docstring of the package."""
  parser = argparse.ArgumentParser(description="Makes TextWorld games ahead, in the folder that environments read.")
  parser.add_argument("--game", default="all", help="simple, cooking, coin, treasure or all")
  parser.add_argument("--split", default=splits.TRAIN, help="train or held_out")
  parser.add_argument("--difficulty", type=int, default=1, help="1 to 3")
  parser.add_argument("--seed", type=int, default=0, help="of the sequence of tasks")
  parser.add_argument("--start", type=int, default=0, help="index of the first task")
  parser.add_argument("--count", type=int, required=True, help="how many tasks")
  parser.add_argument("--processes", type=int, default=1, help="that make games at once")
  given = parser.parse_args(arguments)
  options = {name: getattr(given, name) for name in ("game", "split", "difficulty", "seed")}
  recipes = [generate(given.start + n, **options).data["recipe"] for n in range(given.count)]
  with concurrent.futures.ThreadPoolExecutor(given.processes) as pool:  # each thread waits for a process
    for done, _ in enumerate(pool.map(games.game_folder, recipes), start=1):
      print(f"\r{done}/{given.count} games in {games.folder()}", end="", flush=True)
  print()


if __name__ == "__main__":
  main()
