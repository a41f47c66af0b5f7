-- Facts of the installation as a whole.
CREATE TABLE installation (
    name TEXT {C} NOT NULL PRIMARY KEY,
    value {BYTES} NOT NULL
);

-- What seals everything: random keys, without their bytes. The youngest active one seals, all of them open.
CREATE TABLE data_keys (
    id TEXT {C} NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    made_for TEXT {C} NOT NULL,
    active_ms BIGINT,
    retired_ms BIGINT
);

-- The bytes of each data key and of the digest root, wrapped; one copy for each master key in force.
CREATE TABLE wrapped_keys (
    name TEXT {C} NOT NULL,
    master TEXT {C} NOT NULL,
    wrapped {BYTES} NOT NULL,
    PRIMARY KEY (name, master)
);

CREATE TABLE user_pools (
    id TEXT {C} NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

-- Pools whose users and groups are still to be removed, in batches, after the pool itself is gone.
CREATE TABLE deleted_pools (
    pool_id TEXT {C} NOT NULL PRIMARY KEY,
    deleted_ms BIGINT NOT NULL
);

CREATE TABLE app_clients (
    id TEXT {C} NOT NULL PRIMARY KEY,
    pool_id TEXT {C} NOT NULL REFERENCES user_pools (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    sealed_secret {BYTES},
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX app_clients_by_pool ON app_clients (pool_id, id);

-- A key is announced first (active_ms is NULL), or at once the current one, and at last retired. What is not the
-- current key is there for those who verify.
CREATE TABLE signing_keys (
    kid TEXT {C} NOT NULL PRIMARY KEY,
    pool_id TEXT {C} NOT NULL REFERENCES user_pools (id) ON DELETE CASCADE,
    token_use TEXT {C} NOT NULL,
    modulus TEXT NOT NULL,
    sealed_private {BYTES} NOT NULL,
    created_ms BIGINT NOT NULL,
    active_ms BIGINT,
    retired_ms BIGINT
);
CREATE INDEX signing_keys_by_pool ON signing_keys (pool_id, kid);
CREATE UNIQUE INDEX signing_keys_announced ON signing_keys (pool_id, token_use) WHERE active_ms IS NULL;
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (pool_id, token_use)
    WHERE active_ms IS NOT NULL AND retired_ms IS NULL;
CREATE INDEX signing_keys_by_retirement ON signing_keys (retired_ms);
