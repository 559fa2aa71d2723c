-- Every statement of the projections' engine. Form: see ledger/store/sql. {schema} and {table} are identifiers
-- that the code fills in: read models live in schemas of their own, whose names are made of declared names only.

-- reading_of --
-- Returns what a reader of a projection starts from: its schema, version and position, the signed size, whether
-- something is redacted that its rows may still hold, its fingerprint and generation. Lets this transaction wait
-- longer, in milliseconds, for a page that thinks or a client that reads slowly.
SELECT s.study_id IS NOT NULL, p.schema_name, p.version, coalesce(o.position, 0),
       coalesce((SELECT size FROM ledger.checkpoints WHERE study_id = %(study)s ORDER BY size DESC LIMIT 1), 0),
       set_config('idle_in_transaction_session_timeout', %(patience)s, true),
       EXISTS (SELECT FROM ledger.redactions AS r
               WHERE r.study_id = %(study)s AND r.effective_idx >= coalesce(o.position, 0) AND NOT EXISTS (
                   SELECT FROM ledger.destructions AS d WHERE d.study_id = r.study_id
                   AND d.effective_idx = r.effective_idx AND d.place = 'projections')),
       f.fingerprint, f.generation
FROM (SELECT 1) AS one
LEFT JOIN ledger.studies AS s ON s.study_id = %(study)s
LEFT JOIN projection.pointers AS p ON p.study_id = %(study)s AND p.name = %(name)s
LEFT JOIN projection.positions AS o ON o.study_id = %(study)s AND o.schema_name = p.schema_name
LEFT JOIN projection.definitions AS f ON f.schema_name = p.schema_name

-- drained --
-- Returns the read models of a projection that answered before one that answers now or did since, and that are kept
-- current: version, fingerprint, generation, position, and whether something is redacted that the rows may still hold.
SELECT f.version, f.fingerprint, f.generation, o.position,
       EXISTS (SELECT FROM ledger.redactions AS r
               WHERE r.study_id = %(study)s AND r.effective_idx >= o.position AND NOT EXISTS (
                   SELECT FROM ledger.destructions AS d WHERE d.study_id = r.study_id
                   AND d.effective_idx = r.effective_idx AND d.place = 'projections'))
FROM projection.definitions AS f
JOIN projection.positions AS o ON o.study_id = %(study)s AND o.schema_name = f.schema_name
WHERE f.name = %(name)s AND EXISTS (
    SELECT FROM projection.replays AS r
    WHERE r.study_id = %(study)s AND r.name = %(name)s AND r.state = 'switched' AND r.from_schema = f.schema_name)
ORDER BY f.version DESC, f.generation DESC

-- stands_still --
-- Tells whether anything stands still in a read model of a study.
SELECT EXISTS (SELECT FROM {schema}."_stopped" WHERE study_id = %(study)s)

-- redacted_below --
-- Returns how many disclosures of the entries below an index are redacted.
SELECT count(*) FROM ledger.redactions AS r
JOIN ledger.events AS e ON e.study_id = r.study_id AND e.jti = r.jti
WHERE r.study_id = %(study)s AND e.idx < %(stop)s

-- topics_between --
-- Returns how many events of each topic were recorded between two sizes.
SELECT topic, count(*) FROM ledger.events
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < %(stop)s
GROUP BY topic ORDER BY topic

-- subjects_between --
-- Returns the subjects of whom anything was recorded between two sizes, in order of their ids, after one of them; or
-- one of them alone.
SELECT DISTINCT originator_id FROM ledger.events
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < %(stop)s AND originator_id <> %(own)s
  AND (%(after)s::uuid IS NULL OR originator_id > %(after)s) AND (%(only)s::uuid IS NULL OR originator_id = %(only)s)
ORDER BY originator_id LIMIT %(limit)s

-- first_index --
-- Returns the index of the first event about something.
SELECT min(idx) FROM ledger.events WHERE study_id = %(study)s AND originator_id = %(originator)s

-- live_versions --
-- Returns every version that answers: study, projection, version, fingerprint.
SELECT p.study_id, p.name, p.version, coalesce(d.fingerprint, '')
FROM projection.pointers AS p LEFT JOIN projection.definitions AS d ON d.schema_name = p.schema_name
ORDER BY p.study_id, p.name

