-- Facts of the installation as a whole: which master key its sealed data belongs to.
CREATE TABLE installation (
    name TEXT {C} NOT NULL PRIMARY KEY,
    value {BYTES} NOT NULL
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

CREATE TABLE signing_keys (
    kid TEXT {C} NOT NULL PRIMARY KEY,
    pool_id TEXT {C} NOT NULL REFERENCES user_pools (id) ON DELETE CASCADE,
    token_use TEXT {C} NOT NULL,
    modulus TEXT NOT NULL,
    sealed_private {BYTES} NOT NULL,
    created_ms BIGINT NOT NULL,
    UNIQUE (pool_id, token_use)
);
