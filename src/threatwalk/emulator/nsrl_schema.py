"""The tables and views of NSRL's reference data set, version 3, full edition; its indexes are `sources.rds.index`'s."""

_STAMPS = """creation_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    update_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL"""

SCHEMA = """
CREATE TABLE PACKAGE_OBJECT (
    package_object_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    package_id INTEGER NOT NULL,
    object_id INTEGER UNIQUE NOT NULL
);
CREATE TABLE APPLICATION (
    application_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    package_id INTEGER NOT NULL REFERENCES PACKAGE_OBJECT (package_id),
    name VARCHAR DEFAULT '' NOT NULL,
    name_b64 VARCHAR NOT NULL,
    name_coding VARCHAR NOT NULL,
    version VARCHAR DEFAULT '',
    poe VARCHAR DEFAULT 'purchased' NOT NULL,
    build VARCHAR DEFAULT '',
    latest_copyright VARCHAR DEFAULT '',
    other VARCHAR DEFAULT '',
    {_STAMPS}
);
CREATE TABLE APPLICATION_TYPE (
    application_type_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    description VARCHAR NOT NULL,
    {_STAMPS}
);
CREATE TABLE APPLICATION_APPLICATION_TYPE (
    application_application_type_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    application_id INTEGER NOT NULL REFERENCES APPLICATION (application_id),
    application_type_id INTEGER NOT NULL REFERENCES APPLICATION_TYPE (application_type_id)
);
CREATE TABLE LANGUAGE (
    language_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    name VARCHAR DEFAULT '' NOT NULL,
    {_STAMPS},
    language_tag VARCHAR
);
CREATE TABLE APPLICATION_LANGUAGE (
    application_language_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    language_id INTEGER NOT NULL REFERENCES LANGUAGE (language_id),
    application_id INTEGER NOT NULL REFERENCES APPLICATION (application_id)
);
CREATE TABLE OPERATING_SYSTEM (
    operating_system_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    name VARCHAR DEFAULT '' NOT NULL,
    name_b64 VARCHAR,
    name_coding VARCHAR,
    version VARCHAR DEFAULT '' NOT NULL,
    architecture VARCHAR DEFAULT '' NOT NULL,
    {_STAMPS}
);
CREATE TABLE OPERATING_SYSTEM_APPLICATION (
    operating_system_application_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    operating_system_id INTEGER NOT NULL REFERENCES OPERATING_SYSTEM (operating_system_id),
    application_id INTEGER NOT NULL REFERENCES APPLICATION (application_id)
);
CREATE TABLE MANUFACTURER (
    manufacturer_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    name VARCHAR DEFAULT '' NOT NULL,
    name_b64 VARCHAR,
    name_coding VARCHAR,
    address1 VARCHAR DEFAULT '' NOT NULL,
    address1_b64 VARCHAR,
    address1_coding VARCHAR,
    address2 VARCHAR DEFAULT '' NOT NULL,
    address2_b64 VARCHAR,
    address2_coding VARCHAR,
    city VARCHAR DEFAULT '' NOT NULL,
    city_b64 VARCHAR,
    city_coding VARCHAR,
    stateprov VARCHAR DEFAULT '' NOT NULL,
    postal_code VARCHAR DEFAULT '' NOT NULL,
    country VARCHAR DEFAULT '' NOT NULL,
    telephone VARCHAR DEFAULT '' NOT NULL,
    fax VARCHAR DEFAULT '' NOT NULL,
    url VARCHAR DEFAULT '' NOT NULL,
    url_b64 VARCHAR,
    url_coding VARCHAR,
    email VARCHAR DEFAULT '' NOT NULL,
    {_STAMPS}
);
CREATE TABLE MANUFACTURER_APPLICATION (
    manufacturer_application_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    manufacturer_id INTEGER NOT NULL REFERENCES MANUFACTURER (manufacturer_id),
    application_id INTEGER NOT NULL REFERENCES APPLICATION (application_id)
);
CREATE TABLE MANUFACTURER_OPERATING_SYSTEM (
    manufacturer_operating_system_id INTEGER UNIQUE NOT NULL PRIMARY KEY,
    operating_system_id INTEGER NOT NULL REFERENCES OPERATING_SYSTEM (operating_system_id),
    manufacturer_id INTEGER NOT NULL REFERENCES MANUFACTURER (manufacturer_id)
);
CREATE TABLE METADATA (
    metadata_id NUMERIC UNIQUE NOT NULL PRIMARY KEY,
    object_id INTEGER REFERENCES PACKAGE_OBJECT (object_id),
    key_hash VARCHAR NOT NULL,
    image_hash VARCHAR,
    path VARCHAR NOT NULL,
    path_b64 VARCHAR,
    path_coding VARCHAR,
    file_name VARCHAR NOT NULL,
    file_name_b64 VARCHAR,
    file_name_coding VARCHAR,
    extension VARCHAR DEFAULT '' NOT NULL,
    extension_b64 VARCHAR,
    extension_coding VARCHAR,
    bytes INTEGER NOT NULL,
    mtime TIMESTAMP,
    used_in_rds TIMESTAMP,
    update_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    recursion_level INTEGER,
    extractee_id INTEGER DEFAULT 0 REFERENCES METADATA (metadata_id),
    crc32 VARCHAR NOT NULL,
    md5 VARCHAR NOT NULL,
    sha1 VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL
);
CREATE TABLE VERSION (
    version VARCHAR UNIQUE NOT NULL PRIMARY KEY,
    build_set VARCHAR NOT NULL,
    build_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    release_date TIMESTAMP NOT NULL,
    description VARCHAR NOT NULL
);
CREATE VIEW FILE AS
SELECT upper(f.sha256) AS sha256, upper(f.sha1) AS sha1, upper(f.md5) AS md5,
       iif(f.extension = '', f.file_name, f.file_name || '.' || f.extension) AS file_name,
       f.bytes AS file_size, o.package_id
FROM METADATA AS f JOIN PACKAGE_OBJECT AS o ON o.object_id = f.object_id;
CREATE VIEW MFG AS SELECT manufacturer_id, name FROM MANUFACTURER;
CREATE VIEW OS AS
SELECT s.operating_system_id, s.name, s.version, m.manufacturer_id
FROM OPERATING_SYSTEM AS s
JOIN MANUFACTURER_OPERATING_SYSTEM AS m ON m.operating_system_id = s.operating_system_id;
CREATE VIEW PKG AS
SELECT a.package_id, a.name, a.version, s.operating_system_id, m.manufacturer_id,
       l.name AS language, t.description AS application_type
FROM APPLICATION AS a
JOIN OPERATING_SYSTEM_APPLICATION AS s ON s.application_id = a.application_id
JOIN MANUFACTURER_APPLICATION AS m ON m.application_id = a.application_id
JOIN APPLICATION_LANGUAGE AS al ON al.application_id = a.application_id
JOIN LANGUAGE AS l ON l.language_id = al.language_id
JOIN APPLICATION_APPLICATION_TYPE AS at ON at.application_id = a.application_id
JOIN APPLICATION_TYPE AS t ON t.application_type_id = at.application_type_id;
""".replace("{_STAMPS}", _STAMPS)
