"""Property tests draw the same examples everywhere and always; ``make fuzz`` draws new ones.

What a fuzz round finds becomes an ``@example`` of its test, and so part of the suite.
"""

from hypothesis import HealthCheck, settings

# A loaded machine is slow, which is no fault of the code: no deadlines.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("repeatable"), derandomize=False, print_blob=True)
settings.load_profile("repeatable")
