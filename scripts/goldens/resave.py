"""Loads every golden model and saves it, in shards: `resave.py GOLDENS OUT`. Runs where agentrl is installed."""

import pathlib
import sys

from agentrl.models.weights import hf


def main() -> None:
  goldens, out = map(pathlib.Path, sys.argv[1:])
  for folder in sorted(goldens.iterdir()):
    hf.save(out / folder.name, *hf.load(folder), max_shard_bytes=40_000)


if __name__ == "__main__":
  main()
