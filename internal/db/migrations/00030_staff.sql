-- Staff, work groups, sign-in, audit (internal/staff).

-- +goose Up

CREATE TABLE staff (
    company_id text NOT NULL REFERENCES companies (id),
    userid     text NOT NULL,
    name       text NOT NULL,
    role       text NOT NULL,
    phone      text,
    state      text NOT NULL CHECK (state IN ('active', 'trainee', 'left')),
    on_duty    boolean NOT NULL DEFAULT true,
    PRIMARY KEY (company_id, userid)
);
CREATE UNIQUE INDEX staff_phone ON staff (company_id, phone) WHERE phone IS NOT NULL AND state <> 'left';

-- The vendor may name a person by a ciphertext that only an application of the
-- company can read, so whom it names is learnt by binding.
CREATE TABLE staff_wecom_ids (
    company_id text NOT NULL,
    wecom_id   text NOT NULL,
    userid     text NOT NULL,
    bound_at   timestamptz NOT NULL,
    PRIMARY KEY (company_id, wecom_id),
    FOREIGN KEY (company_id, userid) REFERENCES staff (company_id, userid)
);

CREATE TABLE work_groups (
    id         text PRIMARY KEY,
    company_id text NOT NULL REFERENCES companies (id),
    bot_id     text NOT NULL,
    chatid     text NOT NULL, -- case-sensitive
    name       text NOT NULL,
    queue_id   text NOT NULL,
    bound_by   text NOT NULL,
    bound_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX work_groups_chat ON work_groups (bot_id, chatid);
CREATE INDEX work_groups_queue ON work_groups (queue_id);

-- capacity 0: the company's default.
CREATE TABLE queue_members (
    company_id text NOT NULL,
    queue_id   text NOT NULL,
    userid     text NOT NULL,
    capacity   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (queue_id, userid),
    FOREIGN KEY (company_id, userid) REFERENCES staff (company_id, userid)
);
CREATE INDEX queue_members_user ON queue_members (company_id, userid);

-- A console user is a staff member, or (userid empty) an administrator of the
-- company who is none.
CREATE TABLE console_users (
    username      text PRIMARY KEY,
    company_id    text NOT NULL REFERENCES companies (id),
    userid        text NOT NULL DEFAULT '',
    admin         boolean NOT NULL DEFAULT false,
    password_hash text NOT NULL, -- argon2id
    failures      bigint NOT NULL DEFAULT 0,
    locked_until  timestamptz,
    disabled      boolean NOT NULL DEFAULT false
);

-- token_hash: SHA-256 of a random token of 256 bits, in hexadecimal.
CREATE TABLE api_tokens (
    id         text PRIMARY KEY,
    company_id text NOT NULL REFERENCES companies (id),
    token_hash text NOT NULL,
    userid     text NOT NULL DEFAULT '',
    admin      boolean NOT NULL DEFAULT false,
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (token_hash);

-- Append-only: no statement of the program changes or removes a line.
CREATE TABLE audit_entries (
    id         text PRIMARY KEY,
    company_id text NOT NULL,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    object     text NOT NULL,
    detail     text NOT NULL
);
CREATE INDEX audit_entries_time ON audit_entries (company_id, at);
