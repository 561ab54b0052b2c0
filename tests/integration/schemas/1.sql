-- answers without who gave them; the gate counted quotas in a table that nobody reads any more
CREATE TABLE answers (id INTEGER NOT NULL, filter VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL, "key" BLOB NOT NULL, value TEXT, asked_us BIGINT NOT NULL, outcome VARCHAR(16) NOT NULL, form VARCHAR(8) NOT NULL, digest BLOB NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (id), CONSTRAINT one_answer_once UNIQUE (filter, kind, "key", asked_us, digest));
INSERT INTO "answers" VALUES(1,'otx','domain',X'6576696C2E6578616D706C65',NULL,1777636800000000,'empty','raw',X'4541610DF8327EE0793AC73A94D06526',X'789CABAE0500017500F9');
CREATE TABLE indicators (id INTEGER NOT NULL, digest BLOB NOT NULL, kind VARCHAR(16) NOT NULL, value TEXT NOT NULL, tlp VARCHAR(16) NOT NULL, pap VARCHAR(16) NOT NULL, active_dns BOOLEAN NOT NULL, note TEXT NOT NULL, priority INTEGER NOT NULL, budget INTEGER, state VARCHAR(16) NOT NULL, attempts INTEGER NOT NULL, lease_owner VARCHAR(200), lease_until_us BIGINT, added_us BIGINT NOT NULL, finished_us BIGINT, run VARCHAR(200), result TEXT, reason TEXT, PRIMARY KEY (id));
INSERT INTO "indicators" VALUES(1,X'E21B45C40CAE456756D252BF05FA16AB5A62B4BB80BC53D4E0B06FD5FD3A8CEA','domain','evil.example','amber','amber',0,'',0,NULL,'queued',0,NULL,NULL,1777636800000000,NULL,NULL,NULL,NULL);
CREATE TABLE promotions (id INTEGER NOT NULL, at_us BIGINT NOT NULL, who VARCHAR(200) NOT NULL, "by" VARCHAR(16) NOT NULL, from_version INTEGER, to_version INTEGER NOT NULL, policy VARCHAR(80) NOT NULL, reason TEXT NOT NULL, done BOOLEAN NOT NULL, PRIMARY KEY (id));
INSERT INTO "promotions" VALUES(1,1777636800000000,'ann','gate',NULL,1,'selective','better',1);
CREATE TABLE schema_version (component VARCHAR(40) NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (component));
INSERT INTO "schema_version" VALUES('archive',1);
INSERT INTO "schema_version" VALUES('queue',1);
INSERT INTO "schema_version" VALUES('ledger',1);
CREATE INDEX next_first ON indicators (state, priority DESC, id);
CREATE UNIQUE INDEX open_once ON indicators (digest) WHERE state IN ('queued', 'leased');
CREATE TABLE quota_use (source VARCHAR(64) NOT NULL, day VARCHAR(10) NOT NULL, day_used INTEGER NOT NULL, month VARCHAR(7) NOT NULL, month_used INTEGER NOT NULL, PRIMARY KEY (source));
