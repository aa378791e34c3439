"""Measurements of speed, memory and accuracy. Their processes multiply matrices in one thread, as the program does."""

import os

from faceanalytics.commandline import BLAS_THREADS

os.environ.setdefault(BLAS_THREADS, "1")  # numpy reads it when it is imported
