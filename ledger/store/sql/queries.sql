-- Every statement of the store. Form: see __init__.py.

-- begin_append --
-- Opens the writer's transaction: each statement then sees what was committed before it.
BEGIN ISOLATION LEVEL READ COMMITTED

-- commit --
-- Makes the writer's batch durable.
COMMIT

-- begin_snapshot --
-- Opens a reader's transaction in which every statement sees the same moment.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY

-- known_jtis_and_clock --
-- Returns the same, and in a last row the database's clock at this moment, to be compared with the writer's own.
SELECT jti::text, idx, sha256(state), NULL::timestamptz FROM ledger.events
WHERE study_id = %(study)s AND jti = ANY (%(jtis)b::uuid[])
UNION ALL SELECT NULL, NULL, NULL, clock_timestamp()

-- create_study --
-- Makes a study's partition and head; true when it was made now, false when it was there.
SELECT ledger.create_study(%(study)s, %(origin)s)

-- select_studies --
-- Returns all studies with their origins, in order of their identifiers.
SELECT study_id, origin FROM ledger.studies ORDER BY study_id

-- lock_head --
-- Locks a study's head until the end of the transaction, which orders all writers of the study.
SELECT size, frontier, root, last_recorded_at FROM ledger.heads WHERE study_id = %(study)s FOR UPDATE

-- begin_signing --
-- Returns the newest checkpoint, the head, the events from one index to the head as the signer hashes them, and where
-- the log's key was rotated.
SELECT c.size, c.root, c.note, c.signed_at, h.size, h.frontier, h.root, h.last_recorded_at,
       e.idx, e.state, e.recorded_at, e.leaf_hash, r.rotated
FROM ledger.heads AS h
LEFT JOIN LATERAL (SELECT array_agg(idx ORDER BY idx) AS rotated FROM ledger.events WHERE study_id = %(study)s
                   AND topic >= 'LogKeyRotated/' AND topic < 'LogKeyRotated0' AND idx < h.size) AS r ON true
LEFT JOIN LATERAL (SELECT size, root, note, signed_at FROM ledger.checkpoints
                   WHERE study_id = %(study)s ORDER BY size DESC LIMIT 1) AS c ON true
LEFT JOIN LATERAL (SELECT idx, state, recorded_at, leaf_hash FROM ledger.events
                   WHERE study_id = %(study)s AND idx >= %(start)s AND idx < h.size
                   ORDER BY idx LIMIT %(limit)s) AS e ON true
WHERE h.study_id = %(study)s ORDER BY e.idx

-- read_head --
-- Returns a study's head as last committed.
SELECT size, frontier, root, last_recorded_at FROM ledger.heads WHERE study_id = %(study)s

-- store_head --
-- Moves a study's head to the events that this transaction has inserted.
UPDATE ledger.heads
SET size = %(size)s, frontier = %(frontier)s, root = %(root)s, last_recorded_at = %(last_recorded_at)s
WHERE study_id = %(study)s

-- known_jtis --
-- Returns, of the given event ids, those the study has: index and SHA-256 of the stored JWT.
SELECT jti::text, idx, sha256(state) FROM ledger.events
WHERE study_id = %(study)s AND jti = ANY (%(jtis)s::uuid[])

-- insert_events --
-- Inserts a batch of events; the disclosures of one event come joined by '~', which none can contain.
INSERT INTO ledger.events (study_id, idx, originator_id, originator_version, topic, state, disclosures,
                           jti, kid, recorded_at, leaf_hash)
SELECT %(study)s, e.idx, e.originator_id, e.originator_version, e.topic, e.state,
       string_to_array(e.disclosures, '~'), e.jti, e.kid, e.recorded_at, e.leaf_hash
FROM unnest(%(idx)b::bigint[], %(originator_id)b::uuid[], %(originator_version)b::bigint[],
            %(topic)b::text[], %(state)b::bytea[], %(disclosures)b::text[], %(jti)b::uuid[],
            %(kid)b::text[], %(recorded_at)b::text[], %(leaf_hash)b::bytea[])
    AS e (idx, originator_id, originator_version, topic, state, disclosures, jti, kid, recorded_at, leaf_hash)

