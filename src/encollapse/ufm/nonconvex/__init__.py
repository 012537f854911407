"""Problems that no convex one stands for: the lowest of several descents, beside a lower bound."""
