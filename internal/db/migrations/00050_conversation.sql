-- What residents and the account say to each other (internal/conversation).

-- +goose Up

CREATE TABLE conversations (
    id           text PRIMARY KEY,
    company_id   text NOT NULL,
    account_id   text NOT NULL,
    openid       text NOT NULL,
    following    boolean NOT NULL,
    following_at timestamptz,
    opened_at    timestamptz NOT NULL,
    CONSTRAINT conversations_resident UNIQUE (account_id, openid)
);

-- One row a push, with what became of it. No foreign key to conversations: the
-- room alone writes both, conversations are never deleted, and the check would
-- lock a row of theirs for each of these.
CREATE TABLE messages (
    id              text PRIMARY KEY,
    conversation_id text NOT NULL,
    company_id      text NOT NULL,
    account_id      text NOT NULL,
    openid          text NOT NULL,
    kind            text NOT NULL,
    type            text NOT NULL,
    event           text NOT NULL,
    event_key       text NOT NULL,
    body            text NOT NULL,
    menu_id         text NOT NULL,
    media_id        text NOT NULL,
    msg_id          text NOT NULL,
    detail          text NOT NULL,
    raw             text NOT NULL,
    hash            text NOT NULL,
    dedupe_key      text NOT NULL,
    nonce_key       text,
    -- The kind of reply window this push opens, '' for none.
    opens           text NOT NULL,
    sent_at         timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    -- Machine's clock: when a turn was last begun; the lease of the sweep.
    turn_at         timestamptz NOT NULL,
    tries           bigint NOT NULL DEFAULT 0,
    answered_at     timestamptz,
    answer_kind     text NOT NULL DEFAULT '',
    answer_text     text NOT NULL DEFAULT '',
    answer_options  text NOT NULL DEFAULT '',
    carrier         text,
    -- Machine's clock: when the carrier was decided; the lease of the sweep.
    decided_at      timestamptz,
    exchange_done   boolean NOT NULL DEFAULT false,
    CONSTRAINT messages_carrier CHECK (carrier IN ('exchange', 'service'))
);

-- The same push again, be it a retry or a replay from the spool.
CREATE UNIQUE INDEX messages_dedupe ON messages (dedupe_key);
-- The same signed query with another body.
CREATE UNIQUE INDEX messages_nonce ON messages (nonce_key);
CREATE INDEX messages_timeline ON messages (conversation_id, received_at);
-- Both hold only what is under way, however many messages there are.
CREATE INDEX messages_unanswered ON messages (turn_at) WHERE answered_at IS NULL;
CREATE INDEX messages_open_exchange ON messages (decided_at)
    WHERE carrier = 'exchange' AND answered_at IS NOT NULL AND NOT exchange_done;

-- What the account said outside an answer.
CREATE TABLE outbound (
    id              text PRIMARY KEY,
    conversation_id text NOT NULL,
    at              timestamptz NOT NULL,
    kind            text NOT NULL,
    body            text NOT NULL,
    by_id           text NOT NULL,
    delivery_id     text NOT NULL
);
CREATE INDEX outbound_timeline ON outbound (conversation_id, at);

CREATE TABLE sessions (
    conversation_id text PRIMARY KEY,
    version         bigint NOT NULL,
    state           text NOT NULL,
    data            text NOT NULL,
    updated_at      timestamptz NOT NULL
);

-- What has been spent of a reply window. When it was opened is known from
-- messages, so that a message costs no second write.
CREATE TABLE reply_windows (
    conversation_id text NOT NULL,
    kind            text NOT NULL,
    opened_at       timestamptz NOT NULL,
    spent           bigint NOT NULL,
    PRIMARY KEY (conversation_id, kind)
);
