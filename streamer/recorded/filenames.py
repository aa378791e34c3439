"""Names of the files in a folder of results."""

SUMMARY, PEOPLE, TRACKS = "summary.json", "people.jsonl", "tracks.jsonl"
OBSERVATIONS, SHOTS = "observations.jsonl", "shots.jsonl"
EXPLANATION, EMBEDDINGS = "explain.jsonl", "embeddings.npz"
ANNOTATED, REPORT = "annotated.mp4", "report.html"
JOURNAL = "journal.partial"  # of an analysis that may go on, see journal.py
AGGREGATES = "aggregates.json"  # the only one in the privacy mode aggregate_only
TABLES_FOLDER = "tables"
TABLE_FILES = tuple(
    f"{TABLES_FOLDER}/{table}.{form}"
    for table in ("frames", "tracks", "people", "analyses")
    for form in ("parquet", "csv", "jsonl")
)
# removed in this order
OUTPUTS = (SUMMARY, *TABLE_FILES, PEOPLE, TRACKS, OBSERVATIONS, SHOTS, EXPLANATION, EMBEDDINGS, ANNOTATED, REPORT)

DERIVED = (
    *("people.vtt", "people.metadata.vtt", "people.eaf", "contact-sheet.jpg", "contact-sheet-*.jpg"),
    *("faces/person-*.jpg", "mot/*.txt", "mot/*/seqinfo.ini"),
)  # patterns of what `streamer export` makes of them; removed before them
