-- Who may reach an organisation's records: as a register, and as a review that somebody answers for.

create function batchcortex.list_access()
returns table (kind text, subject text, subject_id text, access text, granted_at timestamptz, granted_by text, valid_until timestamptz, ended_at timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select 'member', u.full_name || ' (' || u.username || ')', m.user_id::text, m.role_name || ', ' || m.team_level, m.created_at, i.granted_by,
           null::timestamptz, case when u.state <> 'active' then coalesce(m.ended_at, 'infinity') else m.ended_at end
      from batchcortex.membership m
      join batchcortex.user_account u on u.user_id = m.user_id
      left join lateral (select v.granted_by from batchcortex.invitation v
                          where v.org_id = m.org_id and lower(v.username) = lower(u.username) and v.redeemed_at is not null
                          order by v.redeemed_at desc limit 1) i on true
     where m.org_id = batchcortex.current_org_id()
    union all
    select 'invitation', i.username, i.invitation_id::text, i.role_name, i.created_at, i.granted_by, i.expires_at, null
      from batchcortex.invitation i
     where i.org_id = batchcortex.current_org_id() and i.redeemed_at is null and i.expires_at > clock_timestamp()
    union all
    select 'device', d.name, d.device_id::text, 'samples of ' || e.name, d.created_at, d.granted_by, null, d.revoked_at
      from batchcortex.device d join batchcortex.equipment e on e.org_id = d.org_id and e.equipment_id = d.equipment_id
     where d.org_id = batchcortex.current_org_id()
    union all
    select 'api_key', k.name || ' (' || k.shown_as || ')', k.key_id::text, k.role_name || ': ' || array_to_string(k.scopes, ', '), k.created_at,
           (select u.full_name from batchcortex.user_account u where u.user_id = k.created_by), k.expires_at, k.revoked_at
      from batchcortex.api_key k
     where k.org_id = batchcortex.current_org_id()
    union all
    select 'auditor', g.role_name::text, g.grant_id::text, 'reads and verifies over SQL', g.granted_at, g.granted_by, g.expires_at, g.revoked_at
      from batchcortex.auditor_grant g
     where g.org_id = batchcortex.current_org_id()
$$;
comment on function batchcortex.list_access() is 'The rows behind access_register() and record_access_review().';

create function batchcortex_api.access_register()
returns table (kind text, subject text, subject_id text, access text, granted_at timestamptz, granted_by text, valid_until timestamptz, ended_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('access.read');
    return query select l.* from batchcortex.list_access() l order by l.kind, l.granted_at, l.subject_id;
end
$$;
comment on function batchcortex_api.access_register() is
'Who was granted access to the caller''s organisation: members with role and team level, open invitations, devices, API keys, auditors; by whom, when, until when. granted_by: null when it was granted before that was kept. ended_at: when it ended early, infinity for a deactivated account that is still a member. Errors: BC401, BC403.';

create function batchcortex_api.record_access_review(decision text, rationale text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    register json;
    entries bigint;
begin
    perform batchcortex.require_permission('access.review');
    if decision is null or decision not in ('confirmed', 'changes_required') then
        raise exception 'unknown decision %', quote_nullable(decision) using errcode = 'BC422', hint = 'Decisions are confirmed and changes_required.';
    end if;
    if nullif(btrim(rationale), '') is null or length(rationale) > 4000 then
        raise exception 'a rationale of 1 to 4,000 characters is needed' using errcode = 'BC422';
    end if;
    -- What was decided upon is part of the record: the register as it stands now. Who is invited stands there as in the event of the
    -- invitation, by a commitment: a name in plain text could not be erased from the log.
    select coalesce(json_agg(l order by l.kind, l.granted_at, l.subject_id), '[]'), count(*) into register, entries
      from (select a.kind, case when a.kind = 'invitation'
                                then coalesce((select i.username_commitment from batchcortex.invitation i
                                                where i.org_id = batchcortex.current_org_id() and i.invitation_id::text = a.subject_id), a.subject)
                                else a.subject end as subject,
                   a.subject_id, a.access, a.granted_at, a.granted_by, a.valid_until, a.ended_at
              from batchcortex.list_access() a) l;
    return batchcortex.log_event('access.reviewed', 'access_register', batchcortex.current_org_id()::text, reason => rationale,
        after => json_build_object('decision', decision, 'entries', entries, 'register', register));
end
$$;
comment on function batchcortex_api.record_access_review(text, text) is
'Records that the caller has reviewed the access register, with a decision (confirmed, changes_required), its rationale and the register as it stands; returns the id of the event. Errors: BC401, BC403, BC422.';
