"""Values, gradients, finiteness and dtypes of the library, against the oracles."""
