-- A second secret of a client is as good as the first. secret_ms: when the first was made, NULL for one that is as old
-- as the client.
ALTER TABLE app_clients
    ADD COLUMN secret_ms BIGINT;
ALTER TABLE app_clients
    ADD COLUMN second_secret {BYTES};
ALTER TABLE app_clients
    ADD COLUMN second_secret_ms BIGINT;

-- When the first refresh token of a sign-in was exchanged for another one.
ALTER TABLE token_sessions
    ADD COLUMN used_ms BIGINT;

-- Refresh tokens that came by rotation, as keyed hashes. Those that were used long ago are forgotten: who holds one
-- tells by it what sign-in it is of.
CREATE TABLE rotated_tokens (
    pool_id TEXT {C} NOT NULL,
    origin_jti TEXT {C} NOT NULL,
    id TEXT {C} NOT NULL,
    digest {BYTES} NOT NULL UNIQUE,
    used_ms BIGINT,
    PRIMARY KEY (pool_id, origin_jti, id),
    FOREIGN KEY (pool_id, origin_jti) REFERENCES token_sessions (pool_id, origin_jti) ON DELETE CASCADE
);

-- What SetUserPoolMfaConfig sets, as JSON.
ALTER TABLE user_pools
    ADD COLUMN mfa TEXT NOT NULL DEFAULT '{}';

-- A user's second factors, as JSON, and its software token. totp_step: the last time step whose code was used.
ALTER TABLE users
    ADD COLUMN mfa TEXT NOT NULL DEFAULT '{}';
ALTER TABLE users
    ADD COLUMN totp_secret {BYTES};
ALTER TABLE users
    ADD COLUMN totp_pending {BYTES};
ALTER TABLE users
    ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0;
