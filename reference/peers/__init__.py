"""Other implementations of SSIM and MS-SSIM, called through their public APIs.

``PEERS[name].function("msssim", data_range=255)`` returns a function of two torch tensors (N, C, H, W) that gives the
mean over the batch. Its settings are as close to Wang's as the API allows; with ``defaults=True`` they are those of a
call with the images only. `Peer.description` says in words what still differs from Wang, and `Peer.convention` says it
as a `Convention`, which `Emulation` can compute. If both give the same number, the difference from Wang is explained.
Packages are imported on first use.
"""

from .convention import CAUSES, WANG, Convention
from .emulation import Emulation
from .numpy_peers import NUMPY_PEERS
from .peer import Peer
from .torch_peers import TORCH_PEERS

__all__ = ["CAUSES", "PEERS", "WANG", "Convention", "Emulation", "Peer"]

PEERS = {peer.name: peer for peer in (*TORCH_PEERS, *NUMPY_PEERS)}
