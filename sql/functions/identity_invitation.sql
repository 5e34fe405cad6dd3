-- Open invitations: seen, and taken back.

create function batchcortex_api.invitations()
returns table (invitation_id uuid, username text, role_name text, invited_at timestamptz, invited_by text, expires_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('member.invite');
    return query
        select i.invitation_id, i.username, i.role_name, i.created_at, i.granted_by, i.expires_at
          from batchcortex.invitation i
         where i.org_id = batchcortex.current_org_id() and i.redeemed_at is null and i.expires_at > clock_timestamp()
         order by i.created_at, i.invitation_id;
end
$$;
comment on function batchcortex_api.invitations() is
'Invitations of the organisation that can be used now, oldest first; never their token. Errors: BC401, BC403.';

create function batchcortex_api.revoke_invitation(invitation_id uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('member.invite');
    perform batchcortex.require_reason(reason);
    -- It expires now: who is redeeming it at this moment holds the row, and this waits and finds it redeemed.
    update batchcortex.invitation i set expires_at = clock_timestamp()
     where i.org_id = batchcortex.current_org_id() and i.invitation_id = revoke_invitation.invitation_id
       and i.redeemed_at is null and i.expires_at > clock_timestamp();
    if not found then
        raise exception 'no open invitation of that id' using errcode = 'BC404';
    end if;
    perform batchcortex.log_event('member.invitation_revoked', 'invitation', invitation_id::text, reason => reason);
end
$$;
comment on function batchcortex_api.revoke_invitation(uuid, text) is
'Takes an invitation back: it can no longer be used. Errors: BC401, BC403, BC404 no such open invitation, BC422 no reason.';