-- origin --
-- Returns the origin of a study's log, and how many disclosures are redacted: what was kept before is stale then.
SELECT origin, (SELECT count(*) FROM ledger.redactions WHERE study_id = %(study)s)
FROM ledger.studies WHERE study_id = %(study)s

-- signed_size --
-- Returns the size of the newest checkpoint, 0 before the first.
SELECT coalesce((SELECT size FROM ledger.checkpoints WHERE study_id = %(study)s ORDER BY size DESC LIMIT 1), 0)

-- batch_end --
-- Returns where a batch ends: at the greatest signed size within reach, so that a reader's cut has a checkpoint.
SELECT max(size) FROM ledger.checkpoints
WHERE study_id = %(study)s AND size > %(position)s AND size <= %(reach)s

-- events --
-- Returns a range of events in order, with what a fold needs.
SELECT idx, originator_id, originator_version, state, disclosures, recorded_at, redacted
FROM ledger.entries
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < %(stop)s
ORDER BY idx

-- aggregates --
-- Returns the events of some originators below an index, each originator's in order of its version.
SELECT e.idx, e.originator_id, e.originator_version, e.state, e.disclosures, e.recorded_at, e.redacted
FROM unnest(%(originators)s::uuid[], %(after)s::bigint[]) AS o (originator_id, after)
CROSS JOIN LATERAL (
    SELECT idx, originator_id, originator_version, state, disclosures, recorded_at, redacted FROM ledger.entries
    WHERE study_id = %(study)s AND originator_id = o.originator_id AND originator_version > o.after
      AND idx < %(stop)s
    ORDER BY originator_version
) AS e

-- events_of_topics --
-- Returns the events of some topics, each read from its own range of the index, however rare it is.
SELECT e.* FROM unnest(%(topics)s::text[]) AS wanted (topic) CROSS JOIN LATERAL (
    SELECT idx, originator_id, originator_version, state, disclosures, recorded_at, redacted
    FROM ledger.entries
    WHERE study_id = %(study)s AND topic = wanted.topic AND idx >= %(start)s AND idx < %(stop)s
    ORDER BY idx LIMIT %(limit)s
) AS e
ORDER BY e.idx LIMIT %(limit)s

-- places --
-- Returns the topic and the originator of the events at some indexes.
SELECT idx, topic, originator_id FROM ledger.events
WHERE study_id = %(study)s AND idx = ANY (%(indexes)s::bigint[])

-- first_events --
-- Returns the first event of each of some originators, as far as it stands below an index.
SELECT idx, originator_id, originator_version, state, disclosures, recorded_at, redacted FROM ledger.entries
WHERE study_id = %(study)s AND originator_id = ANY (%(originators)s::uuid[]) AND originator_version = 1
  AND idx < %(stop)s

-- originators --
-- Returns every originator below an index with the number of its events, in order of their ids.
SELECT originator_id, count(*) FROM ledger.events
WHERE study_id = %(study)s AND idx < %(stop)s
GROUP BY originator_id ORDER BY originator_id

-- size_at --
-- Returns how many events were recorded up to a moment: indexes and `recorded_at` rise together.
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, %(signed)s::bigint
    UNION ALL
    SELECT CASE WHEN e.recorded_at <= %(moment)s THEN e.idx + 1 ELSE low END,
           CASE WHEN e.recorded_at <= %(moment)s THEN high ELSE e.idx END
    FROM search
    JOIN ledger.events AS e ON e.study_id = %(study)s AND e.idx = (low + high) / 2
    WHERE low < high
)
SELECT low FROM search WHERE low >= high LIMIT 1

-- recorded_at --
-- Returns the ledger's time of one event.
SELECT recorded_at FROM ledger.events WHERE study_id = %(study)s AND idx = %(idx)s

-- lock_positions --
-- Takes the read models that stand still for nobody else: several followers share the work, none does it twice.
SELECT schema_name, position FROM projection.positions
WHERE study_id = %(study)s AND schema_name = ANY (%(schemas)s::text[])
ORDER BY schema_name FOR UPDATE SKIP LOCKED

-- lock_position --
-- Waits for one read model's row and takes it.
SELECT position FROM projection.positions
WHERE study_id = %(study)s AND schema_name = %(schema)s FOR UPDATE

-- advance --
-- Moves read models on, in the transaction that wrote their rows.
UPDATE projection.positions SET position = %(position)s, updated_at = clock_timestamp()
WHERE study_id = %(study)s AND schema_name = ANY (%(schemas)s::text[])

