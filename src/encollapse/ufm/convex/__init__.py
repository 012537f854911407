"""Any convex loss: a smooth loss of the outputs plus a nuclear norm."""