-- select_events --
-- Returns events of a study in order of their index, from one index to below another.
SELECT idx, originator_id, originator_version, topic, state, disclosures, jti::text, kid, recorded_at, leaf_hash,
       redacted
FROM ledger.entries
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < %(stop)s
ORDER BY idx LIMIT %(limit)s

-- topics_of --
-- Returns the topics that these events have in a study, of every version, known to this release or not; looks at one
-- index entry for each.
WITH RECURSIVE found (event, topic) AS (
    SELECT wanted.event, (SELECT min(e.topic) FROM ledger.events AS e WHERE e.study_id = %(study)s
                          AND e.topic > wanted.event || '/' AND e.topic < wanted.event || '0')
    FROM unnest(%(events)s::text[]) AS wanted (event)
    UNION ALL
    SELECT found.event, (SELECT min(e.topic) FROM ledger.events AS e WHERE e.study_id = %(study)s
                         AND e.topic > found.topic AND e.topic < found.event || '0')
    FROM found WHERE found.topic IS NOT NULL
)
SELECT topic FROM found WHERE topic IS NOT NULL ORDER BY topic

-- all_topics --
-- Returns every topic that a study has; looks at one index entry for each.
WITH RECURSIVE found (topic) AS (
    SELECT min(topic) FROM ledger.events WHERE study_id = %(study)s
    UNION ALL
    SELECT (SELECT min(e.topic) FROM ledger.events AS e WHERE e.study_id = %(study)s AND e.topic > found.topic)
    FROM found WHERE found.topic IS NOT NULL
)
SELECT topic FROM found WHERE topic IS NOT NULL

-- select_events_by_topic --
-- The same for some topics only, each read from its own range of the index, however rare it is.
SELECT e.* FROM unnest(%(topics)s::text[]) AS wanted (topic) CROSS JOIN LATERAL (
    SELECT idx, originator_id, originator_version, topic, state, disclosures, jti::text, kid, recorded_at,
           leaf_hash, redacted
    FROM ledger.entries
    WHERE study_id = %(study)s AND topic = wanted.topic AND idx >= %(start)s AND idx < %(stop)s
    ORDER BY idx LIMIT %(limit)s
) AS e
ORDER BY e.idx LIMIT %(limit)s

-- select_events_by_originator --
-- The same for one originator only, and for some topics only where they are given.
SELECT idx, originator_id, originator_version, topic, state, disclosures, jti::text, kid, recorded_at, leaf_hash,
       redacted
FROM ledger.entries
WHERE study_id = %(study)s AND originator_id = %(originator_id)s AND idx >= %(start)s AND idx < %(stop)s
  AND (%(topics)s::text[] IS NULL OR topic = ANY (%(topics)s::text[]))
ORDER BY originator_version LIMIT %(limit)s

-- select_aggregate --
-- Returns the events of one originator in order of their version, after one and up to another.
SELECT idx, originator_id, originator_version, topic, state, disclosures, jti::text, kid, recorded_at, leaf_hash,
       redacted
FROM ledger.entries
WHERE study_id = %(study)s AND originator_id = %(originator_id)s
  AND originator_version > %(after)s AND originator_version <= %(upto)s
ORDER BY originator_version

-- latest_versions --
-- Returns the last version of each of the given originators that has events.
SELECT o.originator_id, latest.originator_version
FROM unnest(%(originator_ids)s::uuid[]) AS o (originator_id) CROSS JOIN LATERAL (
    SELECT originator_version FROM ledger.events AS e
    WHERE e.study_id = %(study)s AND e.originator_id = o.originator_id
    ORDER BY originator_version DESC LIMIT 1
) AS latest

-- find_event --
-- Returns the event with this id, if the study has it.
SELECT idx, originator_id, originator_version, topic, state, disclosures, jti::text, kid, recorded_at, leaf_hash,
       redacted
FROM ledger.entries
WHERE study_id = %(study)s AND jti = %(jti)s

-- leaf_hashes --
-- Returns the leaf hashes of a range of indexes, in order.
SELECT leaf_hash FROM ledger.events
WHERE study_id = %(study)s AND idx >= %(start)s AND idx < %(stop)s
ORDER BY idx

-- redact --
-- Keeps, of an event's disclosures, only those listed; returns how many it removed.
SELECT ledger.redact(%(study)s, %(idx)s, %(keep)s)

