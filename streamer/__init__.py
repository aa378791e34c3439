"""The streamer: cameras and files in, followed and described faces out."""
