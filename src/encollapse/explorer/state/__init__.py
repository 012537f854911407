"""The state that an address of the explorer holds, and the problem that it poses."""
