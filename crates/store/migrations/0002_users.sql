CREATE TABLE users (
    pool_id TEXT {C} NOT NULL,
    sub TEXT {C} NOT NULL,
    username TEXT {C} NOT NULL,
    attributes TEXT NOT NULL,
    pending TEXT NOT NULL,
    status TEXT {C} NOT NULL,
    enabled BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    password {BYTES},
    password_set_ms BIGINT NOT NULL,
    password_history {BYTES},
    signed_out_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (pool_id, sub)
);
CREATE INDEX users_by_status ON users (pool_id, status, sub);
CREATE INDEX users_by_enabled ON users (pool_id, enabled, sub);

-- Every name that signs a user in: the user name and the aliases in force. Uniqueness is this key.
CREATE TABLE user_names (
    pool_id TEXT {C} NOT NULL,
    name TEXT {C} NOT NULL,
    kind TEXT {C} NOT NULL,
    sub TEXT {C} NOT NULL,
    PRIMARY KEY (pool_id, name, kind),
    FOREIGN KEY (pool_id, sub) REFERENCES users (pool_id, sub) ON DELETE CASCADE
);
CREATE INDEX user_names_by_user ON user_names (pool_id, sub);

-- What ListUsers can filter on, in lower case.
CREATE TABLE user_search (
    pool_id TEXT {C} NOT NULL,
    attribute TEXT {C} NOT NULL,
    value TEXT {C} NOT NULL,
    sub TEXT {C} NOT NULL,
    PRIMARY KEY (pool_id, attribute, value, sub),
    FOREIGN KEY (pool_id, sub) REFERENCES users (pool_id, sub) ON DELETE CASCADE
);
CREATE INDEX user_search_by_user ON user_search (pool_id, sub);
