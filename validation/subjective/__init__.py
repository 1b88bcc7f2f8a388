"""Agreement with subjective scores (MOS, DMOS)."""
