"""The laws: what prices the features of a training, with the conditions of each and the problem that it poses.

`find.find_law` decides between them. Every law has a module, which knows the others only through `law` and `premises`.
"""
