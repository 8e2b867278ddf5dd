"""Task families, one module each; `envs/families.py` finds them. What they ask about stands in `data`.

A family is a module with three functions:

  generate(index, *, split, difficulty=1, seed=0, ...) -> Task    pure; train and held-out disjoint by construction
  check(task, answer) -> bool, or a float in [0, 1]               never raises, whatever the answer; 1.0 is right
  oracle(task, tool) -> list[Action]                              tool calls that solve it, then the answer

and may have a table of further ways to demonstrate a task, see `envs/habits.py`:

  HABITS = {"always": always}                                     always(task, tool) -> list[Action]

The families in `WORLDS` bring an environment of their own, with tools of its own or none, in place of `check`:

  environment(setting) -> Environment                             a fresh one, for one trajectory
  oracle(task, tool) -> list[Action]                              a demonstration; the tool is ""
"""
