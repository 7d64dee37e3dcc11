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

-- One row a push, written once and never changed: what becomes of it stands in
-- answers. No foreign keys between these tables: the room alone writes them,
-- nothing in them is deleted before what refers to it, and each check would lock
-- another row.
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
    -- Kept, never answered.
    quiet           boolean NOT NULL,
    sent_at         timestamptz NOT NULL,
    received_at     timestamptz NOT NULL
);

-- The same push again, be it a retry or a replay from the spool.
CREATE UNIQUE INDEX messages_dedupe ON messages (dedupe_key);
-- The same signed query with another body.
CREATE UNIQUE INDEX messages_nonce ON messages (nonce_key);
CREATE INDEX messages_timeline ON messages (conversation_id, received_at);

-- What became of a message. The primary key is where turn and callback meet:
-- whoever inserts first decides the carrier. A row without answered_at says that
-- the callback has given up and the answer is to travel as a service message.
CREATE TABLE answers (
    message_id  text PRIMARY KEY,
    carrier     text NOT NULL,
    decided_at  timestamptz NOT NULL, -- machine's clock
    answered_at timestamptz,
    kind        text NOT NULL,        -- '' says nothing
    body        text NOT NULL,
    options     text NOT NULL,
    CONSTRAINT answers_carrier CHECK (carrier IN ('exchange', 'service'))
);

-- Messages under way: from the arrival until the answer is out of this room's
-- hands. Small however many messages there are, so it has no further index.
CREATE TABLE unsettled (
    message_id text PRIMARY KEY,
    turn_at    timestamptz NOT NULL, -- machine's clock: when a turn was last begun
    tries      bigint NOT NULL
);

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
