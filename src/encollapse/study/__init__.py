"""From a study file to stored results: trials, executors, resume."""

from encollapse._internal.extras import needed_by

with needed_by("encollapse.study", "study"):
    from encollapse.study.plan import Plan, plan
    from encollapse.study.results import Results, TrialResult
    from encollapse.study.results import open_results as open  # noqa: A004 (ec.study.open reads as what it does)
    from encollapse.study.runner import run
    from encollapse.study.study import Study, load, names
    from encollapse.study.trials import Trial

__all__ = ["Plan", "Results", "Study", "Trial", "TrialResult", "load", "names", "open", "plan", "run"]
