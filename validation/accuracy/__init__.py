"""Is the number right? Values, gradients, NaN stability and dtypes against the oracles."""
