"""Scores in other projects' terms: one module each, which nothing else here imports, and which needs its package."""
