"""Figures and the trajectory viewer of a run: `python -m agentrl.report RUN_FOLDER`."""

from agentrl.report.page import write_report as write_report
