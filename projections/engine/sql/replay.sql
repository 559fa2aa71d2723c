-- Every statement of replays: their rows, their parts, switching. Form and identifiers: as in queries.sql.

-- replays --
-- Returns the replays of a study, of one projection or of all, from the first to the last.
SELECT r.replay_id, r.study_id, r.name, r.from_schema, r.from_version, r.from_fingerprint, f.generation, f.tables,
       r.schema_name, r.version, r.fingerprint, d.generation, d.tables, r.state, r.ceiling, r.size, r.root, r.report,
       r.report_digest, r.approval, r.failure, r.built_s, r.by, r.reason, r.begun_at, r.changed_at
FROM projection.replays AS r
LEFT JOIN projection.definitions AS d ON d.schema_name = r.schema_name
LEFT JOIN projection.definitions AS f ON f.schema_name = r.from_schema
WHERE r.study_id = %(study)s AND (%(name)s::text IS NULL OR r.name = %(name)s)
ORDER BY r.begun_at, r.replay_id

-- lock_replay --
-- Waits for a replay's row and takes it.
SELECT state FROM projection.replays WHERE replay_id = %(replay)s FOR UPDATE

-- begin_replay --
-- Notes a replay before anything of it is done.
INSERT INTO projection.replays (replay_id, study_id, name, from_schema, from_version, from_fingerprint, schema_name,
                                version, fingerprint, state, ceiling, by, reason)
VALUES (%(replay)s, %(study)s, %(name)s, %(from_schema)s, %(from_version)s, %(from_fingerprint)s, %(schema)s,
        %(version)s, %(fingerprint)s, 'planned', %(ceiling)s, %(by)s, %(reason)s)

-- move_replay --
-- Moves a replay on, from one of the states expected.
UPDATE projection.replays SET state = %(state)s, changed_at = clock_timestamp()
WHERE replay_id = %(replay)s AND state = ANY (%(expected)s::text[])

-- plan_replay --
-- Notes up to which size the parts of a replay are built.
UPDATE projection.replays SET ceiling = %(ceiling)s, state = 'building', changed_at = clock_timestamp()
WHERE replay_id = %(replay)s AND state IN ('planned', 'building')

-- built_replay --
-- Notes how long the parts of a replay took, all workers together.
UPDATE projection.replays SET built_s = %(seconds)s WHERE replay_id = %(replay)s

-- compared_replay --
-- Notes what a comparison found, and at which size.
UPDATE projection.replays
SET size = %(size)s, root = %(root)s, report = %(report)s, report_digest = %(digest)s, approval = NULL
WHERE replay_id = %(replay)s

-- approved_replay --
-- Notes by which statement a replay was approved.
UPDATE projection.replays SET approval = %(approval)s WHERE replay_id = %(replay)s

-- failed_replay --
-- Notes at what a replay failed.
UPDATE projection.replays SET failure = %(failure)s WHERE replay_id = %(replay)s

-- source_of_replay --
-- Notes what answers now, where that is something else than when the replay began.
UPDATE projection.replays
SET from_schema = %(schema)s, from_version = %(version)s, from_fingerprint = %(fingerprint)s
WHERE replay_id = %(replay)s

-- note_step --
-- Notes what a replay concluded, to be put into the ledger.
INSERT INTO projection.replay_steps (replay_id, number, step, report)
SELECT %(replay)s, coalesce(max(number), 0) + 1, %(step)s, %(report)s
FROM projection.replay_steps WHERE replay_id = %(replay)s

-- waiting_steps --
-- Returns what was concluded and does not stand in the ledger yet, in order.
SELECT s.replay_id, r.study_id, r.name, s.number, s.step, s.at, s.report
FROM projection.replay_steps AS s JOIN projection.replays AS r USING (replay_id)
WHERE s.idx IS NULL ORDER BY s.at, s.replay_id, s.number

-- steps --
-- Returns what a replay concluded, and where it stands in the ledger.
SELECT number, step, at, report, idx FROM projection.replay_steps WHERE replay_id = %(replay)s ORDER BY number

-- step_recorded --
-- Notes where a step stands in the ledger.
UPDATE projection.replay_steps SET idx = %(idx)s WHERE replay_id = %(replay)s AND number = %(number)s

-- recorded_jti --
-- Returns the index of an event by its id.
SELECT idx FROM ledger.events WHERE study_id = %(study)s AND jti = %(jti)s

-- take_turn --
-- Takes the turn of replaying a projection of a study, as long as this connection lasts; false where another has it.
SELECT pg_try_advisory_lock(7242019, hashtext(%(study)s || ' ' || %(name)s))

-- next_generation --
-- Returns the generation of a version that its next replay makes; 0 is the follower's, and none is ever made twice.
SELECT count(*) + 1 FROM projection.replays
WHERE name = %(name)s AND version = %(version)s AND fingerprint = %(fingerprint)s

