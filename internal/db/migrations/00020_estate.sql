-- Projects, homes, residents, bindings (internal/estate).

-- +goose Up

CREATE TABLE projects (
    id             text PRIMARY KEY,
    company_id     text NOT NULL REFERENCES companies (id),
    name           text NOT NULL,
    service_center text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX projects_name ON projects (company_id, name);

CREATE TABLE buildings (
    id         text PRIMARY KEY,
    company_id text NOT NULL,
    project_id text NOT NULL REFERENCES projects (id),
    code       text NOT NULL
);
CREATE UNIQUE INDEX buildings_code ON buildings (project_id, code);

CREATE TABLE entrances (
    id          text PRIMARY KEY,
    company_id  text NOT NULL,
    building_id text NOT NULL REFERENCES buildings (id),
    code        text NOT NULL
);
CREATE UNIQUE INDEX entrances_code ON entrances (building_id, code);

-- A unit repeats the codes of building and entrance: every list and every
-- audience asks by them.
CREATE TABLE units (
    id          text PRIMARY KEY,
    company_id  text NOT NULL,
    project_id  text NOT NULL REFERENCES projects (id),
    entrance_id text NOT NULL REFERENCES entrances (id),
    building    text NOT NULL,
    entrance    text NOT NULL,
    room        text NOT NULL,
    code        text NOT NULL,
    floor       bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('flat', 'shop')),
    vacant      boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX units_code ON units (project_id, code);
CREATE INDEX units_company_code ON units (company_id, code);
CREATE INDEX units_place ON units (project_id, building, entrance, floor);

-- phone_dead_at: the carrier has said that the number does not exist.
CREATE TABLE residents (
    id              text PRIMARY KEY,
    company_id      text NOT NULL,
    name            text NOT NULL,
    phone           text,
    phone_dead_at   timestamptz,
    phone_dead_code text NOT NULL DEFAULT '',
    updated_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX residents_phone ON residents (company_id, phone) WHERE phone IS NOT NULL;
CREATE INDEX residents_company ON residents (company_id, id);

-- Who belongs to which home, and since when; ended homes are kept.
CREATE TABLE homes (
    id          text PRIMARY KEY,
    company_id  text NOT NULL,
    resident_id text NOT NULL REFERENCES residents (id),
    unit_id     text NOT NULL REFERENCES units (id),
    role        text NOT NULL CHECK (role IN ('owner', 'family', 'tenant', 'short_stay', 'merchant')),
    since       timestamptz NOT NULL,
    until       timestamptz
);
CREATE UNIQUE INDEX homes_open ON homes (resident_id, unit_id) WHERE until IS NULL;
CREATE INDEX homes_unit ON homes (unit_id);

-- A WeChat user who has proved to be a resident. Deleted when he unfollows:
-- the platform demands that his data goes.
CREATE TABLE bindings (
    id          text PRIMARY KEY,
    company_id  text NOT NULL,
    account_id  text NOT NULL,
    openid      text NOT NULL,
    resident_id text NOT NULL REFERENCES residents (id),
    bound_at    timestamptz NOT NULL
);
CREATE UNIQUE INDEX bindings_openid ON bindings (company_id, openid);
CREATE INDEX bindings_resident ON bindings (resident_id, bound_at);

-- What a resident wants to be spared, by channel ('sms', 'wechat') and class
-- of message ('all' or one). Never asked for an emergency.
CREATE TABLE opt_outs (
    company_id  text NOT NULL,
    resident_id text NOT NULL REFERENCES residents (id),
    channel     text NOT NULL,
    class       text NOT NULL,
    source      text NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (resident_id, channel, class)
);
