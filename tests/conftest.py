"""What every test runs under: properties that come out the same on each machine, however busy it is.

`pytest --hypothesis-profile explore` draws new examples each time, to look for what the usual ones do not find.
"""

from hypothesis import HealthCheck, settings

# No time limit for one example: how long it takes is the machine's affair, and a property says nothing about it.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None, print_blob=True)
settings.load_profile("same")
