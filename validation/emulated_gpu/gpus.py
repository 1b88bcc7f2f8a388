"""GPUs that can be emulated. This module does not import Triton."""

# Multiprocessors by compute capability, of a P100, V100, T4, A100, RTX 3090, RTX 4090, H200, B200 and RTX 5090.
PROCESSORS = {60: 56, 70: 80, 75: 40, 80: 108, 86: 82, 89: 128, 90: 132, 100: 148, 120: 170}

# The same GPUs by the compiler's name for them: their compute capability.
SIMULATED = {f"sm_{capability}": capability for capability in PROCESSORS}