-- insert_redactions --
-- Redacts disclosures: from this transaction's commit on no reader is given them. Harmless when repeated.
INSERT INTO ledger.redactions (study_id, jti, disclosure, field, ordered_idx, effective_idx)
SELECT %(study)s, r.jti, r.disclosure, r.field, r.ordered_idx, r.effective_idx
FROM unnest(%(jti)s::uuid[], %(disclosure)s::text[], %(field)s::text[], %(ordered_idx)s::bigint[],
            %(effective_idx)s::bigint[]) AS r (jti, disclosure, field, ordered_idx, effective_idx)
ON CONFLICT (study_id, jti, disclosure) DO NOTHING

-- select_redactions --
-- Returns a study's redactions, one row a disclosure, in the order in which they took effect.
SELECT jti::text, disclosure, field, ordered_idx, effective_idx FROM ledger.redactions
WHERE study_id = %(study)s ORDER BY effective_idx, jti, field, disclosure

-- took_effect --
-- Returns a row where a redaction took effect at an index.
SELECT 1 FROM ledger.redactions WHERE study_id = %(study)s AND effective_idx = %(idx)s LIMIT 1

-- fields_redacted --
-- Returns the redacted fields of one event id.
SELECT field, disclosure FROM ledger.redactions WHERE study_id = %(study)s AND jti = %(jti)s

-- undestroyed --
-- Returns the events of these that still store redacted disclosures: index, what is to be kept, how many are not.
SELECT idx, disclosures, undestroyed FROM ledger.entries
WHERE study_id = %(study)s AND jti = ANY (%(jtis)s::uuid[]) AND undestroyed > 0 ORDER BY idx

-- note_destruction --
-- Notes that what a redaction names was destroyed in a place, unless that was noted before.
INSERT INTO ledger.destructions (study_id, effective_idx, place, destroyed_at, disclosures)
VALUES (%(study)s, %(effective_idx)s, %(place)s, %(destroyed_at)s, %(disclosures)s)
ON CONFLICT (study_id, effective_idx, place) DO NOTHING

-- select_destructions --
-- Returns what was destroyed where and when.
SELECT effective_idx, place, destroyed_at, disclosures FROM ledger.destructions
WHERE study_id = %(study)s ORDER BY effective_idx, place

-- unsettled_studies --
-- Returns the studies with a redaction that is not destroyed everywhere.
SELECT DISTINCT r.study_id FROM ledger.redactions AS r
WHERE (SELECT count(*) FROM ledger.destructions AS d
       WHERE d.study_id = r.study_id AND d.effective_idx = r.effective_idx) < 2
ORDER BY r.study_id

-- redact_refusal --
-- Leaves of a refused statement only what is given.
SELECT ledger.redact_refusal(%(refusal)s, %(remaining)s)

-- whole_refusals --
-- Returns refused statements of a study, with their bytes, after a number of the list.
SELECT refused_id, statement FROM ledger.refusals
WHERE study_id = %(study)s AND refused_id > %(after)s AND octet_length(statement) <= %(longest)s
ORDER BY refused_id LIMIT %(limit)s

-- kept_current --
-- Returns the read models of a study that have a position, with it, and whether their code is one of these.
SELECT o.schema_name, o.position, d.fingerprint = ANY (%(fingerprints)s::text[])
FROM projection.positions AS o JOIN projection.definitions AS d USING (schema_name)
WHERE o.study_id = %(study)s ORDER BY o.schema_name

-- stands_still --
-- Returns each study of which something stands still in a read model, with the partition, and "*" for all of it.
TABLE {schema}."_stopped"

-- built_since --
-- Returns the schemas of builds of a study whose ceiling lies beyond an index.
SELECT schema_name FROM projection.replays
WHERE study_id = %(study)s AND state IN ('planned', 'building') AND ceiling > %(idx)s

-- read_model_tables --
-- Returns the tables of these read models.
SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind = 'r' ORDER BY n.nspname, c.relname

-- analyze_table --
-- Makes the statistics of a table anew.
ANALYZE {table}

-- forget_read_models --
-- Empties a study's rows in every read model but these, to be made anew.
SELECT projection.forget(%(study)s, %(but)s)

