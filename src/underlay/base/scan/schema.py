"""The tables of the file of a scan, what makes an older file one of today's format, and the merging of two.

They are documented in docs/reference/scan-file.md: others read them, too.
"""

from __future__ import annotations

FORMAT = 3
APPLICATION = 0x756C7363  # "ulsc": what the file is (SQLite, PRAGMA application_id)
_IN_2 = """
CREATE TABLE documents (            -- manifests, indexes and configurations, as registries have them
    digest TEXT PRIMARY KEY,
    data BLOB NOT NULL              -- compressed (zlib)
) STRICT, WITHOUT ROWID;
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,           -- compressed, as the registry has it
    size INTEGER NOT NULL,          -- bytes of that
    facts BLOB,                     -- NULL until it is read
    tells INTEGER NOT NULL DEFAULT 0, -- 1 if it says anything of packages or releases
    problem TEXT NOT NULL DEFAULT ''  -- why it could not be read
) STRICT, WITHOUT ROWID;
CREATE TABLE packages (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,             -- deb, apk, rpm
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    origin TEXT NOT NULL,           -- source package
    origin_version TEXT NOT NULL,
    licence TEXT NOT NULL,
    UNIQUE (name, kind, version, architecture, origin, origin_version, licence)
) STRICT;
CREATE INDEX packages_origin ON packages(origin);
CREATE TABLE inventories (          -- what is installed: shared by the images whose telling layers are the same
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,       -- SHA-256 of the diff ids of those layers
    release TEXT NOT NULL,          -- os-release as a JSON object
    problems TEXT NOT NULL          -- JSON array of sentences
) STRICT;
CREATE TABLE inventory_packages (
    package INTEGER NOT NULL REFERENCES packages(id),
    inventory INTEGER NOT NULL REFERENCES inventories(id),
    PRIMARY KEY (package, inventory)
) STRICT, WITHOUT ROWID;
CREATE INDEX inventory_packages_inventory ON inventory_packages(inventory);
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    manifest TEXT NOT NULL UNIQUE,  -- digest
    config TEXT NOT NULL,           -- digest, docker's image id
    platform TEXT NOT NULL,
    layers TEXT NOT NULL,           -- diff ids, lowest first, separated by spaces
    base TEXT NOT NULL DEFAULT '',  -- name of its base, scratch, or '' if unknown
    standing TEXT NOT NULL DEFAULT '', -- JSON: what it stands on; '' until that is asked
    day TEXT NOT NULL DEFAULT '',   -- when it was asked (ISO 8601)
    inventory INTEGER REFERENCES inventories(id),
    below INTEGER REFERENCES inventories(id), -- that of its base's layers
    judge TEXT NOT NULL DEFAULT ''  -- which indexes of bases it was asked of
) STRICT;
CREATE INDEX images_base ON images(base);
CREATE INDEX images_inventory ON images(inventory);
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    root TEXT NOT NULL,             -- digest that the name stands for: of an index or a manifest
    image INTEGER REFERENCES images(id),
    seen INTEGER NOT NULL,          -- seconds since the epoch
    problem TEXT NOT NULL DEFAULT '' -- why it could not be looked at, the last time
) STRICT, WITHOUT ROWID;
CREATE INDEX names_image ON names(image);
"""
_NEW_IN_3 = """
CREATE TABLE chains (               -- what images stand on: their base, what that stands on, and so on
    base TEXT NOT NULL,             -- name
    image INTEGER NOT NULL REFERENCES images(id),
    PRIMARY KEY (base, image)
) STRICT, WITHOUT ROWID;
CREATE TABLE bases (                -- what was last seen of the names of bases
    name TEXT NOT NULL,
    platform TEXT NOT NULL,
    root TEXT NOT NULL,             -- digest that the name stands for
    config TEXT NOT NULL,           -- digest of the configuration for the platform
    seen INTEGER NOT NULL,          -- seconds since the epoch
    advisories TEXT NOT NULL,       -- JSON array: ids of those that hit the builds that images stand on
    PRIMARY KEY (name, platform)
) STRICT, WITHOUT ROWID;
"""
_LINKS = """
INSERT OR IGNORE INTO chains
    SELECT base, id FROM images WHERE base <> '' UNION ALL
    SELECT links.value, images.id FROM images, json_each(iif(standing = '', '{}', standing), '$.chain') AS links
    WHERE links.value <> '?';
"""
# What makes a file of one format one of the next.
UPGRADES = {1: "ALTER TABLE images ADD COLUMN judge TEXT NOT NULL DEFAULT '';", 2: _NEW_IN_3 + _LINKS}
TABLES = _IN_2 + _NEW_IN_3
# Of two files (`other` is attached) the later look at a name and at what an image stands on counts, and facts beat none.
_PACKAGE = "name, kind, version, architecture, origin, origin_version, licence"
MERGE = f"""
BEGIN IMMEDIATE;
INSERT OR IGNORE INTO documents SELECT digest, data FROM other.documents;
INSERT OR IGNORE INTO layers (diff_id, digest, size, problem) SELECT diff_id, digest, size, problem FROM other.layers;
UPDATE layers SET facts = theirs.facts, tells = theirs.tells, problem = '' FROM other.layers AS theirs
    WHERE theirs.diff_id = layers.diff_id AND layers.facts IS NULL AND theirs.facts IS NOT NULL;
INSERT OR IGNORE INTO packages ({_PACKAGE}) SELECT {_PACKAGE} FROM other.packages;
INSERT OR IGNORE INTO inventories (key, release, problems) SELECT key, release, problems FROM other.inventories;
INSERT OR IGNORE INTO inventory_packages (package, inventory)
    SELECT mine.id, inventories.id FROM other.inventory_packages AS held
    JOIN other.packages AS theirs ON theirs.id = held.package JOIN packages AS mine USING ({_PACKAGE})
    JOIN other.inventories AS whole ON whole.id = held.inventory JOIN inventories ON inventories.key = whole.key;
INSERT OR IGNORE INTO images (manifest, config, platform, layers)
    SELECT manifest, config, platform, layers FROM other.images;
UPDATE images SET base = theirs.base, standing = theirs.standing, day = theirs.day, judge = theirs.judge,
    inventory = (SELECT mine.id FROM inventories AS mine JOIN other.inventories AS whole USING (key)
        WHERE whole.id = theirs.inventory),
    below = (SELECT mine.id FROM inventories AS mine JOIN other.inventories AS whole USING (key)
        WHERE whole.id = theirs.below)
    FROM other.images AS theirs WHERE theirs.manifest = images.manifest AND theirs.day > images.day;
DELETE FROM chains;
{_LINKS}
INSERT INTO names
    SELECT theirs.name, theirs.root,
        (SELECT mine.id FROM images AS mine JOIN other.images AS image USING (manifest) WHERE image.id = theirs.image),
        theirs.seen, theirs.problem
    FROM other.names AS theirs WHERE true
    ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, problem = excluded.problem,
        root = CASE WHEN excluded.image IS NULL THEN names.root ELSE excluded.root END,
        image = coalesce(excluded.image, names.image)
    WHERE excluded.seen > names.seen;
INSERT INTO bases SELECT * FROM other.bases WHERE true ON CONFLICT (name, platform) DO UPDATE SET
    root = excluded.root, config = excluded.config, seen = excluded.seen, advisories = excluded.advisories
    WHERE excluded.seen > bases.seen;
COMMIT;
"""
