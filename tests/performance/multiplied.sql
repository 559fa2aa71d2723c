-- What makes a large study of a small one, in the bench's own database and nowhere else. Form: see ledger/store/sql.

-- counted --
-- Returns the size of a study, and how many of its events are about subjects.
SELECT h.size, (SELECT count(*) FROM ledger.events AS e WHERE e.study_id = h.study_id AND e.originator_id <> %(own)s)
FROM ledger.heads AS h WHERE h.study_id = %(study)s

-- multiply --
-- Adds copies of every subject's events behind what is there, copy by copy in the order of the log, each copy's
-- subjects with ids of their own. The statements are the very bytes of the originals.
INSERT INTO ledger.events
SELECT e.study_id, %(size)s + (copy - 1) * %(about)s + e.place, md5(e.originator_id::text || copy)::uuid,
       e.originator_version, e.topic, e.state, e.disclosures, md5(e.jti::text || copy)::uuid, e.kid, e.recorded_at,
       e.leaf_hash
FROM generate_series(1, %(copies)s) AS copy
CROSS JOIN (
    SELECT *, row_number() OVER (ORDER BY idx) - 1 AS place FROM ledger.events
    WHERE study_id = %(study)s AND originator_id <> %(own)s AND idx < %(size)s
) AS e
ORDER BY copy, e.place

-- leaves --
-- Returns the leaf hashes of a study in order.
SELECT leaf_hash FROM ledger.events WHERE study_id = %(study)s ORDER BY idx

-- grow --
-- Moves the head to behind the copies.
UPDATE ledger.heads SET size = %(size)s, frontier = %(frontier)s, root = %(root)s WHERE study_id = %(study)s

-- settle --
-- Tells the planner what is there now.
ANALYZE ledger.events

-- sample --
-- Returns statements with their disclosures as one text each: as many as asked for, spread over a study.
SELECT encode(state, 'escape') || '~' || array_to_string(disclosures, '~') FROM ledger.events
WHERE study_id = %(study)s AND idx %% greatest(1, (SELECT size FROM ledger.heads WHERE study_id = %(study)s) / %(count)s) = 0
ORDER BY idx LIMIT %(count)s

-- make_count --
-- Makes the one table and row of the library's counting projection.
CREATE TABLE IF NOT EXISTS counted (one int PRIMARY KEY, events bigint NOT NULL);
INSERT INTO counted VALUES (1, 0) ON CONFLICT DO NOTHING

-- count_one --
-- Counts one event more.
UPDATE counted SET events = events + 1 WHERE one = 1

-- read_models --
-- Returns the schemas of all read models.
SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname LIKE 'rm\_%%'

-- forget --
-- Forgets that anybody ever followed a study.
TRUNCATE projection.pointers, projection.positions, projection.definitions, projection.replays CASCADE

-- subjects --
-- Returns the subjects of a study in order of their first events.
SELECT originator_id FROM ledger.events WHERE study_id = %(study)s AND originator_id <> %(own)s
AND originator_version = 1 ORDER BY idx

-- plan_of_a_page --
-- Returns how the database answers a page of the trail.
EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, SUMMARY OFF)
SELECT * FROM {table} WHERE study_id = %(study)s AND idx < %(size)s AND idx >= %(since)s ORDER BY idx LIMIT 100

-- plan_of_a_patient --
-- Returns how the database answers for the records of one subject.
EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, SUMMARY OFF)
SELECT * FROM {table} WHERE study_id = %(study)s AND partition = %(partition)s ORDER BY idx