-- insert_checkpoint --
-- Stores a signed checkpoint unless one of this size is there, and tells whoever listens; a hint only.
WITH inserted AS (
    INSERT INTO ledger.checkpoints (study_id, size, root, note, signed_at)
    VALUES (%(study)s, %(size)s, %(root)s, %(note)s, %(signed_at)s)
    ON CONFLICT (study_id, size) DO NOTHING RETURNING 1
)
SELECT EXISTS (SELECT FROM inserted), pg_notify('ledger', %(study)s || ':' || %(size)s::bigint)

-- latest_checkpoint --
-- Returns the checkpoint of the greatest size.
SELECT size, root, note, signed_at FROM ledger.checkpoints
WHERE study_id = %(study)s ORDER BY size DESC LIMIT 1

-- checkpoint_at --
-- Returns the checkpoint of exactly this size.
SELECT size, root, note, signed_at FROM ledger.checkpoints
WHERE study_id = %(study)s AND size = %(size)s

-- checkpoint_covering --
-- Returns the smallest checkpoint that contains this index.
SELECT size, root, note, signed_at FROM ledger.checkpoints
WHERE study_id = %(study)s AND size > %(idx)s ORDER BY size LIMIT 1

-- insert_tiles --
-- Stores full tiles unless they are there.
INSERT INTO ledger.tiles (study_id, level, n, hashes, root)
SELECT %(study)s, t.level, t.n, t.hashes, t.root
FROM unnest(%(level)b::int[], %(n)b::bigint[], %(hashes)b::bytea[], %(root)b::bytea[]) AS t (level, n, hashes, root)
ON CONFLICT (study_id, level, n) DO NOTHING

-- differing_tiles --
-- Returns, of the offered tiles, those that are stored with other hashes.
SELECT t.level, t.n
FROM unnest(%(level)b::int[], %(n)b::bigint[], %(hashes)b::bytea[]) AS t (level, n, hashes)
JOIN ledger.tiles AS s ON s.study_id = %(study)s AND s.level = t.level AND s.n = t.n
WHERE s.hashes <> t.hashes

-- read_tile --
-- Returns the 256 hashes of a full tile.
SELECT hashes FROM ledger.tiles WHERE study_id = %(study)s AND level = %(level)s AND n = %(n)s

-- tile_roots --
-- Returns the roots of full tiles of one level, in order.
SELECT root FROM ledger.tiles
WHERE study_id = %(study)s AND level = %(level)s AND n >= %(start)s AND n < %(stop)s ORDER BY n

-- insert_cosignature --
-- Stores a witness's line under a checkpoint unless this witness's is there.
INSERT INTO ledger.cosignatures (study_id, size, witness, line, received_at)
VALUES (%(study)s, %(size)s, %(witness)s, %(line)s, %(received_at)s)
ON CONFLICT (study_id, size, witness) DO NOTHING

-- renew_cosignature --
-- Stores a later line of a witness under a checkpoint that it has cosigned before.
INSERT INTO ledger.renewed_cosignatures (study_id, size, witness, line, received_at)
VALUES (%(study)s, %(size)s, %(witness)s, %(line)s, %(received_at)s)
ON CONFLICT (study_id, size, witness, received_at) DO NOTHING

-- select_cosignatures --
-- Returns the newest line of each witness under a checkpoint, in order of their names.
SELECT DISTINCT ON (witness) witness, line FROM (
    SELECT witness, line, received_at FROM ledger.cosignatures WHERE study_id = %(study)s AND size = %(size)s
    UNION ALL
    SELECT witness, line, received_at FROM ledger.renewed_cosignatures WHERE study_id = %(study)s AND size = %(size)s
) AS lines ORDER BY witness, received_at DESC

-- cosigned_sizes --
-- Returns the sizes below one that any of these witnesses cosigned, the greatest first, each with its witnesses.
SELECT size, array_agg(witness ORDER BY witness) FROM ledger.cosignatures
WHERE study_id = %(study)s AND witness = ANY (%(witnesses)s) AND size < %(below)s
GROUP BY size ORDER BY size DESC LIMIT %(limit)s

