"""The network computed on one device: crops in, analyses out."""
