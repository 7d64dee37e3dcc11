-- Pictures and voice that residents send (internal/media).

-- +goose Up

CREATE TABLE media (
    id              text PRIMARY KEY,
    company_id      text NOT NULL,
    account_id      text NOT NULL,
    vendor_id       text NOT NULL,    -- the platform's media id
    conversation_id text NOT NULL,
    case_id         text NOT NULL,    -- '' until a case takes it
    kind            text NOT NULL,    -- image, voice
    state           text NOT NULL,    -- wanted, stored, gone, refused
    content_type    text NOT NULL,    -- as its bytes say
    size            bigint NOT NULL,
    reason          text NOT NULL,    -- why it is refused
    created_at      timestamptz NOT NULL,
    stored_at       timestamptz
);

-- The same file is fetched once, however often its message is handled.
CREATE UNIQUE INDEX media_vendor ON media (account_id, vendor_id);
CREATE INDEX media_case ON media (case_id, created_at) WHERE case_id <> '';
-- What waits for a case: nothing but the last pictures of people who have not
-- yet said what they show.
CREATE INDEX media_loose ON media (conversation_id) WHERE case_id = '';

CREATE TABLE media_chunks (
    media_id text NOT NULL,
    n        bigint NOT NULL,
    body     bytea NOT NULL,
    PRIMARY KEY (media_id, n)
);

-- +goose Down
DROP TABLE media_chunks;
DROP TABLE media;