-- newest_cosignatures --
-- Returns, of each of these witnesses, the greatest size it cosigned and when its newest line for it came.
SELECT w.witness, newest.size, greatest(newest.received_at, renewed.received_at)
FROM unnest(%(witnesses)s::text[]) AS w (witness)
CROSS JOIN LATERAL (
    SELECT size, received_at FROM ledger.cosignatures
    WHERE study_id = %(study)s AND witness = w.witness ORDER BY size DESC LIMIT 1
) AS newest
LEFT JOIN LATERAL (
    SELECT received_at FROM ledger.renewed_cosignatures AS r
    WHERE r.study_id = %(study)s AND r.witness = w.witness AND r.size = newest.size
    ORDER BY received_at DESC LIMIT 1
) AS renewed ON true

-- insert_timestamp --
-- Stores an authority's time stamp of a checkpoint.
INSERT INTO ledger.timestamps (study_id, size, authority, token, stamped_at, received_at)
VALUES (%(study)s, %(size)s, %(authority)s, %(token)s, %(stamped_at)s, %(received_at)s)
ON CONFLICT (study_id, size, authority, received_at) DO NOTHING

-- select_timestamps --
-- Returns the time stamps of checkpoints up to a size, in order of size, authority and arrival.
SELECT size, authority, token, stamped_at, received_at FROM ledger.timestamps
WHERE study_id = %(study)s AND size <= %(upto)s ORDER BY size, authority, received_at

-- newest_timestamps --
-- Returns, of each authority, the time stamp that came last: size, and the time in it.
SELECT DISTINCT ON (authority) authority, size, stamped_at, received_at FROM ledger.timestamps
WHERE study_id = %(study)s ORDER BY authority, received_at DESC

-- select_full_notes --
-- Returns the checkpoints above one size up to another, in order, each with the newest signature line of each witness
-- among those that were received until a moment.
SELECT c.size, c.note, array(
    SELECT newest.line FROM (
        SELECT DISTINCT ON (x.witness) x.witness, x.line FROM (
            SELECT witness, line, received_at FROM ledger.cosignatures
            WHERE study_id = %(study)s AND size = c.size AND received_at <= %(until)s
            UNION ALL
            SELECT witness, line, received_at FROM ledger.renewed_cosignatures
            WHERE study_id = %(study)s AND size = c.size AND received_at <= %(until)s
        ) AS x ORDER BY x.witness, x.received_at DESC
    ) AS newest ORDER BY newest.witness)
FROM ledger.checkpoints AS c
WHERE c.study_id = %(study)s AND c.size > %(after)s AND c.size <= %(upto)s
ORDER BY c.size LIMIT %(limit)s

-- insert_refusal --
-- Keeps what was refused, as received, and returns its number.
INSERT INTO ledger.refusals (study_id, at, rule, status, because, jti, iss, statement, digest)
VALUES (%(study)s, %(at)s, %(rule)s, %(status)s, %(because)s, %(jti)s, %(iss)s, %(statement)s, %(digest)s)
RETURNING refused_id

-- insert_access --
-- Notes who looked at or did what, outside the ledger's own events.
INSERT INTO ledger.access_log (study_id, at, actor, role, action, target, details)
VALUES (%(study)s, %(at)s, %(actor)s, %(role)s, %(action)s, %(target)s, %(details)s)
RETURNING access_id

-- listen --
-- Subscribes this connection to those hints.
LISTEN ledger

-- lock_migrations --
-- Makes processes that start together migrate one after another.
SELECT pg_advisory_xact_lock(7242017)

-- lock_wait --
-- Limits how long this transaction waits for a lock, in milliseconds.
SELECT set_config('lock_timeout', %(milliseconds)s, true)

-- create_migration_table --
-- Makes the table of applied migrations in its own schema.
CREATE SCHEMA IF NOT EXISTS migrations;
CREATE TABLE IF NOT EXISTS migrations.applied (
    name       text COLLATE "C" PRIMARY KEY,
    sha256     text COLLATE "C" NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)

-- applied_migrations --
-- Returns the applied migrations with their digests.
SELECT name, sha256 FROM migrations.applied ORDER BY name

-- note_migration --
-- Notes that a migration has been applied.
INSERT INTO migrations.applied (name, sha256) VALUES (%(name)s, %(sha256)s)

