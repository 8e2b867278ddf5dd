"""Tells a process of a task family that only the tests have: Python imports this module when it starts."""

from agentrl.envs import tasks

tasks.FAMILIES["faulty"] = tasks.Family("faulty_world")
tasks.FAMILIES["chaos"] = tasks.Family("chaos_world")