-- begin_parts --
-- Notes the parts of a build, each a run of aggregates in order of their ids.
INSERT INTO {schema}."_parts" (study_id, part, first, last, events, ceiling)
SELECT %(study)s, part, first, last, events, %(ceiling)s
FROM unnest(%(parts)s::int[], %(firsts)s::uuid[], %(lasts)s::uuid[], %(events)s::bigint[])
     AS p (part, first, last, events)

-- claim_part --
-- Takes the first part that is neither built nor being built, for this transaction.
SELECT part, first, last, events FROM {schema}."_parts"
WHERE study_id = %(study)s AND NOT finished ORDER BY part LIMIT 1 FOR UPDATE SKIP LOCKED

-- finish_part --
-- Notes that a part is built, in the transaction that wrote its rows.
UPDATE {schema}."_parts" SET finished = true, seconds = %(seconds)s
WHERE study_id = %(study)s AND part = %(part)s AND NOT finished AND ceiling = %(ceiling)s

-- parts --
-- Returns how far a build is: parts, parts built, events of all, events of those, seconds they took, which are built.
SELECT count(*), count(*) FILTER (WHERE finished), coalesce(sum(events), 0),
       coalesce(sum(events) FILTER (WHERE finished), 0), coalesce(sum(seconds), 0),
       coalesce(array_agg(part ORDER BY part) FILTER (WHERE finished), '{{}}'), coalesce(max(ceiling), 0)
FROM {schema}."_parts" WHERE study_id = %(study)s

-- events_of_part --
-- Returns the events of a run of aggregates below an index, one aggregate after another, each in order.
SELECT idx, originator_id, originator_version, state, disclosures, recorded_at, redacted FROM ledger.entries
WHERE study_id = %(study)s AND originator_id BETWEEN %(first)s AND %(last)s AND idx < %(stop)s
ORDER BY originator_id, originator_version

-- counted_topics --
-- Returns how many aggregates of a study have events of these topics.
SELECT count(DISTINCT originator_id) FROM ledger.events
WHERE study_id = %(study)s AND topic = ANY (%(topics)s::text[]) AND idx < %(stop)s

-- touched --
-- Returns the aggregates that have events in a range of indexes; NULL: without an end, without a limit.
SELECT DISTINCT originator_id FROM ledger.events
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < coalesce(%(stop)s, 9223372036854775807) LIMIT %(limit)s

-- forget_compared --
-- Takes away the digests of an earlier comparison.
DELETE FROM {schema}."_compared" WHERE study_id = %(study)s

-- keep_compared --
-- Keeps the digest of each partition as it was compared.
INSERT INTO {schema}."_compared" (study_id, partition, digest)
SELECT %(study)s, * FROM unnest(%(partitions)s::text[], %(digests)s::text[])

-- compared_digests --
-- Returns the digest of each partition as it was compared.
SELECT partition, digest FROM {schema}."_compared" WHERE study_id = %(study)s

-- end_build --
-- Lets a read model be kept current from the size up to which it was built.
INSERT INTO projection.positions (schema_name, study_id, position) VALUES (%(schema)s, %(study)s, %(position)s)
ON CONFLICT (schema_name, study_id) DO NOTHING

-- pointer --
-- Returns what answers for a projection of a study, and keeps it from changing in this transaction.
SELECT p.schema_name, d.version, d.fingerprint, d.generation, d.tables
FROM projection.pointers AS p JOIN projection.definitions AS d USING (schema_name)
WHERE p.study_id = %(study)s AND p.name = %(name)s FOR UPDATE OF p

-- switch --
-- Lets another read model answer, if the one expected did until now.
UPDATE projection.pointers SET schema_name = %(schema)s, version = %(version)s, switched_at = clock_timestamp()
WHERE name = %(name)s AND study_id = %(study)s AND schema_name = %(expected)s

-- forget_position --
-- Lets a read model of a study no longer be kept current.
DELETE FROM projection.positions WHERE study_id = %(study)s AND schema_name = %(schema)s

-- used_elsewhere --
-- Tells whether another study has a read model in a schema, or any study's pointer names it.
SELECT EXISTS (SELECT FROM projection.positions WHERE schema_name = %(schema)s AND study_id <> %(study)s)
    OR EXISTS (SELECT FROM projection.pointers WHERE schema_name = %(schema)s)

-- unregister --
-- Forgets a read model whose schema is gone.
DELETE FROM projection.definitions WHERE schema_name = %(schema)s

-- left_behind --
-- Returns the schemas of replays of a study that were given up, and are still there.
SELECT d.schema_name FROM projection.replays AS r JOIN projection.definitions AS d USING (schema_name)
WHERE r.study_id = %(study)s AND r.state IN ('cancelled', 'failed')

-- live --
-- Returns what answers for each projection of a study.
SELECT p.name, p.schema_name, p.version, d.fingerprint, d.generation, d.tables
FROM projection.pointers AS p JOIN projection.definitions AS d ON d.schema_name = p.schema_name
WHERE p.study_id = %(study)s

-- parts_of_definition --
-- Returns the digests of what the fingerprint of a read model is made of.
SELECT parts FROM projection.definitions WHERE schema_name = %(schema)s