-- positions --
-- Returns how far each read model of a study stands.
SELECT schema_name, position FROM projection.positions WHERE study_id = %(study)s

-- position --
-- Returns how far the live read model of a projection stands, nothing while there is none.
SELECT o.position FROM projection.pointers AS p
JOIN projection.positions AS o ON o.schema_name = p.schema_name AND o.study_id = p.study_id
WHERE p.study_id = %(study)s AND p.name = %(name)s

-- begin_position --
-- Starts a read model of a study from the first event.
INSERT INTO projection.positions (schema_name, study_id, position) VALUES (%(schema)s, %(study)s, 0)
ON CONFLICT (schema_name, study_id) DO NOTHING

-- lock_definitions --
-- Makes processes that create read models do so one after another.
SELECT pg_advisory_xact_lock(7242018)

-- register --
-- Notes a read model's definition.
INSERT INTO projection.definitions (name, version, fingerprint, generation, schema_name, parts, tables)
VALUES (%(name)s, %(version)s, %(fingerprint)s, %(generation)s, %(schema)s, %(parts)s, %(tables)s)
ON CONFLICT DO NOTHING

-- registered --
-- Returns every read model that was ever made and is still there.
SELECT name, version, fingerprint, generation, schema_name, parts FROM projection.definitions
ORDER BY name, version, registered_at, generation

-- pointers --
-- Returns which read model answers for each projection of a study.
SELECT name, schema_name FROM projection.pointers WHERE study_id = %(study)s

-- first_pointer --
-- Lets a read model answer where none does yet.
INSERT INTO projection.pointers (name, study_id, schema_name, version)
VALUES (%(name)s, %(study)s, %(schema)s, %(version)s)
ON CONFLICT (name, study_id) DO NOTHING

-- schema_exists --
-- Tells whether a read model's schema is there.
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s)

-- create_schema --
-- Makes a read model's schema; who may read the projections may read it.
CREATE SCHEMA {schema}

-- wait_briefly --
-- Lets this transaction wait for no lock longer than others may wait behind it.
SET LOCAL lock_timeout = '200ms'

-- drop_schema --
-- Takes a read model away: everything in it can be made again from the ledger.
DROP SCHEMA IF EXISTS {schema} CASCADE

-- create_notes --
-- Makes the engine's own tables of a read model: where partitions stand still, how far each part of a build is, in
-- what its rows differ from those that it is compared with, and the digest of each partition as it was compared.
CREATE TABLE {schema}."_stopped" (
    study_id  text COLLATE "C" NOT NULL,
    partition text COLLATE "C" NOT NULL,
    idx       bigint NOT NULL,
    event     text COLLATE "C" NOT NULL,
    because   text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    again     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (study_id, partition)
);
CREATE TABLE {schema}."_parts" (
    study_id text COLLATE "C" NOT NULL,
    part     int NOT NULL,
    first    uuid NOT NULL,
    last     uuid NOT NULL,
    events   bigint NOT NULL,
    ceiling  bigint NOT NULL,
    finished boolean NOT NULL DEFAULT false,
    seconds  double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (study_id, part)
);
CREATE TABLE {schema}."_differences" (
    number      bigint GENERATED ALWAYS AS IDENTITY,
    study_id    text COLLATE "C" NOT NULL,
    partition   text COLLATE "C" NOT NULL,
    table_name  text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('added', 'removed', 'changed')),
    column_name text COLLATE "C" NOT NULL,
    path        text COLLATE "C" NOT NULL,
    before      text COLLATE "C",
    after       text COLLATE "C",
    expected    text COLLATE "C",
    intended    boolean NOT NULL,
    why         text COLLATE "C" NOT NULL,
    PRIMARY KEY (study_id, number)
);
CREATE INDEX ON {schema}."_differences" (study_id, partition);
CREATE TABLE {schema}."_compared" (
    study_id  text COLLATE "C" NOT NULL,
    partition text COLLATE "C" NOT NULL,
    digest    text COLLATE "C" NOT NULL,
    PRIMARY KEY (study_id, partition)
)

