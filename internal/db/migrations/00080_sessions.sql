-- Sign-ins of the console (internal/web/console). A session lives in a row, so
-- that it works on every node and survives an emptied Redis.

-- +goose Up
CREATE TABLE console_sessions (
    token_hash text PRIMARY KEY,
    data       text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX console_sessions_expiry ON console_sessions (expires_at);

-- +goose Down
DROP TABLE console_sessions;
