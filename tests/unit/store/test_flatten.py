"""Several layers as one."""

from layers import load, make, store
from underlay.store import layers
from underlay.store.layers import flatten, merge


def test_files_with_several_names_keep_their_capabilities(tmp_path):
    paths = store(tmp_path)
    capability = {"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")}
    stack = [
        make(("ping", "file", "x", {"mode": 0o755, "xattrs": capability})),
        make(("pong", "hard", b"", {"link": "ping", "mode": 0o711, "xattrs": capability})),
    ]
    made = flatten.flatten(paths, load(paths, stack))
    tree = merge.merge([layers.read_toc(paths, made.diff_id)])
    ping, pong = tree.root.children[b"ping"], tree.root.children[b"pong"]
    assert ping is pong
    assert (ping.entry.mode, dict(ping.xattrs)) == (0o711, {b"security.capability": capability["security.capability"]})
