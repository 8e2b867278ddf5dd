"""Parts of a tree search: the tree, where a step ends, how a tree grows, and what is kept of it."""
