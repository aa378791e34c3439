"""The worker process: take a batch, analyse it, answer."""
