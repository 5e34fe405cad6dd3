-- Terms, privacy notice and accountability statement: published, shown, accepted.

create function batchcortex.publish_agreement(org_id uuid, kind text, version text, content text, end_sessions boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if kind is null or kind not in ('terms', 'privacy', 'accountability') then
        raise exception 'unknown kind of agreement %', quote_nullable(kind) using errcode = 'BC422', hint = 'Kinds are terms, privacy and accountability.';
    end if;
    if nullif(btrim(version), '') is null or length(version) > 50 or nullif(btrim(content), '') is null then
        raise exception 'an agreement has a version of 1 to 50 characters and a text' using errcode = 'BC422';
    end if;
    if octet_length(content) > 262144 then
        raise exception 'the text of an agreement takes 256 KiB' using errcode = 'BC413';
    end if;
    if not exists (select from batchcortex.organisation o where o.org_id = publish_agreement.org_id) then
        raise exception 'unknown organisation' using errcode = 'BC404';
    end if;
    insert into batchcortex.agreement (org_id, kind, version, content, published_by)
        values (publish_agreement.org_id, publish_agreement.kind, publish_agreement.version, publish_agreement.content, batchcortex.current_user_id())
        on conflict on constraint agreement_pkey do nothing;
    if not found then
        raise exception 'version % of this agreement exists', quote_literal(version) using errcode = 'BC409';
    end if;
    perform batchcortex.log_event('agreement.published', 'agreement', kind || ' ' || version, org_id => publish_agreement.org_id,
        after => json_build_object('kind', kind, 'version', version, 'sha256', encode(sha256(convert_to(content, 'UTF8')), 'hex'), 'end_sessions', end_sessions));
    if end_sessions then
        update batchcortex.session s set revoked_at = clock_timestamp()
         where s.org_id = publish_agreement.org_id and s.revoked_at is null and s.session_id is distinct from batchcortex.current_session_id();
    end if;
end
$$;
comment on function batchcortex.publish_agreement(uuid, text, text, text, boolean) is
'Publishes a version of an organisation''s terms, privacy notice or accountability statement. For the DBA, who can do it before the first administrator joins; administrators use batchcortex_api.publish_agreement. Errors: BC404, BC409 the version exists, BC413, BC422.';

create function batchcortex_api.publish_agreement(kind text, version text, content text, end_sessions boolean default false) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('policy.configure');
    perform batchcortex.publish_agreement(batchcortex.current_org_id(), kind, version, content, end_sessions);
end
$$;
comment on function batchcortex_api.publish_agreement(text, text, text, boolean) is
'Publishes a version of the organisation''s terms, privacy notice or accountability statement. From now on nobody signs in without accepting it; end_sessions ends the others'' open sessions too. Errors: BC401, BC403, BC409 the version exists, BC413, BC422.';

create function batchcortex_api.agreements()
returns table (kind text, version text, content text, published_at timestamptz, accepted_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_person();
    return query
        select distinct on (a.kind) a.kind, a.version, a.content, a.published_at, c.accepted_at
          from batchcortex.agreement a
          left join batchcortex.agreement_acceptance c
            on c.org_id = a.org_id and c.kind = a.kind and c.version = a.version and c.user_id = batchcortex.current_user_id()
         where a.org_id = batchcortex.current_org_id()
         order by a.kind, a.published_at desc;
end
$$;
comment on function batchcortex_api.agreements() is 'The present version of each agreement of the organisation, and when the caller accepted it. Errors: BC401.';

create function batchcortex_api.invitation_agreements(invitation text)
returns table (kind text, version text, content text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$ select a.kind, a.version, a.content from json_to_recordset(batchcortex.invitation_agreements(invitation)::json) as a (kind text, version text, content text) $$;
comment on function batchcortex_api.invitation_agreements(text) is
'What the holder of an invitation must accept to use it; no row for an invitation that is unknown, used or expired.';

create function batchcortex_api.accept_agreements(username text, password text, accepted_terms text default null, accepted_privacy text default null,
    accepted_accountability text default null, client_ip inet default null, user_agent text default null, request_id text default null,
    organisation uuid default null, second_factor text default null)
returns table (outcome text, token text, session_id uuid, user_id uuid, org_id uuid, role_name text, full_name text, expires_at timestamptz, wait_seconds integer, detail json)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select a.outcome, a.token, a.session_id, a.user_id, a.org_id, a.role_name, a.full_name, a.expires_at, a.wait_seconds, a.detail::json
      from batchcortex.authenticate_login(username, password, client_ip, user_agent, request_id, organisation, second_factor,
               accepted_terms, accepted_privacy, accepted_accountability, null) a
$$;
comment on function batchcortex_api.accept_agreements(text, text, text, text, text, inet, text, text, uuid, text) is
'Signs in and accepts the named versions, after login said ''acceptance_required''. Same answer as login; detail lists what is still missing.';

comment on function batchcortex.invitation_agreements(text) is 'Behind batchcortex_api.invitation_agreements: JSON array of kind, version and content.';
