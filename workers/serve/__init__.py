"""The worker process: receive a batch, analyse it, answer."""
