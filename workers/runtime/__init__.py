"""Run the network on one device: crops in, analyses out."""
