"""Twelve claims that a score without reference must live up to, each with bars fixed before the held-out run."""

from mriqf.studies.benchmark.answer import answer
from mriqf.studies.benchmark.compare import comparison, read_runs
from mriqf.studies.benchmark.figures import FIGURES
from mriqf.studies.benchmark.gallery import keep_failures
from mriqf.studies.benchmark.measure import tasks
from mriqf.studies.benchmark.metrics import read_metrics
from mriqf.studies.benchmark.plan import KEY, BenchmarkConfig, columns, metadata, read_data

__all__ = [
    "FIGURES", "KEY", "BenchmarkConfig", "answer", "columns", "comparison", "keep_failures", "metadata", "read_data",
    "read_metrics", "read_runs", "tasks",
]  # fmt: skip