-- stop --
-- Notes the event at which a partition of a read model stands still, and why.
INSERT INTO {schema}."_stopped" (study_id, partition, idx, event, because)
VALUES (%(study)s, %(partition)s, %(idx)s, %(event)s, %(because)s)
ON CONFLICT (study_id, partition) DO UPDATE
SET idx = excluded.idx, event = excluded.event, because = excluded.because, again = false,
    at = CASE WHEN "_stopped".idx = excluded.idx THEN "_stopped".at ELSE excluded.at END

-- stopped --
-- Returns what stands still in a read model of a study: the partition, the event's index and name, and why.
SELECT {named} AS schema_name, partition, idx, event, because FROM {schema}."_stopped" WHERE study_id = %(study)s

-- to_try_again --
-- Returns the studies of a read model in which something that stands still is to be tried again.
SELECT DISTINCT {named} AS schema_name, study_id FROM {schema}."_stopped" WHERE again

-- unstop --
-- Has what stands still in a read model of a study tried again.
UPDATE {schema}."_stopped" SET again = true WHERE study_id = %(study)s

-- unstop_all --
-- Has whatever stands still in a read model tried again.
UPDATE {schema}."_stopped" SET again = true WHERE NOT again

-- lift --
-- Notes that a partition goes on.
DELETE FROM {schema}."_stopped" WHERE study_id = %(study)s AND partition = %(partition)s

-- redacted_between --
-- Returns whether a redaction took effect between two indexes.
SELECT EXISTS (SELECT FROM ledger.redactions
               WHERE study_id = %(study)s AND effective_idx >= %(start)s AND effective_idx < %(stop)s)

-- kept_models --
-- Returns every read model that is kept current in some study.
SELECT DISTINCT d.name, d.version, d.fingerprint, d.generation, d.schema_name
FROM projection.positions AS o JOIN projection.definitions AS d USING (schema_name)

-- empty_study --
-- Takes a study's rows out of a table, to be replaced in the same transaction.
DELETE FROM {schema}.{table} WHERE study_id = %(study)s

-- empty_partition --
-- Takes a partition's rows out of a table, to be replaced in the same transaction.
DELETE FROM {schema}.{table} WHERE study_id = %(study)s AND partition = %(partition)s

-- analyze --
-- Tells the planner what a table holds now.
ANALYZE {schema}.{table}

-- behind --
-- Returns the studies in which one of these read models stands below the signed size, or in which nothing that is
-- kept current answers for one of these names.
SELECT s.study_id, s.origin
FROM ledger.studies AS s
LEFT JOIN LATERAL (
    SELECT size FROM ledger.checkpoints WHERE study_id = s.study_id ORDER BY size DESC LIMIT 1
) AS c ON true
WHERE EXISTS (
    SELECT FROM projection.positions AS o JOIN projection.definitions AS d USING (schema_name)
    WHERE o.study_id = s.study_id AND d.fingerprint = ANY (%(fingerprints)s::text[])
      AND o.position < coalesce(c.size, 0)
) OR EXISTS (
    SELECT FROM unnest(%(names)s::text[]) AS m (name)
    LEFT JOIN projection.pointers AS p ON p.study_id = s.study_id AND p.name = m.name
    LEFT JOIN projection.positions AS o ON o.study_id = s.study_id AND o.schema_name = p.schema_name
    WHERE o.position IS NULL
)
ORDER BY s.study_id

-- followed --
-- Returns the read models that are kept current in a study, every version and generation of them.
SELECT d.name, d.version, d.fingerprint, d.generation
FROM projection.positions AS o JOIN projection.definitions AS d USING (schema_name)
WHERE o.study_id = %(study)s ORDER BY d.name, d.version, d.generation

-- answering --
-- Returns the read models that answer in a study, and whether each is kept current.
SELECT d.name, d.version, d.fingerprint, d.generation, o.position IS NOT NULL
FROM projection.pointers AS p
JOIN projection.definitions AS d ON d.schema_name = p.schema_name
LEFT JOIN projection.positions AS o ON o.schema_name = p.schema_name AND o.study_id = p.study_id
WHERE p.study_id = %(study)s

-- standing --
-- Returns every study with each of its read models: its definition, its position, the signed size, whether it answers,
-- and for how many seconds the first entry that it has not taken in has been signed.
SELECT s.study_id, d.name, d.version, d.fingerprint, d.schema_name, o.position, coalesce(c.size, 0),
       EXISTS (SELECT FROM projection.pointers AS p
               WHERE p.study_id = s.study_id AND p.schema_name = d.schema_name),
       greatest(extract(epoch FROM clock_timestamp() - (
           SELECT signed_at FROM ledger.checkpoints WHERE study_id = s.study_id AND size > coalesce(o.position, 0)
           ORDER BY size LIMIT 1)), 0)::float8
