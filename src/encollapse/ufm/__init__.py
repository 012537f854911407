"""The unrestricted feature model: its exact global minimizer, with a certificate. numpy and scipy only."""

from encollapse.ufm.batch_norm import batch_norm_problem
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.dynamics.central_path import CentralPath, central_path
from encollapse.ufm.dynamics.gradient_flow import Flow, flow, rates
from encollapse.ufm.excess import Excess, excess
from encollapse.ufm.inverse.design import design
from encollapse.ufm.inverse.target import scale_target
from encollapse.ufm.layer_peeled import LayerPeeledSolution, solve_layer_peeled
from encollapse.ufm.losses.cumulative_link import CumulativeLink
from encollapse.ufm.losses.separable import SeparableLoss
from encollapse.ufm.next_tokens.limit import Concepts, GrowthDirection, NextTokenLimit, next_token_limit
from encollapse.ufm.nonconvex.deep_relu import deep_relu_problem
from encollapse.ufm.nonconvex.sphere import SphereSolution, solve_on_sphere
from encollapse.ufm.objective import objective
from encollapse.ufm.path import BiasPath, bias_path
from encollapse.ufm.problem import Problem
from encollapse.ufm.solution import Solution, Status
from encollapse.ufm.solve import select_method, solve
from encollapse.ufm.tail.linear_tail import TailProblem
from encollapse.ufm.tail.sample_norm import sample_norm_problem

__all__ = [
    "BiasPath",
    "CentralPath",
    "Certificate",
    "Concepts",
    "CumulativeLink",
    "Excess",
    "Flow",
    "GrowthDirection",
    "LayerPeeledSolution",
    "NextTokenLimit",
    "Problem",
    "SeparableLoss",
    "Solution",
    "SphereSolution",
    "Status",
    "TailProblem",
    "batch_norm_problem",
    "bias_path",
    "central_path",
    "deep_relu_problem",
    "design",
    "excess",
    "flow",
    "next_token_limit",
    "objective",
    "rates",
    "sample_norm_problem",
    "scale_target",
    "select_method",
    "solve",
    "solve_layer_peeled",
    "solve_on_sphere",
]
