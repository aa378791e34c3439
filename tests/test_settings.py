"""Unknown keys get a suggestion, wherever they stand in the settings of either program."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from faceanalytics.errors import ConfigError
from faceanalytics.settings import close_to
from streamer.configfile import parse_config
from workers.research.data.sets import load_sets
from workers.serve.config import load_config


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"stream": []}, "stream: unknown key; did you mean streams?"),
        ({"detect": {"Min_Scores": 1}}, "detect.Min_Scores: unknown key; did you mean min_score?"),
        ({"streams": [{"id": "a", "url": "b"}]}, "streams.0.url: unknown key; did you mean uri?"),
        (
            {"streams": [{"id": "a", "uri": "b", "reconnect": {"inital_s": 1}}]},
            "streams.0.reconnect.inital_s: unknown key; did you mean initial_s?",
        ),
        ({"zebra": 1}, "zebra: unknown key"),
    ],
)
def test_the_streamer_suggests_a_known_key_of_the_same_section(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(data, "test")
    assert problem in [line.strip() for line in str(caught.value).splitlines()]


def test_the_worker_and_the_training_suggest_known_keys(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("max_bach: 3\n")
    with pytest.raises(ConfigError, match=r"max_bach: unknown key; did you mean max_batch\?"):
        load_config(file, {})
    sets = {"sets": {"faces": {"format": "folders", "pth": "a", "path": "b"}}}
    file.write_text(yaml.safe_dump(sets))
    with pytest.raises(ConfigError, match=r"sets\.faces\.pth: unknown key; did you mean path\?"):
        load_sets(file)


def test_a_name_that_resembles_none_gets_no_suggestion() -> None:
    assert close_to("zebra", ["max_fps", "uri"]) == ""
    assert close_to("MaxFps", ["max_fps", "uri"]) == "; did you mean max_fps?"
