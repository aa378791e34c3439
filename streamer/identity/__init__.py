"""TrackSummaries to people: tracks of one face joined, people of a gallery named."""
