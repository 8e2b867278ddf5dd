"""Tasks and environments of other people's making, a module each; `tasks.FAMILIES` says which extra a module needs."""

"""Worlds over other people's packages, one module each; see the table `WORLDS` in `agentrl.envs.tasks`."""
