-- Notices, their audience, approvals and call list (notify).

-- +goose Up

-- draft is what was written, completed from kind and project; facts is what was
-- found out about it (place in words, counts, price, texts as they are read,
-- parameters of the templates). Both are JSON.
CREATE TABLE notices (
    id            text PRIMARY KEY,
    company_id    text NOT NULL REFERENCES companies (id),
    no            text NOT NULL,            -- T0012
    project_id    text NOT NULL,            -- '' while the draft names none that exists
    kind          text NOT NULL,
    topic         text NOT NULL,
    state         text NOT NULL CHECK (state IN ('draft', 'approved', 'sending', 'paused', 'finished', 'cancelled')),
    emergency     boolean NOT NULL,
    of_id         text NOT NULL,            -- the notice that it answers, or ''
    chain_id      text NOT NULL,            -- the first of its chain: its own id when it answers none
    draft         text NOT NULL,
    facts         text NOT NULL,
    author        text NOT NULL,
    author_name   text NOT NULL,
    approved_by   text NOT NULL,
    approver_name text NOT NULL,
    endorsed_by   text NOT NULL,            -- R-179: approval afterwards
    endorser_name text NOT NULL,
    endorse_due   boolean NOT NULL,
    paused_why    text NOT NULL,
    starts_at     timestamptz,
    ends_at       timestamptz,
    valid_until   timestamptz,
    created_at    timestamptz NOT NULL,
    approved_at   timestamptz,
    endorsed_at   timestamptz,
    send_at       timestamptz,              -- the end of quiet hours, or the approval
    frozen_at     timestamptz,              -- its audience and deliveries are written
    started_at    timestamptz,
    freed_at      timestamptz,              -- the first rows did well; null while they are watched
    finished_at   timestamptz,
    cancelled_at  timestamptz,
    remind_at     timestamptz,              -- null: no reminder, or it is out
    over_at       timestamptz,              -- what it tells of has ended: restored, or cancelled
    version       bigint NOT NULL
);
CREATE UNIQUE INDEX notices_no ON notices (company_id, no);
CREATE INDEX notices_list ON notices (company_id, id);
CREATE INDEX notices_chain ON notices (chain_id);
CREATE INDEX notices_open ON notices (state) WHERE state IN ('approved', 'sending', 'paused', 'cancelled');
CREATE INDEX notices_running ON notices (company_id, project_id) WHERE over_at IS NULL AND approved_at IS NOT NULL;

CREATE TABLE notice_numbers (
    company_id text PRIMARY KEY,
    last       bigint NOT NULL
);

-- The audience as it was at approval: one row a unit, resident and address.
-- Later moves change nothing. send_n is the n of the row whose delivery serves
-- this address, so that an owner of two flats is written to once; the delivery's
-- id is made of the notice's and of send_n.
CREATE TABLE notice_audience (
    notice_id   text NOT NULL,
    n           bigint NOT NULL,
    send_n      bigint NOT NULL,
    unit_id     text NOT NULL,
    unit        text NOT NULL,
    building    text NOT NULL,
    entrance    text NOT NULL,
    floor       bigint NOT NULL,
    resident_id text NOT NULL,
    name        text NOT NULL,
    role        text NOT NULL,
    channel     text NOT NULL,              -- '': nobody, or no address
    account_id  text NOT NULL,
    address     text NOT NULL,
    skip_code   text NOT NULL,
    PRIMARY KEY (notice_id, n)
);

-- Who did what to a notice, when, and what it then said.
CREATE TABLE notice_events (
    id         text PRIMARY KEY,
    notice_id  text NOT NULL REFERENCES notices (id),
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    by_user    text NOT NULL,
    by_name    text NOT NULL,
    via        text NOT NULL,
    text       text NOT NULL
);
CREATE INDEX notice_events_of ON notice_events (notice_id, id);

-- Homes that a person tells because no message reached them.
CREATE TABLE notice_calls (
    notice_id   text NOT NULL REFERENCES notices (id),
    unit_id     text NOT NULL,
    unit        text NOT NULL,
    caller      text NOT NULL,
    caller_name text NOT NULL,
    claimed_at  timestamptz NOT NULL,
    outcome     text NOT NULL,              -- '' while it is in hand
    note        text NOT NULL,
    called_at   timestamptz,
    PRIMARY KEY (notice_id, unit_id)
);

-- +goose Down
DROP TABLE notice_calls;
DROP TABLE notice_events;
DROP TABLE notice_audience;
DROP TABLE notice_numbers;
DROP TABLE notices;
