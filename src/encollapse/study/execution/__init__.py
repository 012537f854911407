"""How trials are run: on which executor, in which order, and what is seen of them."""
