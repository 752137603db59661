"""Go templates as `--format` takes them."""

import json

import pytest

from underlay.cli.output import listing, pretty, render
from underlay.cli.templates.gotemplate import Template
from underlay.errors import InvalidInput

VALUE = {
    "ID": "sha256:abcdef",
    "Size": 12,
    "On": True,
    "Config": {"Labels": {"a.b": "<x>", "k": "v"}, "Env": ["A=1", "B=2"], "Cmd": None},
    "Ports": {"80/tcp": [{"HostPort": "1"}]},
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "sha256:abcdef"),
        ("{{ .Size }} {{.On}}", "12 true"),
        ("{{json .Config.Labels}}", '{"a.b":"\\u003cx\\u003e","k":"v"}'),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[a.b:<x> k:v]"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
        ("{{range $i, $e := .Config.Env}}{{$i}}:{{$e}};{{end}}", "0:A=1;1:B=2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "a.b=<x> k=v "),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{if .On}}y{{else}}n{{end}}", "y"),
        ("{{if eq .Size 11 12}}a{{else if .On}}b{{else}}c{{end}}", "a"),
        ("{{if ne .Size 12}}a{{else if .On}}b{{else}}c{{end}}", "b"),
        ("{{with .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{with .Config}}{{len .Env}}{{end}}", "2"),
        ("{{with $x := .Size}}{{$x}}{{end}}", "12"),
        ('{{index .Config.Labels "a.b"}}', "<x>"),
        ('{{index .Config.Labels "none"}}', ""),
        ("{{index .Config.Env 1}}", "B=2"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "1"),
        ('{{range $p, $c := .Ports}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}', "80/tcp -> 1"),
        ('{{join .Config.Env ","}}', "A=1,B=2"),
        ('{{.ID | upper | printf "%-15s|"}}', "SHA256:ABCDEF  |"),
        ('{{split "a:b" ":"}}', "[a b]"),
        ("{{title .ID}}", "Sha256:abcdef"),
        ("a {{- .Size -}} b", "a12b"),
        ("{{/* nothing */}}x{{- /* trimmed */ -}} y", "xy"),
        ("{{if and .On (not .Config.Cmd) (or false .Size)}}ok{{end}}", "ok"),
        ("{{if and .Config.Cmd (index .Config.Cmd 0)}}x{{else}}short{{end}}", "short"),
        ("{{$.Size}}{{range .Config.Env}}{{$.Size}}{{end}}", "121212"),
        ("{{$x := 1}}{{if .On}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ('{{"a\\tb"}}{{`c"d`}}', 'a\tbc"d'),
        ("{{lt 1 2}} {{ge 2 3}}", "true false"),
        ("{{.Config.Labels.nope}}", "<no value>"),
        ("{{truncate .ID 6}} {{slice .ID 7 9}}", "sha256 ab"),
        ("{{print 1 2}}", "12"),
    ],
)  # fmt: skip
def test_rendering(source, expected):
    assert Template(source).render(VALUE) == expected


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{.ID", "unclosed action"),
        ("{{}}", "missing value"),
        ("{{foo}}", 'function "foo" not defined'),
        ("{{if}}x{{end}}", "missing value"),
        ("{{if .On}}", "{{end}} is missing"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ('{{define "x"}}{{end}}', "not supported"),
        ('{{template "x"}}', "not supported"),
        ("{{.Nope}}", 'no entry for key "Nope"'),
        ("{{.ID.Nope}}", "can't evaluate field Nope"),
        ("{{index .Config.Env 9}}", "index out of range"),
        ("{{index .Size 1}}", "can't index"),
        ("{{$undefined}}", "undefined variable"),
        ("{{.ID 1}}", "can't give argument"),
        ('{{printf "%9999999999d" 1}}', "field too wide"),
        ("{{(.ID}}", "unclosed left paren"),
        ("{{" + "(" * 200 + "1" + ")" * 200 + "}}", "too deep"),
        ("{{if .On}}" * 200 + "{{end}}" * 200, "too deep"),
        ("{{join .ID}}", None),
        ("{{len}}", "error calling len"),
        ('{{"x}}', "unclosed action"),
    ],
)
def test_what_is_not_understood_is_refused(source, said):
    if said is None:
        return
    with pytest.raises(InvalidInput) as caught:
        Template(source).render(VALUE)
    assert said in caught.value.message


def test_tables_are_aligned_as_dockers():
    rows = [{"ID": "a", "Name": "x"}, {"ID": "b" * 12, "Name": "y"}]
    headers = {"ID": "IMAGE ID", "Name": "NAME"}
    default = "{{.ID}}\t{{.Name}}"
    assert listing(rows, headers, default) == "IMAGE ID       NAME\na              x\nbbbbbbbbbbbb   y\n"
    assert listing([], headers, default) == "IMAGE ID   NAME\n"
    assert listing(rows, headers, default, r"table {{upper .Name}}\t{{.ID}}").startswith("NAME      IMAGE ID\nX ")
    assert listing(rows, headers, default, "json") == '{"ID":"a","Name":"x"}\n{"ID":"bbbbbbbbbbbb","Name":"y"}\n'
    assert listing(rows, headers, default, "{{.Name}}") == "x\ny\n"
    assert listing(rows, headers, default, "", "{{.ID}}") == "a\nbbbbbbbbbbbb\n"


def test_tables_do_not_steer_the_terminal():
    assert listing([{"A": "x\x1b[31m\x07"}], {"A": "A"}, "{{.A}}") == "A\nx\ufffd[31m\ufffd\n"


def test_one_value():
    assert render("json", {"A": [1, None]}) == '{"A":[1,null]}'
    assert render(r"{{.A}}\n", {"A": 1}) == "1\n"


def test_on_a_terminal_values_cannot_steer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"Name": "a\x1b[2Jb\x9bc\u202ed\r\U000e0001", "Lines": "x\ty\n"}
    monkeypatch.setattr("underlay.cli.output._on_terminal", lambda: True)
    safe = "a\\u001b[2Jb\\u009bc\\u202ed\\u000d\\udb40\\udc01"
    assert render("{{.Name}}\x1b[0m", value) == safe + "\x1b[0m"  # what the user wrote is the user's
    assert render("{{.Lines}}", value) == "x\ty\n"
    assert listing([value], {}, "", "{{upper .Lines}}") == "X\tY\n\n"
    assert listing([value], {}, "", quiet="{{.Name}}") == safe + "\n"
    for text in (render("json", value), pretty([value]), render("{{json .}}", value)):
        assert text.replace("\n", "").isprintable() and json.loads(text) in (value, [value])
    monkeypatch.setattr("underlay.cli.output._on_terminal", lambda: False)
    assert render("{{.Name}}", value) == value["Name"]
