"""The EROFS index, read back by an independent little reader and by fsck.erofs where it is installed."""

import os
import random
import shutil
import struct
import subprocess

import pytest
from test_merge import entries, image, view, walk

from layercases import CASES
from layers import Tar, make
from underlay.errors import LimitExceeded, UnderlayError
from underlay.store.layers import toc
from underlay.store.layers.merge import Tree, merge
from underlay.store.rootfs import erofs


class Index:
    """Reads an index as the kernel would: superblock, device table, inodes, directories, attributes."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self.data = file.read()
        fields = struct.unpack_from("<IIIBBHQQIIII16s16sIHHHBBIQB", self.data, 1024)
        assert fields[0] == 0xE0F5E1E2
        self.root, self.inodes, self.blocks = fields[5], fields[6], fields[9]
        assert self.blocks * 512 == len(self.data)
        count, slot = fields[16], fields[17]
        self.devices = [struct.unpack_from("<64sII", self.data, (slot + n) * 128) for n in range(count)]
        self.seen: set[int] = set()

    def inode(self, nid: int) -> dict:
        at = nid * 32
        (form, icount, mode, _, size, value, ino, uid, gid, mtime, nsec, nlink) = struct.unpack_from(
            "<HHHHQIIIIqII", self.data, at
        )
        assert form & 1
        layout = form >> 1 & 7
        after = at + 64
        xattrs = {}
        if icount:
            end = after + 12 + 4 * (icount - 1)
            place = after + 12
            prefixes = {
                1: b"user.",
                2: b"system.posix_acl_access",
                3: b"system.posix_acl_default",
                6: b"security.",
            }
            while place < end:
                length, index, amount = struct.unpack_from("<BBH", self.data, place)
                name = self.data[place + 4 : place + 4 + length]
                start = place + 4 + length
                xattrs[prefixes[index] + name] = self.data[start : start + amount]
                place = (start + amount + 3) & -4
            assert place == end
            after = end
        self.seen.add(ino)
        return {
            "mode": mode,
            "size": size,
            "value": value,
            "owner": (uid, gid),
            "time": (mtime, nsec),
            "nlink": nlink,
            "layout": layout,
            "after": after,
            "xattrs": xattrs,
            "nid": nid,
        }

    def content(self, inode: dict) -> bytes:
        size, layout = inode["size"], inode["layout"]
        whole = size if layout == 0 else size // 512 * 512
        if layout == 2 and size and size % 512 == 0:
            whole = size - 512
        data = self.data[inode["value"] * 512 :][:whole] if whole else b""
        if layout == 2:
            rest = size - whole
            assert inode["after"] % 512 + rest <= 512
            data += self.data[inode["after"] :][:rest]
        assert len(data) == size
        return data

    def chunks(self, inode: dict) -> list[tuple[int, int]]:
        at = (inode["after"] + 7) & -8
        span = 512 << (inode["value"] & 31)
        assert inode["value"] & 32
        count = -(-inode["size"] // span)
        return [struct.unpack_from("<HHI", self.data, at + 8 * n)[1:] for n in range(count)]

    def list(self, inode: dict) -> dict[bytes, tuple[int, int]]:
        data = self.content(inode)
        found: dict[bytes, tuple[int, int]] = {}
        for start in range(0, len(data), 512):
            block = data[start : start + 512]
            count = struct.unpack_from("<QH", block)[1] // 12
            heads = [struct.unpack_from("<QHB", block, 12 * n) for n in range(count)]
            ends = [head[1] for head in heads[1:]] + [len(block)]
            for (nid, begin, kind), end in zip(heads, ends, strict=True):
                found[block[begin:end].rstrip(b"\0")] = (nid, kind)
        assert list(found) == sorted(found)
        return found


def check(tree: Tree, path: str, devices: list[erofs.Device]) -> Index:
    erofs.write_index(path, tree, devices)
    index = Index(path)
    assert index.inodes == tree.count_links()
    stack = [(tree.root, index.root, index.root)]
    places: dict[int, int] = {}
    while stack:
        node, nid, above = stack.pop()
        inode = index.inode(nid)
        entry = node.entry
        assert places.setdefault(id(node), nid) == nid
        assert inode["mode"] & 0o7777 == (0o777 if entry.kind == toc.SYMLINK else entry.mode)
        assert inode["owner"] == (entry.uid, entry.gid)
        assert inode["time"] == (entry.mtime, entry.nsec)
        assert inode["nlink"] == node.nlink
        assert inode["xattrs"] == dict(node.xattrs)
        if node.children is not None:
            names = index.list(inode)
            assert names.pop(b".") == (nid, 2)
            assert names.pop(b"..") == (above, 2)
            assert names.keys() == node.children.keys()
            for name, (child, kind) in names.items():
                assert kind == node.children[name].entry.kind
                stack.append((node.children[name], child, nid))
        elif entry.kind == toc.SYMLINK:
            assert index.content(inode) == entry.link
        elif entry.kind == toc.REGULAR and entry.size:
            assert inode["size"] == entry.size
            place = entry.offset // 512
            for device, block in index.chunks(inode):
                assert (devices[device - 1].layer, devices[device - 1].part) == (node.layer, entry.part)
                assert block == place
                place += 1 << (inode["value"] & 31)
        elif entry.kind in (toc.CHARACTER, toc.BLOCK):
            value = inode["value"]
            assert (value >> 8 & 0xFFF, value & 0xFF | value >> 12 & ~0xFF) == (entry.major, entry.minor)
    return index


def devices_of(layers: list[bytes]) -> list[erofs.Device]:
    found = []
    for number, data in enumerate(layers):
        found.append(erofs.Device(number, toc.TAR, len(data), b"tar"))
        found.append(erofs.Device(number, toc.SPARSE, 1 << 20, b"sparse"))
    return found


@pytest.mark.parametrize("case", CASES)
def test_cases(case, tmp_path):
    layers, _ = CASES[case]
    path = str(tmp_path / "index")
    check(image(*layers), path, devices_of(layers))
    with open(path, "rb") as file:
        first = file.read()
    erofs.write_index(str(tmp_path / "again"), image(*layers), devices_of(layers))
    assert (tmp_path / "again").read_bytes() == first
    # The same is found without writing anything.
    assert erofs.is_index(path, image(*layers), devices_of(layers))
    middle = len(first) // 2
    for damaged in (first[:-1], first + b"\0", first[:middle] + bytes([first[middle] ^ 1]) + first[middle + 1 :]):
        (tmp_path / "again").write_bytes(damaged)
        assert not erofs.is_index(str(tmp_path / "again"), image(*layers), devices_of(layers))


@pytest.mark.skipif(not shutil.which("fsck.erofs"), reason="fsck.erofs is not installed")
@pytest.mark.parametrize("case", CASES)
def test_fsck_finds_nothing(case, tmp_path):
    layers, _ = CASES[case]
    devices, options = [], []
    for number, data in enumerate(layers):
        (tmp_path / f"tar{number}").write_bytes(data)
        (tmp_path / f"sparse{number}").write_bytes(bytes(1 << 20))
        options += [f"--device={tmp_path}/tar{number}", f"--device={tmp_path}/sparse{number}"]
        devices += devices_of([data])[:1]
    devices = devices_of(layers)
    erofs.write_index(str(tmp_path / "index"), image(*layers), devices)
    done = subprocess.run(["fsck.erofs", *options, str(tmp_path / "index")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("count", [1, 15, 16, 17, 18, 40, 100_000])
def test_directories_of_any_size(count, tmp_path):
    tree = merge([[toc.Entry(b"%05d" % n, toc.FIFO, 0o600, 0, 0, 0, 0, 0) for n in range(count)]])
    check(tree, str(tmp_path / "index"), [])


def test_inline_data_never_crosses_a_block(tmp_path):
    tar = Tar()
    for n in range(1, 700, 3):
        tar.add(f"l{n}", "link", link="x" * n)
        tar.add(f"x{n}", "file", b"", xattrs={"user.a": b"v" * n})
        tar.add(f"d{n}", "dir", xattrs={"user.a": b"v" * n})
        tar.add(f"d{n}/{'n' * (n % 255 + 1)}", "file", b"c" * n)
    data = tar.data()
    check(image(data), str(tmp_path / "index"), devices_of([data]))


def test_large_files_and_addresses(tmp_path):
    size = 3 << 40
    tree = merge([[toc.Entry(b"big", toc.REGULAR, 0o600, 0, 0, size, 0, 0, 0, toc.SPARSE)]])
    with pytest.raises(LimitExceeded, match="2 TiB"):
        erofs.write_index(str(tmp_path / "over"), tree, [erofs.Device(0, toc.SPARSE, size, b"")])
    size = (2 << 40) - (1 << 20)
    tree = merge([[toc.Entry(b"big", toc.REGULAR, 0o600, 0, 0, size, 0, 0, 0, toc.SPARSE)]])
    index = check(tree, str(tmp_path / "index"), [erofs.Device(0, toc.SPARSE, size, b"")])
    assert index.devices[0][1] == size // 512


def test_many_devices(tmp_path):
    layers = [make((f"f{n}", "file", f"{n}")) for n in range(127)]
    index = check(image(*layers), str(tmp_path / "index"), devices_of(layers))
    assert len(index.devices) == 254
    mapped = index.blocks
    for _, blocks, start in index.devices:
        assert start == mapped
        mapped += blocks


def test_attributes_beyond_an_inode(tmp_path):
    tar = Tar().add("f", xattrs={f"user.{n}": b"x" * 65535 for n in range(5)})
    with pytest.raises(LimitExceeded, match="extended attributes"):
        erofs.write_index(str(tmp_path / "index"), image(tar.data()), devices_of([b""]))
    tar = Tar().add("f", xattrs={f"user.{n}": b"x" * 65000 for n in range(4)})
    check(image(tar.data()), str(tmp_path / "again"), devices_of([b""]))


def test_an_existing_file_is_not_overwritten(tmp_path):
    (tmp_path / "index").write_bytes(b"")
    with pytest.raises(FileExistsError):
        erofs.write_index(str(tmp_path / "index"), Tree(), [])


def test_random_trees(tmp_path):
    for seed in range(60):
        rng = random.Random(seed)
        tar = Tar()
        names = [""]
        for _ in range(rng.randrange(1, 200)):
            name = rng.choice(names) + "".join(rng.choice("abcdef") for _ in range(rng.choice([1, 2, 30, 200])))
            kind = rng.choice(["file", "dir", "link", "fifo", "char"])
            if kind == "dir":
                names.append(name + "/")
            xattrs = {"user." + "k" * rng.randrange(1, 9): bytes(rng.randrange(99))} if rng.random() < 0.3 else {}
            tar.add(
                name,
                kind,
                bytes(rng.randrange(3000)) if kind == "file" else b"",
                link="t" * rng.randrange(1, 900),
                mode=rng.randrange(0o10000),
                major=1,
                minor=rng.randrange(1 << 20),
                mtime=rng.randrange(-(1 << 40), 1 << 40),
                xattrs=xattrs,
            )
        data = tar.data()
        try:
            tree = image(data)
        except UnderlayError:
            continue  # a member below a file, say: another test's business
        path = f"{tmp_path}/{seed}"
        check(tree, path, devices_of([data]))
        os.unlink(path)


def test_helpers_agree():
    layers, expected = CASES["one layer"]
    assert view(image(*layers), layers) == expected
    assert walk(image(*layers)).keys() == expected.keys()
    assert len(entries(layers[0])) == len(expected)
