"""Written by `scripts/bench/tune_linear_logprob.py`, from the runs of `results/bench/README.md`.

`(device kind, shape class) -> {implementation: (tokens, columns) of a tile}`, the fastest first. A device that no run
is recorded for has no entry.
"""

TABLE = {
  ("cpu", "narrow, few"): {"chunked": (1024, 2048)},
}
