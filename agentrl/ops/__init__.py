"""Pure array math: no configuration, no host code, no model."""
