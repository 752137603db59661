"""Removing trees: any depth, any mode, no links followed, no mounts entered."""

import os

import pytest

from underlay.files import remove_tree
from underlay.linux.files import mounts


def test_missing_files_links(tmp_path):
    remove_tree(str(tmp_path / "missing"))
    remove_tree(str(tmp_path / "missing" / "too"))
    (tmp_path / "file").write_text("x")
    remove_tree(str(tmp_path / "file"))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to("../kept")
    (tmp_path / "tree" / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "tree" / "fifo")
    remove_tree(str(tmp_path / "link"))
    remove_tree(str(tmp_path / "tree") + "/")
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_deeper_than_stack_and_descriptors_allow(tmp_path):
    os.mkdir(tmp_path / "tree")
    here = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        with open(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w"):
            pass
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_closed_directories_as_another_user(tmp_path):
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        os.mkdir(f"{directory}/home")
        os.chown(f"{directory}/home", 65534, 65534)
        child = os.fork()
        if not child:
            try:
                os.setgid(65534)
                os.setuid(65534)
                for mode in (0, 0o100, 0o400, 0o555):
                    os.makedirs(f"{directory}/home/tree/{mode}/below")
                    open(f"{directory}/home/tree/{mode}/below/file", "w").close()
                    os.chmod(f"{directory}/home/tree/{mode}/below", mode)
                    os.chmod(f"{directory}/home/tree/{mode}", mode)
                os.chmod(f"{directory}/home/tree", 0)
                remove_tree(f"{directory}/home/tree")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert os.listdir(f"{directory}/home") == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_mounts_are_not_entered(tmp_path):
    inside = tmp_path / "tree" / "inside"
    inside.mkdir(parents=True)
    mounts.mount("tmpfs", str(inside), "tmpfs")
    try:
        (inside / "file").write_text("kept")
        with pytest.raises(OSError, match="mounted"):
            remove_tree(str(tmp_path / "tree"))
        assert (inside / "file").read_text() == "kept"
    finally:
        mounts.umount(str(inside))
    remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == []
