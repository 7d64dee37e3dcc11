-- Who is to be told (internal/estate).

-- +goose Up

-- The audience view is the one exception to "a table belongs to one room": the
-- snapshot of a notice or a survey reads it inside its own INSERT ... SELECT.
-- It has one row for each home of each resident, also for homes that have
-- ended (until), and nothing for units without people. Whoever reads it takes
-- the statement that estate.Audience builds on it, which adds addresses,
-- opt-outs, and the units without people.
--   building, entrance, floor  codes as in units; floor 0: the room tells none
--   vacant                     nobody lives there (R-025)
--   role                       owner, family, tenant, short_stay, merchant: all of them are told (R-122)
CREATE VIEW audience AS
SELECT u.company_id, u.project_id, u.id AS unit_id, u.code AS unit, u.building, u.entrance, u.floor, u.vacant,
       h.resident_id, r.name, h.role, h.since, h.until
FROM units u
JOIN homes h ON h.unit_id = u.id
JOIN residents r ON r.id = h.resident_id;

-- Where a resident can be reached: his phone by SMS, every WeChat user bound to
-- him by template message. opt_out_channel is how opt_outs calls the channel.
-- address is NULL for a resident without a phone: a WHERE in a half would keep
-- PostgreSQL from looking a few residents up by index, and an emergency for one
-- building would read everybody.
CREATE VIEW audience_addresses AS
SELECT r.company_id, r.id AS resident_id, 'sms' AS channel, 'sms' AS opt_out_channel, '' AS account_id, r.phone AS address,
       (r.phone_dead_at IS NOT NULL) AS dead
FROM residents r
UNION ALL
SELECT b.company_id, b.resident_id, 'template', 'wechat', b.account_id, b.openid, (b.openid IS NULL)
FROM bindings b;

-- An import writes what it will change here, in small transactions, and moves
-- it into the tables by one: all or nothing, and nobody waits long.
CREATE TABLE import_staging (
    import_id   text NOT NULL,
    n           bigint NOT NULL,
    company_id  text NOT NULL,
    staged_at   timestamptz NOT NULL,
    op          text NOT NULL,
    id          text NOT NULL,
    parent_id   text NOT NULL, -- of an entrance its building, of a unit its entrance, of a home its unit
    resident_id text NOT NULL,
    code        text NOT NULL, -- of a place; of a unit the whole
    building    text NOT NULL,
    entrance    text NOT NULL,
    room        text NOT NULL,
    floor       bigint NOT NULL,
    kind        text NOT NULL,
    vacant      boolean NOT NULL,
    name        text NOT NULL,
    phone       text NOT NULL,
    role        text NOT NULL,
    PRIMARY KEY (import_id, n)
);
CREATE INDEX import_staging_op ON import_staging (import_id, op);
CREATE INDEX import_staging_age ON import_staging (company_id, staged_at);

-- Raised by every import: a plan that was made before another import is refused.
CREATE TABLE estate_versions (
    company_id text PRIMARY KEY,
    version    bigint NOT NULL
);
