"""What theory says of a training."""
