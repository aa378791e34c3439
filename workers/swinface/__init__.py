"""SwinFace: the network, its labels and its checkpoints."""
