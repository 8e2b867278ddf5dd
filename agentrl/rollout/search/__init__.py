"""Parts of a tree search: the tree, where a step ends, and which slot holds which prefix."""
