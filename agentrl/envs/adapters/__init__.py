"""Tasks and environments of other people's making, a module each; `tasks.FAMILIES` says which extra a module needs."""
