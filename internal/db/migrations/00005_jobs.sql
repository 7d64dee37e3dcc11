-- +goose Up

-- Who works on jobs, and when he last said so (by the machine's clock, since
-- it is a lease). The jobs themselves are in the job engine's own tables.
create table job_runners (
    id      text primary key,
    seen_at timestamptz not null
);
