"""Tasks and environments of other people's making; `envs/families.py` says which extra of the package each needs."""