FROM ledger.studies AS s
LEFT JOIN projection.positions AS o ON o.study_id = s.study_id
LEFT JOIN projection.definitions AS d ON d.schema_name = o.schema_name
LEFT JOIN LATERAL (
    SELECT size FROM ledger.checkpoints WHERE study_id = s.study_id ORDER BY size DESC LIMIT 1
) AS c ON true
ORDER BY s.study_id, d.name, d.version, d.generation

-- copy_differences --
-- Takes differences in, many at a time.
COPY {schema}."_differences" (study_id, partition, table_name, key, kind, column_name, path, before, after, expected,
                              intended, why) FROM STDIN

-- forget_redacted --
-- Takes the differences of partitions away in which something was redacted from an index on: what a comparison read
-- before may be in them.
DELETE FROM {schema}."_differences" WHERE study_id = %(study)s AND partition IN (
    SELECT CASE WHEN e.originator_id = %(own)s THEN 'study' ELSE e.originator_id::text END
    FROM ledger.redactions AS r JOIN ledger.events AS e ON e.study_id = r.study_id AND e.jti = r.jti
    WHERE r.study_id = %(study)s AND r.effective_idx >= %(size)s)

-- differences --
-- Returns kept differences in order, those of one partition, table and key or of all, intended or not or all;
-- none of a partition in which something is redacted that its read model has not taken in.
SELECT partition, table_name, key, kind, column_name, path, before, after, expected, intended, why
FROM {schema}."_differences"
WHERE study_id = %(study)s
  AND (%(partition)s::text IS NULL OR partition = %(partition)s)
  AND (%(table)s::text IS NULL OR table_name = %(table)s)
  AND (%(key)s::text IS NULL OR key = %(key)s)
  AND (%(intended)s::boolean IS NULL OR intended = %(intended)s)
  AND partition NOT IN (
    SELECT CASE WHEN e.originator_id = %(own)s THEN 'study' ELSE e.originator_id::text END
    FROM ledger.redactions AS r JOIN ledger.events AS e ON e.study_id = r.study_id AND e.jti = r.jti
    WHERE r.study_id = %(study)s AND r.effective_idx >= coalesce((
        SELECT position FROM projection.positions WHERE study_id = %(study)s AND schema_name = %(schema)s), 0))
ORDER BY partition, table_name, key, kind, column_name, path, why, before, after, expected
LIMIT %(limit)s

-- count_differences --
-- Returns how many differences are kept of a study, or of one partition.
SELECT count(*) FROM {schema}."_differences"
WHERE study_id = %(study)s AND (%(partition)s::text IS NULL OR partition = %(partition)s)

-- compared --
-- Returns a replay that was compared, the last of a projection unless it is named: what it compared and how it stands.
SELECT r.replay_id, r.state, r.from_schema, r.from_version, r.from_fingerprint, r.schema_name, r.version, r.fingerprint,
       f.generation, d.generation, r.report, r.report_digest, r.approval
FROM projection.replays AS r
LEFT JOIN projection.definitions AS f ON f.schema_name = r.from_schema
LEFT JOIN projection.definitions AS d ON d.schema_name = r.schema_name
WHERE r.study_id = %(study)s AND r.name = %(name)s AND r.report IS NOT NULL
  AND (%(replay)s::uuid IS NULL OR r.replay_id = %(replay)s)
ORDER BY r.begun_at DESC, r.replay_id LIMIT 1

-- schema_position --
-- Returns how far one read model of a study stands.
SELECT position FROM projection.positions WHERE study_id = %(study)s AND schema_name = %(schema)s

-- redaction_ahead --
-- Tells whether something of an aggregate is redacted that a read model has not taken in.
SELECT EXISTS (
    SELECT FROM ledger.redactions AS r JOIN ledger.events AS e ON e.study_id = r.study_id AND e.jti = r.jti
    WHERE r.study_id = %(study)s AND e.originator_id = %(originator)s AND r.effective_idx >= coalesce((
        SELECT position FROM projection.positions WHERE study_id = %(study)s AND schema_name = %(schema)s), 0))

