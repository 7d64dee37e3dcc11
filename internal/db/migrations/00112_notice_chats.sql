-- In which chat of staff a notice was asked for, and what that chat has been
-- told of it by the bot's own (bot/workgroup).

-- +goose Up

CREATE TABLE notice_chats (
    notice_id    text PRIMARY KEY,
    company_id   text NOT NULL,
    bot_id       text NOT NULL,
    chat_id      text NOT NULL,
    single       boolean NOT NULL,
    bot_name     text NOT NULL,
    message_id   text NOT NULL,           -- the message that asked, or that confirmed it in another way
    created_at   timestamptz NOT NULL,
    told         text NOT NULL,           -- the last state, or reason of a pause, that was told
    endorse_told boolean NOT NULL,
    reminders    bigint NOT NULL,         -- of its call list
    look_at      timestamptz NOT NULL,
    done         boolean NOT NULL,
    version      bigint NOT NULL
);
CREATE INDEX notice_chats_of ON notice_chats (bot_id, chat_id, created_at);
CREATE INDEX notice_chats_message ON notice_chats (message_id);
CREATE INDEX notice_chats_open ON notice_chats (look_at) WHERE NOT done;
