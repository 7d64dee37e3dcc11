-- What staff say and press in WeCom, and who holds a bot's socket
-- (bot/workgroup/wecom).

-- +goose Up

-- Stored before anything is done about it. A row without answered_at is picked
-- up again by the holder of the bot's socket: his own when its lease has lapsed,
-- another node's (owner) at once, since that node has lost the socket.
CREATE TABLE group_messages (
    id           text PRIMARY KEY,
    bot_id       text NOT NULL,
    msgid        text NOT NULL,
    company_id   text NOT NULL,
    kind         text NOT NULL,
    chat_id      text NOT NULL,
    single       boolean NOT NULL,
    from_id      text NOT NULL,
    body         text NOT NULL,
    quote        text NOT NULL DEFAULT '',
    images       bigint NOT NULL DEFAULT 0,
    task_id      text NOT NULL DEFAULT '',
    button       text NOT NULL DEFAULT '',
    req_id       text NOT NULL,
    received_at  timestamptz NOT NULL,
    tries        bigint NOT NULL DEFAULT 0,
    owner        text NOT NULL,
    leased_until timestamptz NOT NULL,
    answer       text NOT NULL DEFAULT '',
    handled_at   timestamptz,
    answered_at  timestamptz
);

CREATE UNIQUE INDEX group_messages_msgid ON group_messages (bot_id, msgid);
CREATE INDEX group_messages_open ON group_messages (bot_id, received_at) WHERE answered_at IS NULL;

-- A bot's socket exists once in the world; the row says which node has it.
CREATE TABLE bot_sockets (
    bot_id text PRIMARY KEY,
    owner  text NOT NULL,
    until  timestamptz NOT NULL
);

-- What the bot did in a chat, beyond its messages.
CREATE TABLE bot_chats (
    bot_id  text NOT NULL,
    chat_id text NOT NULL,
    hint_at timestamptz,
    PRIMARY KEY (bot_id, chat_id)
);
