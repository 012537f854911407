"""Plain values for ``--json``: what the tables of the console show, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.json_values import plain, plain_dict
from encollapse.encodings.registry import ENCODINGS
from encollapse.geometry import ClassGeometry, compare
from encollapse.report.facts import MOST_PAIRED
from encollapse.study.labels import labels_of
from encollapse.study.results import ERRORS, Results
from encollapse.study.study import Study

EXAMPLE_CLASSES = 4
"""Number of classes of the examples in the list of encodings."""


def encodings_record() -> list[dict[str, Any]]:
    """Encodings of the catalog with their options."""
    return [
        {
            "name": name,
            "summary": entry.summary,
            "options": {o: plain(None if p.default is p.empty else p.default) for o, p in entry.options.items()},
            "needs": [o for o, p in entry.options.items() if p.default is p.empty],
            "example": {"num_classes": EXAMPLE_CLASSES, "options": plain(entry.example_for(EXAMPLE_CLASSES))},
        }
        for name, entry in ENCODINGS.items()
    ]


def studies_record(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """Studies with their size and the question of each."""
    return [{"name": s.name, "title": s.title, "description": s.description, "trials": len(s.trials)} for s in studies]


def solution_record(solution: ufm.Solution) -> dict[str, Any]:
    """A prediction: the problem, the minimum and its evidence, and the geometry."""
    problem, certificate, geometry = solution.problem, solution.certificate, solution.geometry
    record = {
        "encoding": problem.encoding.name,
        "num_classes": problem.num_classes,
        "counts": problem.counts,
        "weight_decay": problem.weight_decay,
        "weight_decays": problem.weight_decays,
        "feature_decay": problem.feature_decay,
        "bias_decay": problem.bias_decay,
        "threshold": problem.threshold,
        "critical_bias_decay": problem.critical_bias_decay(),
        "practical_bias_decay": problem.practical_bias_decay(),
        "explanation": problem.explain(),
        "status": solution.status.name,
        "message": solution.status.message,
        "loss": solution.loss,
        "certificate": {
            "kind": certificate.kind,
            "gap": certificate.gap,
            "lower_bound": certificate.lower_bound,
            "holds": certificate.holds,
        },
        "singular_values": solution.singular_values,
        "bias": solution.bias,
        "mean_cosine": geometry.mean_cosine(),
    }
    if problem.num_classes <= MOST_PAIRED:
        record |= {
            "mean_cosine_centered": geometry.mean_cosine(centered=True),
            "cosines": geometry.cosines(),
            "feature_gram": geometry.feature_gram,
        }
    else:
        left_out = f"above {MOST_PAIRED} classes, numbers for each pair are left out; the library has them"
        record |= {"mean_cosine_centered": None, "cosines": None, "feature_gram": None, "left_out": left_out}
    return plain_dict(record)


def design_record(solution: ufm.Solution, target: ClassGeometry, saved: str) -> dict[str, Any]:
    """A designed encoding with its minimizer, and how far that is from the target."""
    codewords = solution.problem.encoding.codewords
    design = {
        "path": saved,
        "code_dim": solution.problem.code_dim,
        "rank": solution.rank,
        "codewords": codewords,
        "codeword_lengths": np.linalg.norm(codewords, axis=0),
        "bias_length": np.linalg.norm(solution.bias),
        "target_gram": target.feature_gram,
        "gram_error": compare(target, solution.geometry).gram_error,
    }
    return plain_dict(design) | {"solution": solution_record(solution)}


def path_record(path: ufm.BiasPath) -> dict[str, Any]:
    """A bias path: a row for each bias decay."""
    rows = [
        {
            "bias_decay": decay,
            "mean_cosine": cosine,
            "bias": solution.bias,
            "loss": solution.loss,
            "status": solution.status.name,
            "holds": solution.certificate.holds,
        }
        for decay, cosine, solution in zip(path.bias_decays, path.mean_cosine, path.solutions, strict=True)
    ]
    return plain_dict({"critical_bias_decay": path.critical, "path": rows})


def results_record(results: Results) -> dict[str, Any]:
    """A study: how many trials ended how, the worst of each error, and a row a trial."""
    names, worst = labels_of(results.study.trials), {}
    for name in ERRORS:
        result = results.worst(name)
        if result is not None:
            worst[name] = {"trial": result.id, "label": names[result.id], "value": result.comparison_error(name)}
    trials = [
        {"id": r.id, "label": names[r.id], "status": r.row.status, "seconds": r.row.seconds}
        | (
            {"converged": r.record.converged} | {name: r.comparison_error(name) for name in ERRORS}
            if r.done
            else {"error": r.error}
        )
        for r in results.trials
    ]
    return plain_dict(
        {
            "study": results.study.name,
            "path": str(results.path),
            "done": len(results.done),
            "not_stationary": sum(r.stopped_early for r in results.done),
            "failed": len(results.failed),
            "missing": len(results.missing),
            "worst": worst,
            "trials": trials,
        }
    )
