-- SOP registers (internal/register).

-- +goose Up

-- 《对客信息发布一览表》: one row a publication (R-175), made at drafting,
-- completed by approval, publication, and the information officer. ref_kind and
-- ref_id say what is published (a notice). Names are copied as they were.
CREATE TABLE publications (
    id              text PRIMARY KEY,
    company_id      text NOT NULL REFERENCES companies (id),
    ref_kind        text NOT NULL,
    ref_id          text NOT NULL,
    no              text NOT NULL,
    project_id      text NOT NULL,
    project         text NOT NULL,
    title           text NOT NULL,
    kind            text NOT NULL,
    topic           text NOT NULL,
    summary         text NOT NULL,
    scope           text NOT NULL,
    state           text NOT NULL CHECK (state IN ('drafted', 'approved', 'published', 'withdrawn', 'superseded')),
    author_id       text NOT NULL,
    author_name     text NOT NULL,
    drafted_at      timestamptz NOT NULL,
    approved_by     text NOT NULL DEFAULT '',
    approved_name   text NOT NULL DEFAULT '',
    approved_at     timestamptz,
    endorse_due     boolean NOT NULL DEFAULT false,
    endorsed_by     text NOT NULL DEFAULT '',
    endorsed_name   text NOT NULL DEFAULT '',
    endorsed_at     timestamptz,
    published_at    timestamptz,
    registered_by   text NOT NULL DEFAULT '',
    registered_name text NOT NULL DEFAULT '',
    registered_at   timestamptz,
    ended_at        timestamptz,
    ended_why       text NOT NULL DEFAULT '',
    households      bigint NOT NULL DEFAULT 0,
    reached         bigint NOT NULL DEFAULT 0,
    delivered       bigint NOT NULL DEFAULT 0,
    failed          bigint NOT NULL DEFAULT 0,
    called          bigint NOT NULL DEFAULT 0,
    remark          text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX publications_ref ON publications (company_id, ref_kind, ref_id);
CREATE INDEX publications_drafted ON publications (company_id, drafted_at, id);
CREATE INDEX publications_no ON publications (company_id, no);

-- The forms in which it is published (R-174); done_at: ticked off.
CREATE TABLE publication_forms (
    publication_id text NOT NULL REFERENCES publications (id),
    form           text NOT NULL CHECK (form IN ('poster', 'screen', 'loudspeaker', 'sms', 'template')),
    done_at        timestamptz,
    done_by        text NOT NULL DEFAULT '',
    done_name      text NOT NULL DEFAULT '',
    detail         text NOT NULL DEFAULT '',
    PRIMARY KEY (publication_id, form)
);
