-- Without a reference to the pool: like its users, its groups are removed in batches after it is gone.
CREATE TABLE groups (
    pool_id TEXT {C} NOT NULL,
    name TEXT {C} NOT NULL,
    description TEXT,
    role_arn TEXT,
    precedence BIGINT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (pool_id, name)
);

-- The key lists the members of a group by sub, the index the groups of a user by name.
CREATE TABLE group_members (
    pool_id TEXT {C} NOT NULL,
    group_name TEXT {C} NOT NULL,
    sub TEXT {C} NOT NULL,
    PRIMARY KEY (pool_id, group_name, sub),
    FOREIGN KEY (pool_id, group_name) REFERENCES groups (pool_id, name) ON DELETE CASCADE,
    FOREIGN KEY (pool_id, sub) REFERENCES users (pool_id, sub) ON DELETE CASCADE
);
CREATE INDEX group_members_by_user ON group_members (pool_id, sub, group_name);
