"""Settings of visitors: people who are not in the gallery, under pseudonyms."""

from typing import Annotated

from pydantic import Field

from streamer.section import Section, TimeOfDay

Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=36_525)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class Visitors(Section):
    """Pseudonyms for people who are not in the gallery, over cameras and days. They need a store with templates.
    Recognising strangers again may need their consent or a law that allows it."""

    enabled: bool = False
    """Recognise strangers again, under pseudonyms."""
    false_join_rate: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Accepted share of visitors who are taken for somebody else seen before. The cosine from which two tracks are one
    visitor follows from it and from the number of visitors."""
    min_samples: Annotated[int, Field(ge=1)] = 2
    """Analyses that a track needs before it gets a pseudonym."""
    min_quality: Ratio = 0.4
    """Lowest quality that the best crop of such a track must have, from 0 to 1."""
    visit_gap_s: Seconds = 1800.0
    """Appearances of a visitor less than this many seconds apart are one visit, and one journey."""
    keep_days: Days = 30.0
    """Forget the pseudonym of a track after this many days. A visitor is recognised again as long as a track with a
    template is stored (store.keep.templates_days)."""
    regroup_at: TimeOfDay | None = "03:30"
    """Time of day, UTC, at which all tracks are grouped again. null: only when asked to."""
    journeys: bool = False
    """Publish a JOURNEY event whenever a person of the gallery or a visitor appears in another stream than before."""