-- study_ids --
-- Returns every study.
SELECT study_id FROM ledger.studies ORDER BY study_id

-- answering_state --
-- Returns what answers for a projection of a study: its schema and definition, its position, and how many disclosures
-- are redacted that it has taken in.
SELECT p.schema_name, d.version, d.fingerprint, d.generation, coalesce(o.position, 0),
       (SELECT count(*) FROM ledger.redactions AS r
        WHERE r.study_id = s.study_id AND r.effective_idx < coalesce(o.position, 0))
FROM ledger.studies AS s
LEFT JOIN projection.pointers AS p ON p.study_id = s.study_id AND p.name = %(name)s
LEFT JOIN projection.definitions AS d ON d.schema_name = p.schema_name
LEFT JOIN projection.positions AS o ON o.study_id = s.study_id AND o.schema_name = p.schema_name
WHERE s.study_id = %(study)s

-- redactions_below --
-- Returns how many disclosures of a study are redacted by what stands below an index.
SELECT count(*) FROM ledger.redactions WHERE study_id = %(study)s AND effective_idx < %(size)s

-- uncounted --
-- Returns the studies of which enough events wait to be counted, or too many are, with the signed size.
SELECT s.study_id, coalesce(c.size, 0)
FROM ledger.studies AS s
LEFT JOIN LATERAL (
    SELECT size FROM ledger.checkpoints WHERE study_id = s.study_id ORDER BY size DESC LIMIT 1
) AS c ON true
LEFT JOIN projection.counted AS n ON n.study_id = s.study_id
WHERE coalesce(c.size, 0) - coalesce(n.size, 0) >= %(at_least)s OR n.size > coalesce(c.size, 0)
ORDER BY s.study_id

-- begin_counting --
-- Begins the counts of a study, unless they were begun: asked first, for a conflict would wait for whoever counts.
INSERT INTO projection.counted (study_id, size)
SELECT %(study)s, 0 WHERE NOT EXISTS (SELECT FROM projection.counted WHERE study_id = %(study)s)
ON CONFLICT (study_id) DO NOTHING

-- lock_counted --
-- Takes the counts of a study, unless another process has them: how many events are counted.
SELECT size FROM projection.counted WHERE study_id = %(study)s FOR UPDATE SKIP LOCKED

-- forget_counts --
-- Takes the counts of a study away, to be counted anew in this transaction.
DELETE FROM projection.event_counts WHERE study_id = %(study)s

-- add_counts --
-- Adds the events of a range to the counts, by topic.
INSERT INTO projection.event_counts AS held (study_id, topic, count)
SELECT study_id, topic, count(*) FROM ledger.events
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < %(stop)s
GROUP BY study_id, topic
ON CONFLICT (study_id, topic) DO UPDATE SET count = held.count + excluded.count

-- counted_to --
-- Notes how many events are counted.
UPDATE projection.counted SET size = %(stop)s WHERE study_id = %(study)s

-- counted_of --
-- Returns the signed size of a study and how many of its events are counted.
SELECT coalesce((SELECT size FROM ledger.checkpoints WHERE study_id = s.study_id ORDER BY size DESC LIMIT 1), 0),
       coalesce((SELECT size FROM projection.counted WHERE study_id = s.study_id), 0)
FROM ledger.studies AS s WHERE s.study_id = %(study)s

-- event_counts --
-- Returns the counts of a study, by topic.
SELECT topic, count FROM projection.event_counts WHERE study_id = %(study)s

-- count_range --
-- Counts the events of a range, by topic.
SELECT topic, count(*) FROM ledger.events
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < %(stop)s
GROUP BY topic

-- decisions --
-- Returns what was decided about passing over events, in whatever version, each kind from its own range of the index.
SELECT d.* FROM (
    SELECT idx, originator_id, originator_version, state, disclosures, recorded_at, redacted FROM ledger.entries
    WHERE study_id = %(study)s AND topic >= 'EventSkipped/' AND topic < 'EventSkipped0' AND idx < %(stop)s
    UNION ALL
    SELECT idx, originator_id, originator_version, state, disclosures, recorded_at, redacted FROM ledger.entries
    WHERE study_id = %(study)s AND topic >= 'SkippingEnded/' AND topic < 'SkippingEnded0' AND idx < %(stop)s
) AS d ORDER BY d.idx