-- embedded_database_exists --
-- Tells whether the embedded server has been prepared; the database is made last.
SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = 'ledger')

-- embedded_logins --
-- Gives the embedded server the two roles that log in.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ledger_app') THEN
        CREATE ROLE ledger_app;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ledger_projector') THEN
        CREATE ROLE ledger_projector;
    END IF;
    ALTER ROLE ledger_app LOGIN;
    ALTER ROLE ledger_projector LOGIN;
END
$$

-- embedded_database --
-- Makes the embedded server's database.
CREATE DATABASE ledger

-- login_rights --
-- Returns what the current login is and may become: each true answer but the first is too much.
SELECT pg_has_role(session_user, 'ledger_app', 'MEMBER') AS is_app,
       r.rolsuper AS is_superuser,
       r.rolbypassrls OR r.rolreplication OR r.rolcreaterole OR r.rolcreatedb AS is_administrator,
       pg_has_role(session_user, 'ledger_owner', 'MEMBER') AS is_owner,
       pg_has_role(session_user, 'ledger_redactor', 'MEMBER') AS is_redactor
FROM pg_catalog.pg_roles AS r WHERE r.rolname = session_user

-- may_act_as --
-- Tells whether the current login may act in a role.
SELECT pg_has_role(session_user, %(role)s, 'MEMBER')

-- is_superuser --
-- Tells whether the current login is a superuser, who holds every right whatever was granted.
SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user

-- existing_roles --
-- Returns which of the ledger's roles the server has.
SELECT rolname FROM pg_catalog.pg_roles
WHERE rolname IN ('ledger_owner', 'ledger_redactor', 'ledger_app', 'ledger_projector', 'ledger_reader')

-- excess_rights --
-- Returns every right of the current login that would let the ledger be changed instead of added to.
SELECT c.relname, r.privilege
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN (VALUES ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('TRIGGER')) AS r (privilege)
WHERE n.nspname = 'ledger' AND c.relkind IN ('r', 'p')
  AND (has_table_privilege(c.oid, r.privilege)
       OR (r.privilege = 'UPDATE' AND c.relname <> 'heads' AND has_any_column_privilege(c.oid, 'UPDATE')))
ORDER BY c.relname, r.privilege

-- needed_rights --
-- Returns the rights that the current login needs and lacks.
SELECT needed.relation, needed.privilege
FROM (VALUES ('studies', 'SELECT'), ('events', 'SELECT'), ('events', 'INSERT'), ('entries', 'SELECT'),
             ('redactions', 'SELECT'), ('redactions', 'INSERT'), ('destructions', 'SELECT'),
             ('destructions', 'INSERT'), ('heads', 'SELECT'),
             ('checkpoints', 'SELECT'), ('checkpoints', 'INSERT'), ('tiles', 'SELECT'), ('tiles', 'INSERT'),
             ('cosignatures', 'SELECT'), ('cosignatures', 'INSERT'), ('refusals', 'SELECT'),
             ('renewed_cosignatures', 'SELECT'), ('renewed_cosignatures', 'INSERT'),
             ('timestamps', 'SELECT'), ('timestamps', 'INSERT'),
             ('refusals', 'INSERT'), ('access_log', 'SELECT'), ('access_log', 'INSERT'),
             ('credentials', 'SELECT'), ('credentials', 'INSERT'), ('sessions', 'SELECT'), ('sessions', 'INSERT'),
             ('session_uses', 'SELECT'), ('session_uses', 'INSERT'), ('sign_in_attempts', 'SELECT'),
             ('sign_in_attempts', 'INSERT'), ('sign_in_results', 'SELECT'), ('sign_in_results', 'INSERT'),
             ('ceremonies', 'SELECT'), ('ceremonies', 'INSERT'), ('ceremony_uses', 'SELECT'),
             ('ceremony_uses', 'INSERT'))
    AS needed (relation, privilege)
WHERE NOT CASE WHEN needed.relation = 'events' AND needed.privilege = 'SELECT'
               THEN has_any_column_privilege('ledger.events', 'SELECT')
               ELSE has_table_privilege('ledger.' || needed.relation, needed.privilege) END

