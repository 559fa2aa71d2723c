-- How many events of each version a study holds: counted by whoever follows, range by range, so that the count is there
-- at once and an append does nothing for it.

SET LOCAL ROLE ledger_owner;

-- `size`: the counts are those of the events below it.
CREATE TABLE projection.counted (
    study_id text COLLATE "C" PRIMARY KEY,
    size     bigint NOT NULL CHECK (size >= 0)
);

CREATE TABLE projection.event_counts (
    study_id text COLLATE "C" NOT NULL REFERENCES projection.counted ON DELETE CASCADE,
    topic    text COLLATE "C" NOT NULL,
    count    bigint NOT NULL CHECK (count > 0),
    PRIMARY KEY (study_id, topic)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON projection.counted, projection.event_counts TO ledger_projector;
GRANT SELECT ON projection.counted, projection.event_counts TO ledger_reader;

RESET ROLE;
