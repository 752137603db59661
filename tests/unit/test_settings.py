"""Settings: which of variable, the user's file, /etc's file and default counts, and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay import settings
from underlay.errors import InvalidInput


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files of settings of the test's own, and no variables."""
    for setting in settings.SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setattr(settings, "files", lambda: [str(tmp_path / "system.toml"), str(tmp_path / "user.toml")])
    monkeypatch.setattr(settings, "_read_files", {})
    return tmp_path


def test_the_strongest_counts(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.found("form") == ("auto", "default")
    (places / "system.toml").write_text('form = "tree"\nnetwork = "none"\n')
    settings._read_files.clear()
    assert settings.found("form") == ("tree", str(places / "system.toml"))
    (places / "user.toml").write_text('form = "erofs"\n')
    settings._read_files.clear()
    assert settings.found("form") == ("erofs", str(places / "user.toml"))
    assert settings.value("network") == "none"
    monkeypatch.setenv("UNDERLAY_FORM", "auto")
    assert settings.found("form") == ("auto", "UNDERLAY_FORM")


def test_values_that_are_no_texts(places: Path) -> None:
    text = 'keep-compressed = true\ncdi = ["/a", "/b"]\n[log-opts]\nmax-size = "10m"\nmax-file = "3"\n'
    (places / "user.toml").write_text(text)
    assert settings.value("keep-compressed") == "1" and settings.value("cdi") == "/a:/b"
    assert settings.value("log-opts") == "max-size=10m,max-file=3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('fom = "tree"', "no setting is called fom"),
        ("form = 1", "form: expected a text"),
        ('form = "wood"', "'wood' is none of auto, erofs, tree"),
        ("form =", "user.toml"),
        ("cdi = [1]", "cdi: expected a text"),
    ],
)
def test_mistakes_name_the_file(places: Path, text: str, said: str) -> None:
    (places / "user.toml").write_text(text)
    with pytest.raises(InvalidInput) as raised:
        settings.value("root")
    assert said in raised.value.message and "user.toml" in raised.value.message


def test_a_near_name_is_proposed(places: Path) -> None:
    (places / "user.toml").write_text('log-drivr = "none"')
    with pytest.raises(InvalidInput) as raised:
        settings.value("root")
    assert raised.value.hint == "did you mean `log-driver`?"


def test_a_variable_with_a_wrong_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERLAY_COLOUR", "green")
    with pytest.raises(InvalidInput, match="UNDERLAY_COLOUR: 'green' is none of auto, always, never"):
        settings.value("colour")