-- fences_down --
-- Returns the tables of the ledger whose triggers are missing or switched off.
SELECT c.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'ledger' AND c.relkind IN ('r', 'p')
  AND (SELECT count(*) FROM pg_catalog.pg_trigger AS t
       WHERE t.tgrelid = c.oid AND t.tgenabled = 'A' AND t.tgfoid IN (
           'ledger.refuse_change'::regproc, 'ledger.refuse_change_except_redaction'::regproc,
           'ledger.check_head'::regproc))
      < CASE WHEN c.relname = 'heads' THEN 2 WHEN c.relname ^@ 'events' THEN 3 ELSE 1 END
ORDER BY c.relname

-- unsafe_settings --
-- Returns the settings under which an acknowledged event could be lost or read wrongly.
SELECT name, setting FROM pg_catalog.pg_settings
WHERE (name IN ('fsync', 'full_page_writes') AND setting <> 'on')
   OR (name = 'synchronous_commit' AND setting IN ('off', 'local'))
   OR (name = 'server_encoding' AND setting <> 'UTF8')
ORDER BY name

-- count_refusals --
-- Counts a study's refused statements.
SELECT count(*) FROM ledger.refusals WHERE study_id = %(study)s

-- select_refusals --
-- Returns a study's refused statements after a number of the list, oldest first, with the bytes of those that are
-- no longer than a statement may be.
SELECT refused_id, at, rule, status, because, jti, iss, digest,
       CASE WHEN octet_length(statement) <= %(longest)s THEN statement END
FROM ledger.refusals
WHERE study_id = %(study)s AND refused_id > %(after)s ORDER BY refused_id LIMIT %(limit)s

-- insert_credential --
-- Keeps a person's sealed key; none when this code has made one already.
INSERT INTO ledger.credentials (study_id, actor, kid, code_digest, enrolment, scrypt, salt, nonce, sealed, made_at, mark)
VALUES (%(study)s, %(actor)s, %(kid)s, %(code_digest)s, %(enrolment)s, %(scrypt)s, %(salt)s, %(nonce)s, %(sealed)s,
        %(made_at)s, %(mark)s)
ON CONFLICT (study_id, code_digest) DO NOTHING

-- select_credentials --
-- Returns sealed keys, of one actor or (null) of all, the newest first.
SELECT actor, kid, code_digest, enrolment, scrypt, salt, nonce, sealed, made_at, mark FROM ledger.credentials
WHERE study_id = %(study)s AND (%(actor)s::text IS NULL OR actor = %(actor)s) ORDER BY credential_id DESC LIMIT %(limit)s

-- begin_attempt --
-- Opens the transaction that counts an account's attempts and notes one more.
BEGIN ISOLATION LEVEL READ COMMITTED

-- lock_account --
-- Makes attempts at one account wait for each other until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended(%(study)s || '/' || %(actor)s, 7001))

-- last_attempts --
-- Returns an account's newest attempts since an unlocking: when, how they ended, whether they began just now.
SELECT a.at, r.good, a.begun_at > clock_timestamp() - make_interval(secs => %(seconds)s)
FROM ledger.sign_in_attempts AS a LEFT JOIN ledger.sign_in_results AS r USING (attempt_id)
WHERE a.study_id = %(study)s AND a.actor = %(actor)s AND a.epoch = %(epoch)s
ORDER BY a.attempt_id DESC LIMIT %(limit)s

-- insert_attempt --
-- Notes an attempt before the passphrase is tried, and returns its number.
INSERT INTO ledger.sign_in_attempts (study_id, actor, epoch, at) VALUES (%(study)s, %(actor)s, %(epoch)s, %(at)s)
RETURNING attempt_id

-- insert_attempt_result --
-- Notes how an attempt ended.
INSERT INTO ledger.sign_in_results (attempt_id, study_id, good) VALUES (%(attempt)s, %(study)s, %(good)s)

-- insert_session --
-- Keeps a session; the token itself is kept nowhere.
INSERT INTO ledger.sessions (token_hash, study_id, actor, kid, opened_at, mark)
VALUES (%(token_hash)s, %(study)s, %(actor)s, %(kid)s, %(opened_at)s, %(mark)s)

-- select_session --
-- Returns a session with its last use, whether something was signed in it, and whether it was closed.
SELECT s.study_id, s.actor, s.kid, s.opened_at, s.mark, max(u.at), coalesce(bool_or(u.what = 'signed'), false),
       coalesce(bool_or(u.what = 'closed'), false)
