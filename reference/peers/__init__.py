"""Other people's SSIM and MS-SSIM, each through its public API: ``PEERS[name].function("msssim", data_range=255)``.

Images are torch tensors (N, C, H, W), and the result is the mean over the batch. Settings are as close to Wang's as the
API goes; with ``defaults=True`` they are those that a call with nothing but the images has. ``convention`` says what
still differs, and ``conventions`` says it in such a way that `emulation` can compute it: where both give the same
number, the difference from Wang is understood. Nothing is imported before it is used.
"""

from .convention import CAUSES, WANG, Convention
from .emulation import Emulation
from .in_numpy import NUMPY_PEERS
from .in_torch import TORCH_PEERS
from .peer import Peer

__all__ = ["CAUSES", "PEERS", "WANG", "Convention", "Emulation", "Peer"]

PEERS = {peer.name: peer for peer in (*TORCH_PEERS, *NUMPY_PEERS)}
