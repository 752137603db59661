"""Whatever is thrown at the readers of names, platforms and templates: an answer or InvalidInput."""

from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.cli.templates.gotemplate import Template
from underlay.errors import InvalidInput
from underlay.oci import digest, platform, reference

WORD = st.text("abcXYZ019._-/:@[]", max_size=60)


@settings(max_examples=500, deadline=None)
@given(st.one_of(WORD, st.text(max_size=300)))
def test_names(text):
    try:
        found = reference.parse(text)
    except InvalidInput as error:
        assert "\n" not in error.message
        return
    assert reference.parse(str(found)) == found
    assert reference.parse(found.familiar) == found
    assert ".." not in found.path.split("/")
    assert not found.path.startswith("/") and "\0" not in str(found)


@settings(max_examples=300, deadline=None)
@given(st.one_of(WORD, st.text(max_size=50)))
def test_platforms_and_digests(text):
    assert digest.is_digest(text) in (True, False)
    try:
        found = platform.parse(text)
    except InvalidInput:
        return
    assert platform.parse(str(found)) == found
    assert platform.rank(found, found) == 0


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            "{{ }} {{- -}} . .A .B $ $x := = | ( ) if else end range with eq and or not index json len "
            "join printf "
            '"%s" 1 -2 true nil "a `b` , /* */ x'.split(" ")
        ),
        max_size=20,
    )
)
def test_templates(words):
    for source in (" ".join(words), "{{" + " ".join(words) + "}}"):
        try:
            Template(source).render({"A": [1, {"B": None}], "B": "x"})
        except InvalidInput:
            pass
