"""From a config to what a run needs: one file per section, each function given its own section."""
