"""Written by `scripts/bench/tune_linear_logprob.py --write`, on the device of each entry.

`(device kind, shape class) -> {implementation: (tokens, columns) of a tile}`, the fastest first. A device on which it
was not run has no entry, and gets the default implementation and tiles.
"""

TABLE = {("cpu", "narrow, few"): {"chunked": (1024, 2048)}}
