"""Turns tracks into people: joins tracks of one face and names people of a gallery."""
