"""Attention as training and decoding need it: over a row that holds a forest, and over a slot cache."""