FROM ledger.sessions AS s LEFT JOIN ledger.session_uses AS u USING (token_hash)
WHERE s.token_hash = %(token_hash)s GROUP BY s.token_hash

-- insert_session_use --
-- Notes what was done in a session.
INSERT INTO ledger.session_uses (token_hash, study_id, at, what)
VALUES (%(token_hash)s, %(study)s, %(at)s, %(what)s)

-- insert_ceremony --
-- Keeps what was signed in a ceremony, unless it has been signed in.
INSERT INTO ledger.ceremonies (ceremony_id, study_id, actor, kid, token_hash, components, signed_iat, expires_at,
                               digest, mark)
VALUES (%(ceremony)s, %(study)s, %(actor)s, %(kid)s, %(token_hash)s, %(components)s, %(signed_iat)s, %(expires_at)s,
        %(digest)s, %(mark)s)
ON CONFLICT (ceremony_id) DO NOTHING

-- select_ceremony --
-- Returns a ceremony with the index of the statement that names it, if one is recorded.
SELECT c.actor, c.kid, c.token_hash, c.components, c.signed_iat, c.expires_at, c.digest, c.mark, u.idx
FROM ledger.ceremonies AS c LEFT JOIN ledger.ceremony_uses AS u USING (study_id, ceremony_id)
WHERE c.study_id = %(study)s AND c.ceremony_id = %(ceremony)s

-- insert_ceremony_uses --
-- Notes which statements of a batch name which ceremonies.
INSERT INTO ledger.ceremony_uses (study_id, ceremony_id, idx)
SELECT %(study)s, u.ceremony_id, u.idx FROM unnest(%(ceremonies)s::text[], %(idx)s::bigint[]) AS u (ceremony_id, idx)

-- begin_host_check --
-- Lets signers' sessions look for each other one at a time.
SELECT pg_advisory_lock(7242019)

-- hold_signer_lock --
-- Says, while this session lasts, that it signs with this state.
SELECT pg_advisory_lock_shared(7242020, %(state)s)

-- other_signers --
-- Returns the sessions that sign with another state.
SELECT DISTINCT l.pid FROM pg_catalog.pg_locks AS l
WHERE l.locktype = 'advisory' AND l.classid = 7242020 AND l.objsubid = 2 AND l.granted
  AND l.objid <> %(state)s::bigint::oid
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
ORDER BY l.pid

-- drop_signer_lock --
-- Takes that back.
SELECT pg_advisory_unlock_shared(7242020, %(state)s)

-- end_host_check --
-- Lets the next one look.
SELECT pg_advisory_unlock(7242019)

-- create_signer_store --
-- Makes the schema of the signers' shared store, in another PostgreSQL than the ledger's.
CREATE SCHEMA IF NOT EXISTS trial_ledger_signer;
CREATE TABLE IF NOT EXISTS trial_ledger_signer.store (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    store_id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO trial_ledger_signer.store DEFAULT VALUES ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS trial_ledger_signer.states (
    origin     text COLLATE "C" PRIMARY KEY,
    sequence   bigint NOT NULL CHECK (sequence >= 0),
    state      text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
)

-- signer_store_id --
-- Returns what names the signers' shared store for ever.
SELECT store_id FROM trial_ledger_signer.store

-- cluster --
-- Returns what a cluster shares with its copies and with no other.
SELECT system_identifier FROM pg_catalog.pg_control_system()

-- lock_signer_state --
-- Locks the state of a log's signer until the end of the transaction.
SELECT sequence, state FROM trial_ledger_signer.states WHERE origin = %(origin)s FOR UPDATE

-- insert_signer_state --
-- Makes room for the state of a log's signer unless another host is first.
INSERT INTO trial_ledger_signer.states (origin, sequence, state) VALUES (%(origin)s, 0, '') ON CONFLICT DO NOTHING

-- write_signer_state --
-- Replaces the state that was read by the next one.
UPDATE trial_ledger_signer.states
SET sequence = %(sequence)s, state = %(state)s, written_at = clock_timestamp()
WHERE origin = %(origin)s AND sequence = %(old)s AND %(sequence)s > sequence
