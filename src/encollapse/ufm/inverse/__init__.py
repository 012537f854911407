"""From a geometry to the encoding that has it."""
