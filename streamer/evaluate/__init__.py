"""A face detector measured on labelled images."""
