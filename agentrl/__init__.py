"""agentrl: reinforcement learning of tool-using language agents in JAX."""
