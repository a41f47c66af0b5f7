-- Messages that wait for a transport. The content is sealed: it carries codes.
CREATE TABLE outbox (
    id TEXT {C} NOT NULL PRIMARY KEY,
    pool_id TEXT {C} NOT NULL,
    medium TEXT {C} NOT NULL,
    sealed {BYTES} NOT NULL,
    attempts BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    leased_until_ms BIGINT NOT NULL,
    dead_ms BIGINT,
    last_error TEXT NOT NULL
);
CREATE INDEX outbox_by_due ON outbox (due_ms);
-- Counts the messages, too, without a look at their content.
CREATE INDEX outbox_by_death ON outbox (dead_ms);

-- Development mode's copy of every message.
CREATE TABLE inbox (
    id TEXT {C} NOT NULL PRIMARY KEY,
    created_ms BIGINT NOT NULL,
    pool_id TEXT {C} NOT NULL,
    username TEXT {C} NOT NULL,
    destination TEXT {C} NOT NULL,
    medium TEXT {C} NOT NULL,
    sealed {BYTES} NOT NULL
);
CREATE INDEX inbox_by_destination ON inbox (destination, id);
CREATE INDEX inbox_by_pool ON inbox (pool_id, id);
