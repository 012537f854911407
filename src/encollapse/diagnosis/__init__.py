"""From a user's network, optimizer and loss to the law that holds for this training, and to how far the network is.

:func:`encollapse.diagnose` is the entry. This package needs torch; importing ``encollapse`` alone does not load it.
"""

from encollapse._internal.extras import needed_by

with needed_by("encollapse.diagnosis", "torch"):
    from encollapse.diagnosis.laws import Condition
    from encollapse.diagnosis.result import Diagnosis

__all__ = ["Condition", "Diagnosis"]
