"""The database: transactions, formats, damage."""

import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from underlay.errors import Corrupt, UnderlayError
from underlay.store.rows import meta
from underlay.store.rows.meta import Meta

VOLUME = "INSERT INTO volumes (name, created, labels, anonymous) VALUES (?, 1, '', 0)"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "root" / "meta.db")


def test_a_transaction_is_kept_or_not(path):
    database = Meta(path)
    with database.write() as sql:
        sql.execute(VOLUME, ("one",))
    with pytest.raises(ZeroDivisionError), database.write() as sql:
        sql.execute(VOLUME, ("two",))
        raise ZeroDivisionError
    with pytest.raises(meta.IntegrityError), database.write() as sql:
        sql.execute(VOLUME, ("one",))
    assert database.read("SELECT name FROM volumes") == [("one",)]
    database.close()
    again = Meta(path)
    assert again.read("SELECT name FROM volumes") == [("one",)]
    assert meta.integrity(again) == []
    again.close()


def test_a_newer_format_is_refused(path):
    Meta(path).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(Corrupt, match="format 99"):
        Meta(path)


def test_what_is_no_database_is_told(path):
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(b"no database at all" * 1000)
    with pytest.raises(Corrupt, match="damaged") as caught:
        Meta(path)
    assert "system check --repair" in caught.value.hint


def test_salvage_keeps_what_can_be_read(path):
    database = Meta(path)
    with database.write() as sql:
        for number in range(500):
            sql.execute(VOLUME, (f"volume-{number}",))
        sql.execute("INSERT INTO containers VALUES ('c', 'name', 'sha256:x', 1, '{}')")
        sql.execute("INSERT INTO volume_uses VALUES ('volume-3', 'c')")
    database.close()
    with open(path, "r+b") as file:
        # Somewhere in the volumes; the containers are elsewhere.
        at = file.read().index(b"volume-400")
        file.seek(at // 4096 * 4096)
        file.write(b"\xff" * 4096)
    aside = meta.salvage(path)
    assert os.path.exists(aside)
    fresh = Meta(path)
    assert meta.integrity(fresh) == []
    assert fresh.read("SELECT name FROM containers") == [("name",)]
    fresh.close()


OPEN = """
import sys
import threading
from underlay.store.rows.meta import Meta
print("ready", flush=True)
sys.stdin.readline()
Meta(sys.argv[1]).close()
"""


def test_many_may_make_the_database_at_once(tmp_path):
    for attempt in range(5):
        words = [sys.executable, "-c", OPEN, str(tmp_path / str(attempt) / "meta.db")]
        all_of_them = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)
        ]
        for each in all_of_them:
            assert each.stdout.readline() == "ready\n"
        for each in all_of_them:
            each.stdin.write("go\n")
            each.stdin.flush()
        assert [each.communicate(timeout=90) and each.returncode for each in all_of_them] == [0] * 6


def test_two_writers_take_turns(path):
    one, two = Meta(path), Meta(path)
    with one.write() as sql:
        sql.execute(VOLUME, ("one",))
        assert two.read("SELECT count(*) FROM volumes") == [(0,)]
    with two.write() as sql:
        sql.execute(VOLUME, ("two",))
    assert one.read("SELECT count(*) FROM volumes") == [(2,)]
    one.close()
    two.close()


def in_threads(count, work):
    """Run `work(number)` in so many threads at once; return what they raised."""
    errors = []
    gate = threading.Barrier(count)

    def one(number):
        gate.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_share_one(path):
    """Each reads its own rows among those of others, and a transaction is nobody else's."""
    database = Meta(path)

    def work(number):
        mine = f"volume-{number}"
        with database.write() as sql:
            sql.execute(VOLUME.replace("1", "0"), (mine,))
        for turn in range(1, 300):
            with database.write() as sql:
                sql.execute("UPDATE volumes SET created = created + 1 WHERE name = ?", (mine,))
                # Read by another way than the transaction's, and seen all the same.
                assert database.read("SELECT created FROM volumes WHERE name = ?", (mine,)) == [(turn,)]
            assert database.read("SELECT name, created FROM volumes WHERE name = ?", (mine,)) == [(mine, turn)]
            with pytest.raises(meta.IntegrityError), database.write() as sql:
                sql.execute("UPDATE volumes SET created = 0 WHERE name = ?", (mine,))
                sql.execute(VOLUME, (mine,))

    assert in_threads(8, work) == []
    assert database.read("SELECT DISTINCT created FROM volumes") == [(299,)]
    assert meta.integrity(database) == []
    database.close()


def test_a_transaction_that_cannot_begin_lets_others_go_on(path):
    database = Meta(path)
    with database.write(), pytest.raises(UnderlayError, match="within a transaction"), database.write():
        pass
    assert in_threads(1, lambda _: database.read("SELECT 1")) == []
    database.close()
