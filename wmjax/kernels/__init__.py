"""Kernels that XLA needs help with: the one convolution, Winograd's form of it, pieces that fit a cache."""
