-- Staff queues (internal/queue). What stands in them is in the cases' rows and
-- in Redis.

-- +goose Up

CREATE TABLE queues (
    id         text PRIMARY KEY,
    company_id text NOT NULL REFERENCES companies (id),
    project_id text NOT NULL,
    line       text NOT NULL CHECK (line IN ('customer_service', 'engineering', 'order_security', 'environment')),
    name       text NOT NULL
);
CREATE UNIQUE INDEX queues_line ON queues (project_id, line);
CREATE UNIQUE INDEX queues_name ON queues (project_id, name);
CREATE INDEX queues_company ON queues (company_id);
