-- One live code for each user and purpose; a new one replaces it.
CREATE TABLE codes (
    pool_id TEXT {C} NOT NULL,
    sub TEXT {C} NOT NULL,
    purpose TEXT {C} NOT NULL,
    digest {BYTES} NOT NULL,
    target TEXT {C} NOT NULL,
    expires_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    PRIMARY KEY (pool_id, sub, purpose),
    FOREIGN KEY (pool_id, sub) REFERENCES users (pool_id, sub) ON DELETE CASCADE
);
CREATE INDEX codes_by_expiry ON codes (expires_ms);

-- One row for each sign-in: its refresh token, as a keyed hash.
CREATE TABLE token_sessions (
    digest {BYTES} NOT NULL PRIMARY KEY,
    pool_id TEXT {C} NOT NULL,
    origin_jti TEXT {C} NOT NULL,
    client_id TEXT {C} NOT NULL,
    sub TEXT {C} NOT NULL,
    auth_time_ms BIGINT NOT NULL,
    scope TEXT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    UNIQUE (pool_id, origin_jti),
    FOREIGN KEY (pool_id, sub) REFERENCES users (pool_id, sub) ON DELETE CASCADE
);
CREATE INDEX token_sessions_by_user ON token_sessions (pool_id, sub);
CREATE INDEX token_sessions_by_client ON token_sessions (pool_id, client_id);
CREATE INDEX token_sessions_by_expiry ON token_sessions (expires_ms);

-- Sealed sessions and SRP blocks that were used: each is redeemed once.
CREATE TABLE redeemed (
    digest {BYTES} NOT NULL PRIMARY KEY,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX redeemed_by_expiry ON redeemed (expires_ms);

-- Consecutive failures; the subject is a user's sub, or a keyed hash of a name that nobody has.
CREATE TABLE lockouts (
    pool_id TEXT {C} NOT NULL,
    subject TEXT {C} NOT NULL,
    failures BIGINT NOT NULL,
    last_failure_ms BIGINT NOT NULL,
    locked_until_ms BIGINT NOT NULL,
    PRIMARY KEY (pool_id, subject)
);
CREATE INDEX lockouts_by_last_failure ON lockouts (last_failure_ms);

-- How often a subject did something in the running hour.
CREATE TABLE hourly_counts (
    pool_id TEXT {C} NOT NULL,
    subject TEXT {C} NOT NULL,
    action TEXT {C} NOT NULL,
    window_ms BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (pool_id, subject, action)
);
CREATE INDEX hourly_counts_by_window ON hourly_counts (window_ms);
