-- Roles, schemas and the two questions every function asks: who is calling, and may they?
-- First in the install script: everything else stands on these names.

do $roles$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'batchcortex_owner') then
        create role batchcortex_owner nologin noinherit;
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'batchcortex_api') then
        create role batchcortex_api nologin;
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'batchcortex_auditor') then
        create role batchcortex_auditor nologin;
    end if;
    -- A role of that name that was there before may be more powerful than the design allows.
    if exists (select from pg_catalog.pg_roles
                where rolname in ('batchcortex_owner', 'batchcortex_api', 'batchcortex_auditor')
                  and (rolsuper or rolbypassrls or rolcreaterole)) then
        raise exception 'roles batchcortex_owner, batchcortex_api and batchcortex_auditor must not be superuser, BYPASSRLS or CREATEROLE'
            using errcode = 'BC503', hint = 'ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEROLE, then create the extension again.';
    end if;
end
$roles$;

comment on role batchcortex_owner is 'Owns the tables and API functions of BatchCortex; no login, no superuser, no BYPASSRLS.';
comment on role batchcortex_api is 'May execute the functions of schema batchcortex_api and nothing else; grant it to the login of the API.';
comment on role batchcortex_auditor is 'Reads under row-level security, verifies and exports; grant it to people.';

create schema batchcortex_api;
comment on schema batchcortex_api is 'Every function that the API and the edge may call, and nothing else.';

revoke all on schema batchcortex from public;
grant usage on schema batchcortex to batchcortex_owner, batchcortex_auditor;
grant usage on schema batchcortex_api to batchcortex_owner, batchcortex_api;

-- Bodies name tables that migrate() makes later.
set local check_function_bodies = off;
