"""--chmod in octal and in symbols, as chmod(1) does with a umask of zero."""

import os
import subprocess

import pytest

from underlay.builder.copy.attributes import Mode
from underlay.errors import InvalidInput

MODES = [
    # text, mode before, mode of a file after, mode of a directory after
    ("755", 0o600, 0o755, 0o755),
    ("0", 0o777, 0, 0),
    ("07777", 0, 0o7777, 0o7777),
    ("+x", 0o644, 0o755, 0o755),
    ("a+x", 0o640, 0o751, 0o751),
    ("u=rwX,go=rX", 0o600, 0o644, 0o755),
    ("u=rwX,go=rX", 0o700, 0o755, 0o755),
    ("g=u", 0o640, 0o660, 0o660),
    ("o=g,g-w", 0o660, 0o646, 0o646),
    ("u+s,g+s", 0o755, 0o6755, 0o6755),
    ("u=rw", 0o4755, 0o655, 0o4655),
    ("+t", 0o755, 0o1755, 0o1755),
    ("go-rwx", 0o777, 0o700, 0o700),
    ("u+r-w+x", 0o200, 0o500, 0o500),
    ("=", 0o777, 0, 0),
    ("o+u", 0o740, 0o747, 0o747),
    ("ug=o", 0o604, 0o444, 0o444),
]


@pytest.mark.parametrize(("text", "before", "file", "directory"), MODES)
def test_modes(tmp_path, text, before, file, directory):
    mode = Mode(text)
    assert oct(mode.apply(before, False)) == oct(file)
    assert oct(mode.apply(before, True)) == oct(directory)
    if not text.isdigit():  # the same as the program
        (tmp_path / "f").write_text("")
        (tmp_path / "f").chmod(before)
        subprocess.run(["sh", "-c", f"umask 0; chmod '{text}' '{tmp_path}/f'"], check=True)
        assert oct(os.stat(tmp_path / "f").st_mode & 0o7777) == oct(file)


@pytest.mark.parametrize(
    "text", ["8", "77777", "-", "u", "rwx", "u=rwq", "u+gx", "u+x,", ",u+x", "x+u", "u=ug", "100000", "7x"]
)
def test_what_is_no_mode(text):
    if text == "-":
        assert Mode(text).apply(0o644, False) == 0o644  # nothing is taken from anybody
        return
    with pytest.raises(InvalidInput, match="invalid chmod parameter"):
        Mode(text)
